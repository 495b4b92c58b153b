//! A machine on a disk, so that the kit drives it like one in memory.

use std::any::Any;
use std::fmt;
use std::io::{Read, Write};

use bytes::Bytes;

use crate::state_machine::{
    ApplyContext, DurableStateMachine, Kept, QueryContext, Replicated, RestoreError, StateMachine,
};
use crate::types::LogTime;

/// Lets the kit drive a [`DurableStateMachine`]: every command is a batch, and every fifth is
/// flushed.
///
/// ```text
/// impl MachineHarness for MyHarness {
///     type Machine = Durably<RedbMachine<Ledger>>;
///
///     fn machine() -> Self::Machine {
///         let dir = tempfile::tempdir().expect("a directory");
///         let machine = RedbMachine::open(dir.path().join("ledger.redb"), Ledger).expect("a new file");
///         Durably::new(machine, dir)
///     }
///     ..
/// }
/// ```
pub struct Durably<M> {
    machine: M,
    /// What has to outlive the machine, such as its directory.
    _kept: Box<dyn Any + Send + Sync>,
}

impl<M: DurableStateMachine> Durably<M> {
    /// Drives `machine`, and keeps `kept` as long as that.
    pub fn new(machine: M, kept: impl Any + Send + Sync) -> Self {
        Self { machine, _kept: Box::new(kept) }
    }

    fn expect<T>(result: Result<T, M::Error>) -> T {
        result.unwrap_or_else(|error| panic!("the machine failed: {}", error.into()))
    }
}

impl<M> fmt::Debug for Durably<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durably").finish_non_exhaustive()
    }
}

impl<M: DurableStateMachine> StateMachine for Durably<M> {
    const NAME: &'static str = <M as Replicated>::NAME;
    const VERSION: u32 = <M as Replicated>::VERSION;

    type Command = <M as Replicated>::Command;
    type Response = <M as Replicated>::Response;
    type Query = <M as Replicated>::Query;
    type Answer = <M as Replicated>::Answer;
    type Snapshot = M::View;

    fn apply(&mut self, ctx: &mut ApplyContext, command: Self::Command) -> Self::Response {
        let record = ctx.position().index.get().to_le_bytes();
        let mut commands = std::iter::once((ctx.clone(), command));
        let mut responses = Vec::new();
        let keep = Box::new(|all| {
            responses = all;
            Kept { record: record.to_vec().into(), rows: Vec::new() }
        });
        Self::expect(self.machine.apply(&mut commands, keep));
        assert_eq!(responses.len(), 1, "a command has one response");
        let stored = Self::expect(M::applied(&Self::expect(self.machine.view())));
        assert_eq!(stored.as_deref(), Some(&record[..]), "the record comes back as it was given");
        if ctx.position().index.get().is_multiple_of(5) {
            Self::expect(self.machine.flush());
        }
        responses.remove(0)
    }

    fn query(&self, ctx: &QueryContext, query: Self::Query) -> Self::Answer {
        let view = Self::expect(self.machine.view());
        Self::expect(self.machine.query(&view, ctx, query))
    }

    fn snapshot(&self) -> M::View {
        Self::expect(self.machine.view())
    }

    fn write(snapshot: M::View, out: &mut dyn Write) -> std::io::Result<()> {
        M::write(snapshot, out)
    }

    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        let kept = Kept { record: Bytes::from_static(b"restored"), rows: Vec::new() };
        self.machine.restore(kept, input)?;
        let stored = Self::expect(M::applied(&Self::expect(self.machine.view())));
        assert_eq!(stored.as_deref(), Some(&b"restored"[..]), "the record is replaced with the state");
        Ok(())
    }

    fn deadline(&self, now: LogTime) -> Option<LogTime> {
        Self::expect(self.machine.deadline(now))
    }
}
