//! A machine in memory, with an eye on what is applied.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bytes::Bytes;
use quorate::state_machine::{ApplyContext, QueryContext, RestoreError, StateMachine, Wire};
use quorate::types::{LogTime, Position};

use super::machine::{Eye, panic_text};
use super::tagged::{LAST_BYTES, Placed, Tagged, decode_last, encode_last, encoded};
use super::{AppliedCommand, Observation};
use crate::workload::Workload;

/// A machine in memory that tells what it applies.
pub(super) struct InMemory<W: Workload> {
    machine: W::Machine,
    /// The last command that its state has in it.
    last: Option<Position>,
    eye: Eye<W>,
}

impl<W: Workload> InMemory<W> {
    pub(super) fn new(machine: W::Machine, eye: Eye<W>) -> Self {
        Self { machine, last: None, eye }
    }

    /// Tells the machine a command, and what it does to the eye.
    fn tell(
        &mut self,
        ctx: &mut ApplyContext,
        command: <Self as StateMachine>::Command,
    ) -> <Self as StateMachine>::Response {
        let (position, term, time) = (ctx.position(), ctx.term().get(), self.eye.time(ctx.time()));
        let bytes = encoded(&command);
        let told = |response| AppliedCommand { position, term, time, command: bytes.clone(), response };
        let (machine, command) = (&mut self.machine, self.eye.as_taken(command.command));
        let outcome = catch_unwind(AssertUnwindSafe(|| machine.apply(ctx, command)));
        let response = outcome.unwrap_or_else(|panic| {
            self.eye.workload.panicked(&told(Bytes::new()), &panic_text(&*panic));
            resume_unwind(panic)
        });
        self.last = Some(position);
        let applied = told(self.eye.workload.response(&response));
        self.eye.see(&Observation::Applied { applied: &applied });
        self.eye.judge(self.eye.workload.applied(position, &self.machine, &response));
        response
    }
}

impl<W: Workload> StateMachine for InMemory<W> {
    const NAME: &'static str = <W::Machine as StateMachine>::NAME;
    const VERSION: u32 = <W::Machine as StateMachine>::VERSION;
    type Command = Tagged<<W::Machine as StateMachine>::Command>;
    type Response = <W::Machine as StateMachine>::Response;
    type Query = <W::Machine as StateMachine>::Query;
    type Answer = Placed<<W::Machine as StateMachine>::Answer>;
    type Snapshot = (Option<Position>, <W::Machine as StateMachine>::Snapshot);

    fn apply(&mut self, ctx: &mut ApplyContext, command: Self::Command) -> Self::Response {
        let again = self.eye.again(ctx.position()).then(|| Self::Command::decode(&encoded(&command)).ok());
        let response = self.tell(ctx, command);
        match again.flatten() {
            Some(command) => self.tell(ctx, command),
            None => response,
        }
    }

    fn query(&self, ctx: &QueryContext, query: Self::Query) -> Self::Answer {
        Placed { applied: ctx.applied(), time: ctx.time(), answer: self.machine.query(ctx, query) }
    }

    fn snapshot(&self) -> Self::Snapshot {
        (self.last, self.machine.snapshot())
    }

    fn write((last, snapshot): Self::Snapshot, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&encode_last(last))?;
        W::Machine::write(snapshot, out)
    }

    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        let mut last = [0; LAST_BYTES];
        input.read_exact(&mut last)?;
        self.machine.restore(input)?;
        self.last = decode_last(last);
        self.eye.see(&Observation::Restored { last: self.last, on_disk: false });
        self.eye.judge(self.eye.workload.restored(&self.machine));
        Ok(())
    }

    fn deadline(&self, now: LogTime) -> Option<LogTime> {
        self.machine.deadline(now)
    }
}
