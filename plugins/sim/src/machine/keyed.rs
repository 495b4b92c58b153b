//! Linearizability by search, key by key, with the user's machine as the model. It is not told the
//! order of the log and must find one. What it takes from the log is the context that each command had
//! there, and that a command which is nowhere in it never took effect.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use quorate::state_machine::{QueryContext, Wire};
use quorate::types::ClusterId;

use super::calls::CallOf;
use super::live::Step;
use super::order::{step, text};
use super::seen::reply_text;
use super::subject::{Simulated, Subject};
use crate::linear::{Model, Operation, Verdict, check};
use crate::workload::{Call, Entry, History, Record};

/// The key that a call is about, as text; `None` is a key, too.
pub(super) type KeyOf<M> = Arc<dyn Fn(&CallOf<M>) -> String + Send + Sync>;

/// After how many steps a search is given up; each restores a machine and tells it one thing.
const BUDGET: usize = 1_000_000;

/// Says whether what happened to each key is linearizable.
pub(super) fn by_key<M: Simulated>(
    subject: &Subject<M>,
    key: &KeyOf<M>,
    history: &History<'_>,
) -> (Verdict, String) {
    let entries: BTreeMap<u64, &Entry> = history.log.iter().map(|entry| (entry.tag, entry)).collect();
    let mut keys: BTreeMap<String, (Vec<Operation<Op>>, Vec<&Record>)> = BTreeMap::new();
    for record in history.records {
        let Some((call, op)) = operation::<M>(record, &entries) else { continue };
        let (operations, records) = keys.entry(key(&call)).or_default();
        let end = record.ended.as_ref().map(|(end, _)| *end);
        operations.push(Operation { op, call: record.began, end });
        records.push(record);
    }
    let model = MachineModel { subject, cluster: history.cluster };
    for (key, (operations, records)) in keys {
        let verdict = check(&model, &operations, BUDGET);
        match verdict {
            Verdict::Linearizable => {}
            Verdict::NotLinearizable { stuck, .. } => {
                let around = &records[stuck.saturating_sub(4)..(stuck + 5).min(records.len())];
                let around: Vec<String> = around.iter().map(|record| text::<M>(record)).collect();
                let what = format!(
                    "no order of the calls of key {key} explains {}, among\n{}",
                    text::<M>(records[stuck]),
                    around.join("\n")
                );
                return (verdict, what);
            }
            Verdict::Undecided => return (verdict, format!("key {key}: given up after {BUDGET} steps")),
        }
    }
    (Verdict::Linearizable, String::new())
}

/// A call with the context it had, and what was told. One that never took effect is none.
fn operation<M: Simulated>(record: &Record, entries: &BTreeMap<u64, &Entry>) -> Option<(CallOf<M>, Op)> {
    match &record.call {
        Call::Write(command) => {
            let step = step(entries.get(&record.tag)?);
            let told = record.ended.as_ref().map(|(_, told)| told.to_vec());
            Some((Call::Write(M::Command::decode(command).ok()?), Op::Write { step, told }))
        }
        Call::Read(query) => {
            let (applied, time) = record.read_at?;
            let told = record.ended.as_ref()?.1.to_vec();
            let op = Op::Read { query: query.to_vec(), ctx: QueryContext::new(applied, time), told };
            Some((Call::Read(M::Query::decode(query).ok()?), op))
        }
    }
}

enum Op {
    Write { step: Step, told: Option<Vec<u8>> },
    Read { query: Vec<u8>, ctx: QueryContext, told: Vec<u8> },
}

struct MachineModel<'a, M> {
    subject: &'a Subject<M>,
    cluster: ClusterId,
}

/// A state as its snapshot; told apart by its canonical form, or by the snapshot where there is none.
struct State<M> {
    bytes: Arc<Vec<u8>>,
    digest: u64,
    machine: PhantomData<fn() -> M>,
}

impl<M> Clone for State<M> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), digest: self.digest, machine: PhantomData }
    }
}

impl<M> PartialEq for State<M> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl<M> Eq for State<M> {}

impl<M> Hash for State<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl<M: Simulated> MachineModel<'_, M> {
    fn state(&self, machine: &M) -> State<M> {
        let mut bytes = Vec::new();
        // A machine whose snapshots do not work was found out before.
        let _ = M::write(machine.snapshot(), &mut bytes);
        let digest = self.subject.digest(machine).unwrap_or_else(|| crate::trace::Digest::of(&bytes));
        State { bytes: Arc::new(bytes), digest, machine: PhantomData }
    }

    fn machine(&self, state: &State<M>) -> M {
        let mut machine = (self.subject.initial)();
        let _ = machine.restore(&mut &state.bytes[..]);
        machine
    }

    fn write(&self, state: &State<M>, step: &Step) -> Option<(State<M>, String)> {
        let mut machine = self.machine(state);
        let command = M::Command::decode(&step.command).ok()?;
        let response = machine.apply(&mut step.apply_context(self.cluster), command);
        Some((self.state(&machine), reply_text(&response)))
    }
}

impl<M: Simulated> Model for MachineModel<'_, M> {
    type State = State<M>;
    type Op = Op;

    fn init(&self) -> State<M> {
        self.state(&(self.subject.initial)())
    }

    fn step(&self, state: &State<M>, op: &Op) -> Option<State<M>> {
        match op {
            Op::Write { step, told } => {
                let (after, response) = self.write(state, step)?;
                told.as_ref().is_none_or(|told| *told == response.as_bytes()).then_some(after)
            }
            Op::Read { query, ctx, told } => {
                let answer = self.machine(state).query(ctx, M::Query::decode(query).ok()?);
                (reply_text(&answer).as_bytes() == told).then(|| state.clone())
            }
        }
    }

    fn step_blindly(&self, state: &State<M>, op: &Op) -> State<M> {
        match op {
            Op::Write { step, .. } => {
                self.write(state, step).map_or_else(|| state.clone(), |(after, _)| after)
            }
            Op::Read { .. } => state.clone(),
        }
    }

    fn only_reads(&self, op: &Op) -> bool {
        matches!(op, Op::Read { .. })
    }
}
