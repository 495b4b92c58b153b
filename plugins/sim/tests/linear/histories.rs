//! Histories of a register service under concurrent clients, as long as one likes: right ones, and
//! ones with a single thing wrong.
//!
//! At every moment one client takes its next step: it calls, its call takes effect, it is answered.
//! So up to as many calls overlap as there are clients. A write of unknown outcome is never answered:
//! it takes effect after a delay between one moment and a large part of the history, or never, while
//! its client goes on with something else.

use std::collections::{BTreeMap, BTreeSet};

use quorate_sim::linear::Operation;
use quorate_sim::linear::register::RegisterOp;
use quorate_sim::rng::Rng;

/// What is generated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// How many calls there are.
    pub(crate) operations: usize,
    /// How many registers.
    pub(crate) keys: u64,
    /// How many clients.
    pub(crate) clients: usize,
    /// How many of a thousand writes are of unknown outcome: half of them take effect.
    pub(crate) unknown_per_mille: u64,
}

/// What is wrong with a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A read sees what had been overwritten.
    StaleRead,
    /// A write that was acknowledged is undone: the register holds what it had held before.
    LostWrite,
    /// A write of unknown outcome that was seen takes effect once more, after another write.
    AppliedTwice,
}

pub(crate) const FAULTS: [Fault; 3] = [Fault::StaleRead, Fault::LostWrite, Fault::AppliedTwice];

/// Operations by register, in the order of their calls.
pub(crate) type History = BTreeMap<u64, Vec<Operation<RegisterOp>>>;

/// A history that a register service made.
pub(crate) fn right(seed: u64, shape: Shape) -> History {
    Service::new(seed, shape, None).run()
}

/// As [`right`], with one thing wrong as soon as it can be after `after` calls. Returns also of which
/// register the read is that shows it, and when that was called.
pub(crate) fn wrong(seed: u64, shape: Shape, fault: Fault, after: usize) -> (History, (u64, u64)) {
    let mut service = Service::new(seed, shape, Some((fault, after)));
    let history = service.run();
    (history, service.went_wrong.expect("the fault found its moment"))
}

/// A call of which the answer is not here yet.
struct Pending {
    key: u64,
    op: RegisterOp,
    call: u64,
    took_effect: bool,
}

/// What happened to a register, as far as a fault has to know.
#[derive(Default)]
struct Register {
    holds: Option<u64>,
    /// Writes that were acknowledged: value, call, end.
    written: Vec<(u64, u64, u64)>,
    /// Writes of unknown outcome that a read saw: value, end of the read.
    seen_unknown: Vec<(u64, u64)>,
}

struct Service {
    rng: Rng,
    shape: Shape,
    fault: Option<(Fault, usize)>,
    went_wrong: Option<(u64, u64)>,
    now: u64,
    calls: usize,
    registers: Vec<Register>,
    clients: Vec<Option<Pending>>,
    /// Writes of unknown outcome by when they take effect.
    later: BTreeMap<u64, (u64, RegisterOp)>,
    unknown_values: BTreeSet<u64>,
    history: History,
}

impl Service {
    fn new(seed: u64, shape: Shape, fault: Option<(Fault, usize)>) -> Self {
        Self {
            rng: Rng::stream(seed, "register service"),
            shape,
            fault,
            went_wrong: None,
            now: 0,
            calls: 0,
            registers: (0..shape.keys).map(|_| Register::default()).collect(),
            clients: (0..shape.clients).map(|_| None).collect(),
            later: BTreeMap::new(),
            unknown_values: BTreeSet::new(),
            history: History::new(),
        }
    }

    fn run(&mut self) -> History {
        while self.calls < self.shape.operations || self.clients.iter().any(Option::is_some) {
            self.now += 1;
            while let Some(first) = self.later.first_entry().filter(|first| *first.key() <= self.now) {
                let (key, mut op) = first.remove();
                self.take_effect(key, &mut op);
            }
            let client = self.rng.below(self.clients.len() as u64) as usize;
            match self.clients[client].take() {
                None if self.calls < self.shape.operations => self.clients[client] = self.begin(),
                None => {}
                Some(mut pending) if !pending.took_effect => {
                    self.take_effect(pending.key, &mut pending.op);
                    pending.took_effect = true;
                    self.clients[client] = Some(pending);
                }
                Some(pending) => self.end(&pending),
            }
            self.go_wrong();
        }
        let mut history = std::mem::take(&mut self.history);
        for operations in history.values_mut() {
            operations.sort_by_key(|operation| operation.call);
        }
        history
    }

    /// A client calls. `None` when it will never be answered, and is free again.
    fn begin(&mut self) -> Option<Pending> {
        self.calls += 1;
        let key = self.rng.below(self.shape.keys);
        // Every value is written once, so that a read names its write.
        let new = self.calls as u64;
        let register = &self.registers[key as usize];
        let op = match self.rng.below(10) {
            0..4 => RegisterOp::Write(new),
            4..6 => {
                let lately = register.written.iter().rev().take(3).map(|(value, ..)| Some(*value));
                let expected = lately.chain([register.holds; 3]).collect::<Vec<_>>();
                RegisterOp::Cas { expected: *self.rng.pick(&expected), new, done: false }
            }
            _ => RegisterOp::Read(None),
        };
        // In a short history there may be none for the fault.
        let wanted = self.wants_unknown() && matches!(op, RegisterOp::Write(_)) && self.rng.chance(100);
        let is_write = !matches!(op, RegisterOp::Read(_));
        let is_unknown = wanted || is_write && self.rng.chance(self.shape.unknown_per_mille);
        if !is_unknown {
            return Some(Pending { key, op, call: self.now, took_effect: false });
        }
        self.history.entry(key).or_default().push(Operation { op, call: self.now, end: None });
        self.unknown_values.insert(new);
        if wanted || self.rng.chance(500) {
            let most = self.rng.within(1..(self.shape.operations as u64).max(3).ilog2().into());
            let delay = 1 + self.rng.below(1 << if wanted { 5 } else { most });
            let mut at = self.now + delay;
            while self.later.contains_key(&at) {
                at += 1;
            }
            self.later.insert(at, (key, op));
        }
        None
    }

    fn wants_unknown(&self) -> bool {
        let soon = |(fault, after)| fault == Fault::AppliedTwice && self.calls + 200 > after;
        self.fault.is_some_and(soon) && self.registers.iter().all(|register| register.seen_unknown.is_empty())
    }

    fn take_effect(&mut self, key: u64, op: &mut RegisterOp) {
        let holds = &mut self.registers[key as usize].holds;
        match op {
            RegisterOp::Read(seen) => *seen = *holds,
            RegisterOp::Write(value) => *holds = Some(*value),
            RegisterOp::Cas { expected, new, done } => {
                *done = *expected == *holds;
                if *done {
                    *holds = Some(*new);
                }
            }
        }
    }

    fn end(&mut self, Pending { key, op, call, .. }: &Pending) {
        let register = &mut self.registers[*key as usize];
        match op {
            RegisterOp::Write(value) => register.written.push((*value, *call, self.now)),
            RegisterOp::Read(Some(seen)) if self.unknown_values.contains(seen) => {
                register.seen_unknown.push((*seen, self.now));
            }
            _ => {}
        }
        let operation = Operation { op: *op, call: *call, end: Some(self.now) };
        self.history.entry(*key).or_default().push(operation);
    }

    /// Lets the fault happen, and a client see it, where a register is ready for it.
    fn go_wrong(&mut self) {
        let Some((fault, _)) = self.fault.filter(|(_, after)| self.calls >= *after) else { return };
        let old = self.registers.iter().enumerate().find_map(|(key, register)| {
            // The last write before which another had ended.
            let old_before = |called: u64| match fault {
                Fault::AppliedTwice => register
                    .seen_unknown
                    .iter()
                    .rev()
                    .find(|(_, seen)| *seen < called)
                    .map(|(value, _)| *value),
                _ => {
                    register.written.iter().rev().find(|(_, _, end)| *end < called).map(|(value, ..)| *value)
                }
            };
            let mut lately = register.written.iter().rev().take(50);
            lately.find_map(|(_, call, _)| Some((key as u64, old_before(*call)?)))
        });
        let Some((key, old)) = old else { return };
        self.fault = None;
        self.went_wrong = Some((key, self.now + 1));
        if fault != Fault::StaleRead {
            self.registers[key as usize].holds = Some(old);
        }
        let op = RegisterOp::Read(Some(old));
        self.history.entry(key).or_default().push(Operation {
            op,
            call: self.now + 1,
            end: Some(self.now + 2),
        });
        self.now += 2;
    }
}
