//! What replicas keep, and what is said to commands that are sent again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::table::Bounds;
use super::*;
use crate::format::session_rows::ReadRows;
use crate::state_machine::erased::{Answer, AnswerError, Committed, Replied};
use crate::state_machine::{ApplyContext, LogRng, Row};
use crate::types::{ClusterId, GroupId, LogIndex, LogTime, Position, Term};

const CLUSTER: ClusterId = ClusterId([1; 32]);
const IDLE: Duration = Duration::from_secs(10);

fn at(index: u64, ordinal: u32) -> Position {
    Position { index: LogIndex(index), ordinal }
}

/// A command as it stands in the log.
#[derive(Clone, Debug)]
struct Sent {
    numbered: Option<Numbered>,
    position: Position,
    time: LogTime,
    bytes: Bytes,
    /// Whether it is no command at all, and moves the log's clock on.
    tick: bool,
}

impl Sent {
    fn committed(&self) -> Committed {
        let ctx = ApplyContext::new(CLUSTER, GroupId::MAIN, Term(1), self.position, self.time);
        Committed { ctx, command: self.bytes.clone() }
    }
}

/// A replica whose machine answers with how many commands it has applied.
#[derive(Clone, Debug, Default, PartialEq)]
struct Replica {
    table: Table,
    applied: Vec<Position>,
}

impl Replica {
    /// Applies commands as one batch.
    fn apply(&mut self, batch: &[Sent]) -> Vec<Replied> {
        let mut settling = Settling::default();
        let mut answers: Vec<Answer> = Vec::new();
        for sent in batch.iter().filter(|sent| !sent.tick) {
            let decided = settling.next(&mut self.table, sent.numbered, sent.committed());
            if let Some(first) = decided.expect("a good command") {
                self.applied.push(first.ctx.position());
                let len = first.command.first().map_or(0, |len| usize::from(*len) * 1_000);
                let answer = [self.applied.len().to_le_bytes().to_vec(), vec![0; len]].concat();
                answers.push(Ok(answer.into()));
            }
        }
        let replied = settling.finish(&mut self.table, answers);
        if let Some(last) = batch.last() {
            self.table.advance(last.time);
        }
        replied
    }

    /// Applies one command at a place, at a second.
    fn one(&mut self, index: u64, second: u64, numbered: Numbered, bytes: Bytes) -> Replied {
        let time = LogTime::ZERO.saturating_add(Duration::from_secs(second));
        let sent = Sent { numbered: Some(numbered), position: at(index, 0), time, bytes, tick: false };
        self.apply(&[sent]).remove(0)
    }

    fn open(&mut self, index: u64, second: u64) -> ClientId {
        let id = self.one(index, second, Numbered::open(), Open::new(IDLE).encode()).answer.expect("opened");
        ClientId(u64::from_le_bytes(id.as_ref().try_into().expect("an id")))
    }
}

fn number(client: ClientId, serial: u64, first_unacknowledged: u64) -> Numbered {
    Numbered { client, serial, first_unacknowledged }
}

fn counted(count: usize) -> Bytes {
    Bytes::copy_from_slice(&count.to_le_bytes())
}

#[test]
fn what_is_sent_again_is_applied_once_and_gets_the_first_answer() {
    let mut replica = Replica::default();
    let client = replica.open(1, 0);
    let first = replica.one(2, 0, number(client, 1, 1), Bytes::new());
    assert_eq!(first, Replied { position: at(2, 0), answer: Ok(counted(1)), again: false });
    // In the same entry, in another, and beside others.
    let again = |index, ordinal, serial| Sent {
        numbered: Some(number(client, serial, 1)),
        position: at(index, ordinal),
        time: LogTime::ZERO,
        bytes: Bytes::new(),
        tick: false,
    };
    let plain = Sent { numbered: None, ..again(3, 0, 0) };
    let last = Sent { position: at(3, 4), ..plain.clone() };
    let replied = replica.apply(&[plain, again(3, 1, 1), again(3, 2, 2), again(3, 3, 2), last]);
    let expected = [
        (at(3, 0), Ok(counted(2)), false),
        (at(2, 0), Ok(counted(1)), true),
        (at(3, 2), Ok(counted(3)), false),
        (at(3, 2), Ok(counted(3)), true),
        (at(3, 4), Ok(counted(4)), false),
    ];
    assert_eq!(replied, expected.map(|(position, answer, again)| Replied { position, answer, again }));
}

#[test]
fn a_session_that_is_idle_for_too_long_ends_and_its_id_never_comes_back() {
    let mut replica = Replica::default();
    let client = replica.open(1, 0);
    assert!(replica.one(2, 10, number(client, 1, 1), Bytes::new()).answer.is_ok(), "not longer than allowed");
    assert!(replica.one(3, 20, number(client, 1, 1), Bytes::new()).answer.is_ok(), "it was used since");
    let ended = replica.one(4, 31, number(client, 1, 1), Bytes::new());
    assert_eq!(ended.answer, Err(AnswerError::NoSession));
    assert_eq!(replica.open(5, 31), ClientId(client.0 + 1));
    assert_eq!(replica.one(6, 31, number(client, 1, 1), Bytes::new()).answer, Err(AnswerError::NoSession));
    assert_eq!(replica.applied.len(), 1);
    // And by its client's own word.
    let other = ClientId(client.0 + 1);
    assert_eq!(replica.one(7, 31, Numbered::close(other), Bytes::new()).answer, Ok(Bytes::new()));
    assert_eq!(replica.one(8, 31, number(other, 1, 1), Bytes::new()).answer, Err(AnswerError::NoSession));
}

#[test]
fn what_was_acknowledged_is_forgotten_and_never_applied_again() {
    let mut replica = Replica::default();
    let client = replica.open(1, 0);
    for serial in 1..=3 {
        replica.one(1 + serial, 0, number(client, serial, 1), Bytes::new());
    }
    replica.one(5, 0, number(client, 4, 3), Bytes::new());
    let kept: Vec<u64> = replica.table.sessions()[&client].answers.keys().copied().collect();
    assert_eq!(kept, [3, 4]);
    for late in [1, 2] {
        let late = replica.one(6, 0, number(client, late, 1), Bytes::new());
        assert_eq!(late.answer, Err(AnswerError::Acknowledged));
    }
    assert_eq!(replica.one(7, 0, number(client, 3, 1), Bytes::new()).answer, Ok(counted(3)));
    // A number that acknowledges itself is not forgotten by that.
    replica.one(8, 0, number(client, 9, u64::MAX), Bytes::new());
    assert_eq!(replica.one(9, 0, number(client, 9, 9), Bytes::new()).answer, Ok(counted(5)));
}

#[test]
fn what_is_kept_is_bounded() {
    let mut replica = Replica::default();
    let client = replica.open(1, 0);
    let most = MAX_UNACKNOWLEDGED as u64;
    for serial in 1..=most {
        assert!(replica.one(1 + serial, 0, number(client, serial, 1), Bytes::new()).answer.is_ok());
    }
    let beyond = replica.one(5_000, 0, number(client, most + 1, 1), Bytes::new());
    assert_eq!(beyond.answer, Err(AnswerError::SessionFull));
    assert_eq!(replica.applied.len(), MAX_UNACKNOWLEDGED);
    assert!(replica.one(5_001, 0, number(client, most + 1, 2), Bytes::new()).answer.is_ok());

    // An answer of more bytes than are kept is known to have been there.
    let long = Bytes::from_static(&[3]);
    let first = replica.one(5_002, 0, number(client, most + 2, most), long.clone());
    assert_eq!(first.answer.map(|bytes| bytes.len()), Ok(3_008));
    let again = replica.one(5_003, 0, number(client, most + 2, most), long);
    let not_kept = Err(AnswerError::NotKept { len: 3_008 });
    assert_eq!(again, Replied { position: at(5_002, 0), answer: not_kept, again: true });

    // Others make the session end that was used least recently, and not the one that is served.
    let mut replica = Replica::default();
    let oldest = replica.open(1, 0);
    replica.one(2, 0, number(oldest, 1, 1), Bytes::new());
    for index in 0..MAX_KEPT as u64 - 2 {
        replica.open(3 + index, 1);
    }
    assert_eq!(replica.table.sessions().len(), MAX_KEPT - 1);
    assert!(replica.table.sessions().contains_key(&oldest));
    let newest = replica.open(20_000, 1);
    assert!(!replica.table.sessions().contains_key(&oldest));
    assert!(replica.table.sessions().contains_key(&newest));
}

#[test]
fn a_change_of_a_session_that_is_none_is_an_error() {
    let refused = |numbered: Numbered, bytes: &'static [u8]| {
        numbered.check_control(&Bytes::from_static(bytes)).expect_err("not one")
    };
    refused(Numbered::open(), b"");
    refused(Numbered::close(ClientId(7)), b"x");
    refused(number(ClientId(7), 0, 0), b"");
    refused(Numbered::close(Numbered::NOBODY), b"");
    assert_eq!(Numbered::open().check_control(&Open::new(IDLE).encode()), Ok(()));
    assert_eq!(Numbered::close(ClientId(7)).check_control(&Bytes::new()), Ok(()));
}

/// A replica whose machine is on a disk, where it stores what changes with every batch.
#[derive(Clone, Default)]
struct Stored {
    replica: Replica,
    rows: BTreeMap<Bytes, Bytes>,
    /// How much of the log was applied.
    upto: usize,
}

impl Stored {
    fn apply(&mut self, batch: &[Sent]) -> Vec<Replied> {
        let replied = self.replica.apply(batch);
        for Row { key, value } in self.replica.table.changed_rows() {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.upto += batch.len();
        replied
    }

    /// As after a crash: nothing is known but what is stored.
    fn open(&mut self, bounds: Bounds) {
        let mut read = ReadRows::default();
        self.rows.iter().for_each(|(key, value)| read.push(key, value));
        self.replica.table = read.finish().expect("its own").noting();
        self.replica.table.bounds = bounds;
    }
}

/// What is stored is read back as what it is after every batch, and what a crash takes is decided again as
/// it was.
fn lives_on_a_disk(log: &[Sent], expected: &[Replied], table: &Table, rng: &mut LogRng) {
    let mut stored = Stored::default();
    stored.open(table.bounds);
    let mut flushed = stored.clone();
    let before = |upto: usize| log[..upto].iter().filter(|sent| !sent.tick).count();
    while stored.upto < log.len() {
        let from = stored.upto;
        let batch = 1 + rng.below((log.len() - from).min(20) as u64) as usize;
        let replied = stored.apply(&log[from..from + batch]);
        assert_eq!(replied, expected[before(from)..before(from + batch)]);
        let mut opened = stored.clone();
        opened.open(table.bounds);
        assert_eq!(opened.replica, stored.replica, "after the entries {from}..{}", stored.upto);
        let rows: BTreeMap<Bytes, Bytes> = opened.replica.table.rows().into_iter().map(put).collect();
        assert_eq!(rows, stored.rows);
        match rng.below(6) {
            0 => flushed = stored.clone(),
            1 => {
                stored = flushed.clone();
                stored.open(table.bounds);
            }
            2 => stored = opened,
            _ => {}
        }
    }
    assert_eq!(stored.replica.table, table.clone().noting());
}

fn put(row: Row) -> (Bytes, Bytes) {
    (row.key, row.value.expect("all that there are"))
}

/// Where a batch ends is a matter of each replica: neither what is kept nor what is said depends on it.
#[test]
fn replicas_agree_however_their_batches_are_cut() {
    let (mut applied, mut again, mut ended, mut full) = (0, 0, 0, 0);
    for seed in 0..300 {
        let mut rng = LogRng::at(&CLUSTER, GroupId::MAIN, at(seed, 0));
        let (mut time, mut opened) = (LogTime::ZERO, 0);
        let log: Vec<Sent> = (1..200)
            .map(|index| {
                time = time.saturating_add(Duration::from_millis(rng.below(1_500)));
                // Among them some that have ended, and one that is still to come.
                let client = ClientId((opened + 2_u64).saturating_sub(rng.below(5)).max(1));
                let serial = 1 + rng.below(12);
                let (numbered, bytes) = match rng.below(10) {
                    0 => {
                        opened += 1;
                        let idle = Duration::from_secs(rng.below(30));
                        (Some(Numbered::open()), Open::new(idle).encode())
                    }
                    1 if rng.below(4) == 0 => (Some(Numbered::close(client)), Bytes::new()),
                    1 => (None, Bytes::new()),
                    _ => {
                        let first = 1 + rng.below(serial);
                        (Some(number(client, serial, first)), Bytes::copy_from_slice(&[rng.below(4) as u8]))
                    }
                };
                Sent { numbered, position: at(index, 0), time, bytes, tick: rng.below(9) == 0 }
            })
            .collect();
        // Few enough that sessions end in the middle of batches, and are full.
        let bounds = Bounds { kept: 12, unacknowledged: 4 };
        let mut one_by_one = Replica::default();
        one_by_one.table.bounds = bounds;
        let expected: Vec<Replied> =
            log.iter().flat_map(|sent| one_by_one.apply(std::slice::from_ref(sent))).collect();
        let mut in_batches = Replica::default();
        in_batches.table.bounds = bounds;
        let (mut replied, mut rest) = (Vec::new(), &log[..]);
        while !rest.is_empty() {
            let (batch, left) = rest.split_at(1 + rng.below(rest.len().min(20) as u64) as usize);
            replied.extend(in_batches.apply(batch));
            rest = left;
            // As through a snapshot, or a restart.
            in_batches.table = Table::decode(in_batches.table.encode()).expect("its own");
            in_batches.table.bounds = bounds;
        }
        assert_eq!(replied, expected, "seed {seed}");
        assert_eq!(in_batches, one_by_one, "seed {seed}");
        lives_on_a_disk(&log, &expected, &one_by_one.table, &mut rng);
        applied += one_by_one.applied.len();
        again += replied.iter().filter(|replied| replied.again).count();
        let count =
            |error: &AnswerError| replied.iter().filter(|it| it.answer.as_ref().err() == Some(error)).count();
        ended += count(&AnswerError::NoSession);
        full += count(&AnswerError::SessionFull);
    }
    assert!(
        applied > 5_000 && again > 1_000 && ended > 5_000 && full > 50,
        "{applied}, {again}, {ended}, {full}"
    );
}
