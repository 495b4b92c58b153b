//! Histories that are wrong in one place: the order of the log explains a right one, and no other;
//! neither does a search that knows nothing of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate::prelude::*;
use quorate::state_machine::{ApplyContext, StateMachine};
use quorate::types::{ClusterId, LogId, LogIndex, LogTime, Position};
use serde::{Deserialize, Serialize};

use super::calls::CallOf;
use super::keyed::{KeyOf, by_key};
use super::order::{certify, step};
use super::seen::reply_text;
use super::subject::{Eyes, Probe, SeesState, Subject};
use crate::linear::Verdict;
use crate::observe::encoded;
use crate::workload::{Call, Entry, History, Record};

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, set(key: u8, value: u8) -> Option<u8>), query(1, get(key: u8) -> Option<u8>))]
struct Cells(BTreeMap<u8, u8>);

impl Cells {
    fn set(&mut self, key: u8, value: u8) -> Option<u8> {
        self.0.insert(key, value)
    }

    fn get(&self, key: u8) -> Option<u8> {
        self.0.get(&key).copied()
    }
}

const CLUSTER: ClusterId = ClusterId([1; 32]);

fn subject() -> Subject<Cells> {
    let eyes = Eyes::new((&&Probe::new()).state(), |_| None);
    let initial = Arc::new(Cells::default);
    Subject { name: "Cells", initial, invariants: Vec::new(), in_tables: false, of_tables: Vec::new(), eyes }
}

struct Made {
    records: Vec<Record>,
    log: Vec<Entry>,
}

/// `set(0, n)` for n from 1 to 3, each with a read of it behind it; times 10 apart.
fn made() -> Made {
    let (mut machine, mut made) = (Cells::default(), Made { records: Vec::new(), log: Vec::new() });
    for value in 1..=3_u8 {
        let index = LogIndex(value.into());
        let time = LogTime::from_micros(value.into());
        let command = CellsCommand::Set { key: 0, value };
        let mut entry = Entry {
            position: Position { index, ordinal: 0 },
            term: 1,
            time,
            tag: u64::from(value) * 100,
            command: encoded(&command),
            response: Bytes::new(),
        };
        let mut ctx: ApplyContext = step(&entry).apply_context(CLUSTER);
        entry.response = reply_text(&StateMachine::apply(&mut machine, &mut ctx, command)).into();
        let write = Record {
            call: Call::Write(entry.command.clone()),
            tag: entry.tag,
            node: 1,
            began: entry.tag,
            ended: Some((entry.tag + 10, entry.response.clone())),
            read_at: None,
        };
        let read = Record {
            call: Call::Read(encoded(&CellsQuery::Get { key: 0 })),
            tag: entry.tag + 20,
            node: 2,
            began: entry.tag + 20,
            ended: Some((entry.tag + 30, reply_text(&CellsAnswer::Get(Some(value))).into())),
            read_at: Some((Some(LogId::new(1, index.get())), time)),
        };
        made.records.extend([write, read]);
        made.log.push(entry);
    }
    made
}

impl Made {
    fn history(&self) -> History<'_> {
        History { records: &self.records, log: &self.log, cluster: CLUSTER }
    }

    /// What the order of the log says against it, and whether a search by key finds an order.
    fn judged(&self) -> (Option<String>, bool) {
        let misfit = certify(&subject(), &self.history()).err().map(|misfit| misfit.what);
        let key: KeyOf<Cells> = Arc::new(|_: &CallOf<Cells>| String::new());
        let (verdict, _) = by_key(&subject(), &key, &self.history());
        assert_ne!(verdict, Verdict::Undecided);
        (misfit, verdict == Verdict::Linearizable)
    }
}

fn wrong(made: &Made, what: &str) -> bool {
    let (misfit, searched) = made.judged();
    let misfit = misfit.expect("the order of the log does not explain it");
    assert!(misfit.contains(what), "{misfit}");
    searched
}

#[test]
fn the_order_of_the_log_explains_a_right_history() {
    assert_eq!(made().judged(), (None, true));
    // Of unknown outcome: it took effect, or it never did.
    let mut unknown = made();
    unknown.records[2].ended = None;
    assert_eq!(unknown.judged(), (None, true));
    let mut never = made();
    never.records.insert(0, Record { tag: 7, ended: None, ..never.records[0].clone() });
    assert_eq!(never.judged(), (None, true));
}

#[test]
fn a_stale_read_is_found() {
    let mut stale = made();
    stale.records[5].ended = stale.records[3].ended.clone().map(|(_, answer)| (400, answer));
    stale.records[5].read_at = stale.records[3].read_at;
    assert!(!wrong(&stale, "a stale read"));
}

#[test]
fn an_answer_of_no_state_is_found() {
    let mut made = made();
    made.records[3].ended = Some((230, reply_text(&CellsAnswer::Get(Some(77))).into()));
    assert!(!wrong(&made, "answered Some(77) to `get(key: 0)` after entry 2"));
}

#[test]
fn a_response_that_the_machine_does_not_give_is_found() {
    let mut made = made();
    let response: Bytes = reply_text(&CellsResponse::Set(Some(50))).into();
    made.log[1].response = response.clone();
    made.records[2].ended = Some((210, response));
    assert!(!wrong(&made, "responded Some(50) on the cluster, and Some(1) when it is told again"));
}

#[test]
fn an_acknowledged_command_that_is_not_in_the_log_is_found() {
    let mut made = made();
    made.log.remove(2);
    wrong(&made, "acknowledged `set(key: 0, value: 3)`, which is nowhere in the log");
}

#[test]
fn commands_in_another_order_than_they_were_given_are_found() {
    let mut made = made();
    // The third was over before the others began.
    made.records[4].began = 1;
    made.records[4].ended = Some((2, made.log[2].response.clone()));
    assert!(!wrong(&made, "out of order"));
}
