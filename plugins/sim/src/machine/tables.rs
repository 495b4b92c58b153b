//! A user's machine in tables: alone as a machine like any other, whose tables are on a disk in memory
//! of its own; and on a node, where its tables are on the disk of the node.

use std::error::Error;
use std::fmt;
use std::io::{self, Read, Write};
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::Arc;

use quorate::state_machine::{
    ApplyContext, DurableStateMachine, Kept, QueryContext, RestoreError, StateMachine,
};
use quorate::types::{LogTime, Position};
use quorate_redb::{DeclaredTable, ReadTables, RedbMachine, TableMachine, View};

use super::live::looked_at;
use super::subject::{Eyes, SeenState, SimulatedInTables, Subject};
use super::value::Value;
use super::workload::{MachineWorkload, Notes};
use crate::cluster::with_sources;
use crate::disk::SimDisk;
use crate::observe::Looks;
use crate::rng::Rng;
use crate::run::panics::Failed;
use crate::trace::Digest;

/// Where the tables are on a disk: beside the storage, whose bits may rot.
const PATH: &str = "state/machine.redb";
/// How often snapshots are restored one in the place of the other. Then comes a new value on a new disk,
/// as on a node that was started again: what is in memory alone does not last.
const IN_PLACE: u32 = 3;

/// A machine in tables, as one that is tried. The name of a user's machine in what concerns its calls:
/// [`CallOf<InTables<M>>`](super::CallOf), [`Draw::any::<InTables<M>>`](super::Draw::any).
pub struct InTables<T> {
    machine: RedbMachine<T>,
    initial: Arc<dyn Fn() -> T + Send + Sync>,
    restored: u32,
}

/// What an invariant of a machine in tables looks at: [`ReadTables`].
#[derive(Debug)]
pub struct Tables(());

impl<T> fmt::Debug for InTables<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InTables").finish_non_exhaustive()
    }
}

/// Opens the tables on a disk.
pub(super) fn open<T: TableMachine>(disk: &SimDisk, machine: T) -> Result<RedbMachine<T>, String> {
    let file =
        RedbMachine::<T>::builder(PATH).cache_bytes(4 << 20).low_water_bytes(1 << 20).hooks(disk.hooks());
    file.open(machine).map_err(|error| with_sources(&error))
}

impl<T: TableMachine> InTables<T> {
    pub(super) fn begin(initial: Arc<dyn Fn() -> T + Send + Sync>) -> Self {
        let opened = open(&SimDisk::new(Rng::new(0)), initial());
        let machine = opened.unwrap_or_else(|why| panic!("its tables cannot be made: {why}"));
        Self { machine, initial, restored: 0 }
    }

    fn view(&self) -> View {
        self.machine.view().unwrap_or_else(|error| fails(&error))
    }

    /// Shows what a query would see.
    pub(super) fn read<R>(&self, look: impl FnOnce(&ReadTables<'_>) -> R) -> R {
        look(&RedbMachine::<T>::tables(&self.view()))
    }

    /// How its state is seen. The form of tables in a snapshot is canonical: as they are declared, and
    /// rows by their keys.
    pub(super) fn eyes() -> Eyes<Self> {
        let state = SeenState {
            digest: |machine: &Self| digest::<T>(machine.view()),
            state: |machine: &Self| machine.read(rows::<T>),
        };
        Eyes::new(state, |_| None)
    }
}

/// A hash of everything in the tables.
fn digest<T: TableMachine>(view: View) -> Option<u64> {
    let mut bytes = Vec::new();
    RedbMachine::<T>::write(view, &mut bytes).ok()?;
    Some(Digest::of(&bytes))
}

/// The tables as a tree, whose leaves are what `Debug` prints of keys and values.
fn rows<T: TableMachine>(tables: &ReadTables<'_>) -> Option<Value> {
    let declared: &'static [&'static dyn DeclaredTable] = T::TABLES;
    let mut rows: Vec<(&'static str, Vec<(Value, Value)>)> =
        declared.iter().map(|table| (table.name(), Vec::new())).collect();
    let shown = tables.show(|table, key, value| {
        if let Some((_, rows)) = rows.iter_mut().find(|(name, _)| *name == table) {
            rows.push((Value::Shown(key), Value::Shown(value)));
        }
    });
    shown.ok()?;
    Some(Value::Struct(rows.into_iter().map(|(table, rows)| (table, Value::Map(rows))).collect()))
}

impl<T: TableMachine> StateMachine for InTables<T> {
    const NAME: &'static str = T::NAME;
    const VERSION: u32 = T::VERSION;
    type Command = T::Command;
    type Response = T::Response;
    type Query = T::Query;
    type Answer = T::Answer;
    type Snapshot = View;

    fn apply(&mut self, ctx: &mut ApplyContext, command: T::Command) -> T::Response {
        let mut responses = Vec::new();
        let keep = Box::new(|all| {
            responses = all;
            Kept::default()
        });
        let applied = self.machine.apply(&mut iter::once((ctx.clone(), command)), keep);
        applied.unwrap_or_else(|error| fails(&error));
        responses.pop().expect("a response for each command")
    }

    fn query(&self, ctx: &QueryContext, query: T::Query) -> T::Answer {
        self.machine.query(&self.view(), ctx, query).unwrap_or_else(|error| fails(&error))
    }

    fn snapshot(&self) -> View {
        self.view()
    }

    fn write(view: View, out: &mut dyn Write) -> io::Result<()> {
        RedbMachine::<T>::write(view, out)
    }

    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        self.restored += 1;
        if self.restored > IN_PLACE {
            *self = Self::begin(self.initial.clone());
        }
        self.machine.restore(Kept::default(), input)
    }

    fn deadline(&self, now: LogTime) -> Option<LogTime> {
        self.machine.deadline(now).unwrap_or_else(|error| fails(&error))
    }
}

/// Where a machine in memory has no error.
fn fails(error: &dyn Error) -> ! {
    panic_any(Failed(with_sources(error)))
}

/// Catches what a method of a machine in tables throws when it fails.
pub(super) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, Failed> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|thrown| match thrown.downcast::<Failed>() {
        Ok(failed) => *failed,
        Err(panic) => resume_unwind(panic),
    })
}

/// Looks at the tables of a node.
pub(super) struct OnNode<T: SimulatedInTables> {
    subject: Subject<InTables<T>>,
    notes: Arc<Notes>,
    disk: SimDisk,
}

impl<T: SimulatedInTables> OnNode<T> {
    pub(super) fn new(workload: &MachineWorkload<InTables<T>>, disk: &SimDisk) -> Self {
        Self { subject: workload.subject.clone(), notes: workload.notes.clone(), disk: disk.clone() }
    }

    fn judge(&self, machine: &RedbMachine<T>, last: Position, when: &str) -> Result<(), String> {
        // Whoever applies next says why it cannot be looked at.
        let Ok(view) = machine.view() else { return Ok(()) };
        if let Some((name, why)) = self.subject.broken_in(&RedbMachine::<T>::tables(&view)) {
            return Err(format!("the invariant `{name}` does not hold {when}: {why}"));
        }
        match looked_at(last.index.get()).then(|| digest::<T>(view)).flatten() {
            Some(state) => self.notes.state(last, state),
            None => Ok(()),
        }
    }
}

impl<T: SimulatedInTables> Looks<RedbMachine<T>> for OnNode<T> {
    fn responded(&self, position: Position, response: &T::Response) {
        self.notes.responded(position, response);
    }

    fn state(&self, machine: &RedbMachine<T>, last: Position, when: &str) -> Result<(), String> {
        // What the tables of a node say whose power is off is that it is off.
        self.judge(machine, last, when).or_else(|why| if self.disk.is_dead() { Ok(()) } else { Err(why) })
    }
}
