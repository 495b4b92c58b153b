//! A machine on a disk, with an eye on what is applied.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate::state_machine::{
    AnyMachine, ApplyContext, DurableStateMachine, Keep, Kept, QueryContext, Replicated, RestoreError,
    StateMachine,
};
use quorate::storage::Health;
use quorate::types::{LogTime, Position};

use super::machine::{Eye, panic_text};
use super::tagged::{LAST_BYTES, Placed, Tagged, decode_last, encode_last, encoded};
use super::{AppliedCommand, Observation};
use crate::mutations::Mutation;
use crate::workload::Workload;

/// A machine on a disk that has the commands, queries and answers of a workload's machine.
pub trait OnDiskOf<W: Workload>:
    DurableStateMachine<
        Command = <W::Machine as StateMachine>::Command,
        Response = <W::Machine as StateMachine>::Response,
        Query = <W::Machine as StateMachine>::Query,
        Answer = <W::Machine as StateMachine>::Answer,
    >
{
}

impl<W, D> OnDiskOf<W> for D
where
    W: Workload,
    D: DurableStateMachine<
            Command = <W::Machine as StateMachine>::Command,
            Response = <W::Machine as StateMachine>::Response,
            Query = <W::Machine as StateMachine>::Query,
            Answer = <W::Machine as StateMachine>::Answer,
        >,
{
}

/// Looks at a machine on a disk, which is seen as a batch left it.
pub trait Looks<D: DurableStateMachine>: Send + Sync + 'static {
    /// It has applied the command at `position`.
    fn responded(&self, position: Position, response: &D::Response);

    /// It has come to the state after `last`, `when` says how.
    ///
    /// # Errors
    /// What is wrong with it now.
    fn state(&self, machine: &D, last: Position, when: &str) -> Result<(), String>;
}

/// Who does not look.
impl<D: DurableStateMachine> Looks<D> for () {
    fn responded(&self, _: Position, _: &D::Response) {}

    fn state(&self, _: &D, _: Position, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// A machine on a disk that tells what it applies. Which command is the last that its state has in it
/// stands before the framework's record, so that it is stored with its effects as that is.
pub(super) struct OnDisk<W: Workload, D> {
    machine: D,
    eye: Eye<W>,
    looks: Box<dyn Looks<D>>,
    state: Mutex<State>,
}

/// The last command that the state has in it.
#[derive(Clone, Copy, Default)]
enum Last {
    #[default]
    NotLookedUp,
    Is(Option<Position>),
}

#[derive(Default)]
struct State {
    last: Last,
    /// The record of the batch before, for the bug that stores that one.
    before: Option<Bytes>,
}

impl<W: Workload, D: OnDiskOf<W>> OnDisk<W, D> {
    pub(super) fn new(machine: D, eye: Eye<W>, looks: impl Looks<D>) -> Self {
        Self { machine, eye, looks: Box::new(looks), state: Mutex::default() }
    }

    /// Shows the state after `last`.
    fn show(&self, last: Option<Position>, when: &str) {
        if let Some(last) = last {
            self.eye.judge(self.looks.state(&self.machine, last, when));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the machine is; tells where it goes on, the first time.
    fn last(&self) -> Result<Option<Position>, D::Error> {
        if let Last::Is(last) = self.state().last {
            return Ok(last);
        }
        let record = D::applied(&self.machine.view()?)?;
        let last = record.as_ref().and_then(last_of);
        self.state().last = Last::Is(last);
        self.eye.see(&Observation::Resumed { last });
        self.show(last, "when its node was started again");
        Ok(last)
    }

    /// What is stored with a batch.
    fn stored(&self, last: Option<Position>, record: &[u8]) -> Bytes {
        let before = self.state().before.replace(Bytes::copy_from_slice(record));
        match before.filter(|_| self.eye.mutation == Some(Mutation::RecordOfBefore)) {
            Some(before) => with_last(last, &before),
            None => with_last(last, record),
        }
    }
}

fn with_last(last: Option<Position>, record: &[u8]) -> Bytes {
    [&encode_last(last)[..], record].concat().into()
}

fn last_of(record: &Bytes) -> Option<Position> {
    decode_last(*record.first_chunk::<LAST_BYTES>()?)
}

impl<W: Workload, D: OnDiskOf<W>> Replicated for OnDisk<W, D> {
    const NAME: &'static str = <W::Machine as StateMachine>::NAME;
    const VERSION: u32 = <W::Machine as StateMachine>::VERSION;
    type Command = Tagged<D::Command>;
    type Response = D::Response;
    type Query = D::Query;
    type Answer = Placed<D::Answer>;

    fn into_machine(self) -> AnyMachine {
        AnyMachine::on_disk(self)
    }
}

impl<W: Workload, D: OnDiskOf<W>> DurableStateMachine for OnDisk<W, D> {
    type View = D::View;
    type Error = D::Error;

    fn apply(
        &self,
        commands: &mut dyn Iterator<Item = (ApplyContext, Self::Command)>,
        keep: Keep<'_, D::Response>,
    ) -> Result<(), D::Error> {
        let before = self.last()?;
        let commands: Vec<_> = commands.collect();
        let head = |(ctx, command): &(ApplyContext, Self::Command)| AppliedCommand {
            position: ctx.position(),
            term: ctx.term().get(),
            time: self.eye.time(ctx.time()),
            command: encoded(command),
            response: Bytes::new(),
        };
        let heads: Vec<AppliedCommand> = commands.iter().map(head).collect();
        let last = heads.last().map_or(before, |head| Some(head.position));
        let mut responded = Vec::new();
        let keep = Box::new(|responses: Vec<D::Response>| {
            for (head, response) in heads.iter().zip(&responses) {
                self.looks.responded(head.position, response);
                responded.push(self.eye.workload.response(response));
            }
            let mut kept = keep(responses);
            if self.eye.mutation == Some(Mutation::SessionsNotStored) {
                kept.rows.clear();
            }
            Kept { record: self.stored(last, &kept.record), ..kept }
        });
        let begun = Cell::new(0_usize);
        let mut commands = commands.into_iter().map(|(ctx, command)| {
            begun.set(begun.get() + 1);
            (ctx, self.eye.as_taken(command.command))
        });
        let outcome = catch_unwind(AssertUnwindSafe(|| self.machine.apply(&mut commands, keep)));
        outcome.unwrap_or_else(|panic| {
            if let Some(head) = begun.get().checked_sub(1).and_then(|at| heads.get(at)) {
                self.eye.workload.panicked(head, &panic_text(&*panic));
            }
            resume_unwind(panic)
        })?;
        self.state().last = Last::Is(last);
        for (head, response) in heads.into_iter().zip(responded) {
            self.eye.see(&Observation::Applied { applied: &AppliedCommand { response, ..head } });
        }
        self.show(last, "after a batch");
        Ok(())
    }

    fn flush(&self) -> Result<(), D::Error> {
        if self.eye.mutation == Some(Mutation::TablesNotFlushed) {
            return Ok(());
        }
        self.machine.flush()
    }

    fn view(&self) -> Result<D::View, D::Error> {
        self.machine.view()
    }

    fn applied(view: &D::View) -> Result<Option<Bytes>, D::Error> {
        Ok(D::applied(view)?.map(|record| record.slice(LAST_BYTES.min(record.len())..)))
    }

    fn rows(view: &D::View, row: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), D::Error> {
        D::rows(view, row)
    }

    fn query(&self, view: &D::View, ctx: &QueryContext, query: D::Query) -> Result<Self::Answer, D::Error> {
        let answer = self.machine.query(view, ctx, query)?;
        Ok(Placed { applied: ctx.applied(), time: ctx.time(), answer })
    }

    fn write(view: D::View, out: &mut dyn Write) -> io::Result<()> {
        let record = D::applied(&view).map_err(io::Error::other)?;
        out.write_all(&encode_last(record.as_ref().and_then(last_of)))?;
        D::write(view, out)
    }

    fn restore(&self, kept: Kept, input: &mut dyn Read) -> Result<(), RestoreError> {
        let mut last = [0; LAST_BYTES];
        input.read_exact(&mut last)?;
        let last = decode_last(last);
        self.machine.restore(Kept { record: with_last(last, &kept.record), ..kept }, input)?;
        self.state().last = Last::Is(last);
        self.eye.see(&Observation::Restored { last, on_disk: true });
        self.show(last, "after it restored a snapshot");
        Ok(())
    }

    fn deadline(&self, now: LogTime) -> Result<Option<LogTime>, D::Error> {
        self.machine.deadline(now)
    }

    fn health(&self) -> Health {
        self.machine.health()
    }

    fn room_for(&self, snapshot_bytes: u64) -> Result<(), RestoreError> {
        self.machine.room_for(snapshot_bytes)
    }

    fn close(&self) {
        self.machine.close();
    }
}
