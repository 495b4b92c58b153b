//! The user's machine, with an eye on what is applied.

use std::io::{Read, Write};

use bytes::Bytes;
use quorate::state_machine::{ApplyContext, QueryContext, RestoreError, StateMachine, Wire};
use quorate::types::LogTime;

use super::{AppliedCommand, Observation, Observer};

/// A machine that tells what it applies. For the nodes it is the machine itself: the same name, the
/// same commands, the same snapshots.
pub struct Observed<M> {
    machine: M,
    observer: Observer,
    node: u64,
    boot: u64,
}

impl<M: StateMachine> Observed<M> {
    /// Wraps the machine of a boot of a node.
    pub fn new(machine: M, observer: Observer, node: u64, boot: u64) -> Self {
        Self { machine, observer, node, boot }
    }
}

/// The bytes of a command or response. One that cannot be encoded has none: nodes say so themselves.
pub(crate) fn encoded(value: &impl Wire) -> Bytes {
    let mut bytes = Vec::new();
    if value.encode(&mut bytes).is_err() {
        bytes.clear();
    }
    bytes.into()
}

impl<M: StateMachine> StateMachine for Observed<M> {
    const NAME: &'static str = M::NAME;
    const VERSION: u32 = M::VERSION;
    type Command = M::Command;
    type Response = M::Response;
    type Query = M::Query;
    type Answer = M::Answer;
    type Snapshot = M::Snapshot;

    fn apply(&mut self, ctx: &mut ApplyContext, command: M::Command) -> M::Response {
        let (position, term, time) = (ctx.position(), ctx.term().get(), ctx.time());
        let bytes = encoded(&command);
        let response = self.machine.apply(ctx, command);
        let applied = AppliedCommand { position, term, time, command: bytes, response: encoded(&response) };
        if self.observer.is_boot(self.node, self.boot) {
            self.observer.see(self.node, &Observation::Applied { applied: &applied });
        }
        response
    }

    fn query(&self, ctx: &QueryContext, query: M::Query) -> M::Answer {
        self.machine.query(ctx, query)
    }

    fn snapshot(&self) -> M::Snapshot {
        self.machine.snapshot()
    }

    fn write(snapshot: M::Snapshot, out: &mut dyn Write) -> std::io::Result<()> {
        M::write(snapshot, out)
    }

    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        self.machine.restore(input)
    }

    fn deadline(&self, now: LogTime) -> Option<LogTime> {
        self.machine.deadline(now)
    }
}
