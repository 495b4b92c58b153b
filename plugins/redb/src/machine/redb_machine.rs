//! A machine in tables as a node drives it.

use std::fmt;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate::error::{MachineError, RestoreError};
use quorate::state_machine::{
    AnyMachine, ApplyContext, DurableStateMachine, Keep, Kept, QueryContext, Replicated, Service,
};
use quorate::storage::Health;
use quorate::types::LogTime;
use redb::{Database, Durability, ReadTransaction};

use super::dump::{self, Import};
use super::file::{File, Opened};
use super::kept;
use super::{MachineBuilder, ReadTables, TableError, TableMachine, TableService, WriteTables};

/// How many bytes of a snapshot go into one transaction of the new file.
const IMPORT_BYTES: usize = 4 << 20;

/// A machine whose state is in the tables of one redb file. Give it to [`quorate::Node::builder`].
///
/// ```no_run
/// # use quorate_redb::{RedbMachine, TableMachine};
/// # fn open<M: TableMachine>(ledger: M) -> Result<RedbMachine<M>, quorate::error::MachineError> {
/// RedbMachine::open("data/n1/ledger.redb", ledger)
/// # }
/// ```
pub struct RedbMachine<M> {
    machine: M,
    file: File,
}

impl<M: TableMachine> RedbMachine<M> {
    pub(super) fn new(machine: M, file: File) -> Self {
        Self { machine, file }
    }

    /// What a view shows, as queries see it; for a simulator.
    #[doc(hidden)]
    pub fn tables(view: &View) -> ReadTables<'_> {
        ReadTables::new(&view.txn, M::TABLES)
    }

    /// Opens the file of `machine` with the default options. A file that is missing is created.
    ///
    /// # Errors
    /// As [`MachineBuilder::open`].
    pub fn open(path: impl AsRef<Path>, machine: M) -> Result<Self, MachineError> {
        Self::builder(path).open(machine)
    }
}

impl<M: TableMachine> RedbMachine<M> {
    fn apply_in(
        &self,
        opened: &Opened,
        commands: &mut dyn Iterator<Item = (ApplyContext, M::Command)>,
        keep: Keep<'_, M::Response>,
    ) -> Result<(), TableError> {
        let mut txn = opened.write()?;
        txn.set_durability(Durability::None)?;
        let tables = WriteTables::new(&txn, M::TABLES);
        let mut responses = Vec::new();
        for (mut ctx, command) in commands {
            responses.push(self.machine.apply(&tables, &mut ctx, command)?);
        }
        kept::put(&txn, &keep(responses))?;
        Ok(txn.commit()?)
    }
}

impl RedbMachine<()> {
    fn builder_at(path: &Path) -> MachineBuilder {
        MachineBuilder::new(path.to_owned())
    }
}

impl<M> RedbMachine<M> {
    /// A machine's file with other options.
    pub fn builder(path: impl AsRef<Path>) -> MachineBuilder {
        RedbMachine::<()>::builder_at(path.as_ref())
    }
}

impl<M> fmt::Debug for RedbMachine<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbMachine").finish_non_exhaustive()
    }
}

impl<M: TableMachine> Replicated for RedbMachine<M> {
    const NAME: &'static str = M::NAME;
    const VERSION: u32 = M::VERSION;

    type Command = M::Command;
    type Response = M::Response;
    type Query = M::Query;
    type Answer = M::Answer;

    fn into_machine(self) -> AnyMachine {
        AnyMachine::on_disk(self)
    }
}

impl<M: TableService> Service for RedbMachine<M> {
    type Client = M::Client;
}

/// The tables as a batch left them.
pub struct View {
    txn: ReadTransaction,
    /// The file that they are in, even when another has taken its place. Dropped last.
    _opened: Arc<Opened>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl<M: TableMachine> DurableStateMachine for RedbMachine<M> {
    type View = View;
    type Error = TableError;

    fn apply(
        &self,
        commands: &mut dyn Iterator<Item = (ApplyContext, M::Command)>,
        keep: Keep<'_, M::Response>,
    ) -> Result<(), TableError> {
        let opened = self.file.current()?;
        self.apply_in(&opened, commands, keep).map_err(|error| opened.explain(error))
    }

    fn flush(&self) -> Result<(), TableError> {
        let opened = self.file.current()?;
        flush(&opened).map_err(|error| opened.explain(error))
    }

    fn view(&self) -> Result<View, TableError> {
        let opened = self.file.current()?;
        Ok(View { txn: opened.read()?, _opened: opened })
    }

    fn applied(view: &View) -> Result<Option<Bytes>, TableError> {
        kept::record(&view.txn)
    }

    fn rows(view: &View, row: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        kept::rows(&view.txn, row)
    }

    fn query(&self, view: &View, ctx: &QueryContext, query: M::Query) -> Result<M::Answer, TableError> {
        self.machine.query(&ReadTables::new(&view.txn, M::TABLES), ctx, query)
    }

    fn write(view: View, out: &mut dyn Write) -> std::io::Result<()> {
        dump::export(M::TABLES, &view.txn, out)
    }

    fn restore(&self, kept: Kept, input: &mut dyn Read) -> Result<(), RestoreError> {
        let filled =
            self.file.replace(|database| fill::<M>(database, &kept, input).map_err(Unfilled::Restore));
        filled.map_err(|error| match error {
            Unfilled::Restore(error) => error,
            Unfilled::Machine(error) => RestoreError::Store { source: error.into() },
        })
    }

    fn deadline(&self, now: LogTime) -> Result<Option<LogTime>, TableError> {
        let view = DurableStateMachine::view(self)?;
        self.machine.deadline(&ReadTables::new(&view.txn, M::TABLES), now)
    }

    fn health(&self) -> Health {
        self.file.health()
    }

    fn room_for(&self, snapshot_bytes: u64) -> Result<(), RestoreError> {
        self.file.room_for(snapshot_bytes)
    }

    fn close(&self) {
        self.file.close();
    }
}

fn flush(opened: &Opened) -> Result<(), TableError> {
    let mut txn = opened.write()?;
    txn.set_durability(Durability::Immediate)?;
    // Or an open after a crash would read the whole file.
    txn.set_quick_repair(true);
    Ok(txn.commit()?)
}

/// Why the new file was not made.
enum Unfilled {
    Restore(RestoreError),
    Machine(MachineError),
}

impl From<MachineError> for Unfilled {
    fn from(error: MachineError) -> Self {
        Self::Machine(error)
    }
}

/// Fills a new file with the rows of a snapshot, in bounded memory, and flushes it.
fn fill<M: TableMachine>(database: &Database, kept: &Kept, input: &mut dyn Read) -> Result<(), RestoreError> {
    let failed = |error: TableError| RestoreError::Store { source: error.into() };
    let mut import = Import::begin(input, M::TABLES)?;
    while let Some(table) = import.table()? {
        let mut more = true;
        while more {
            let mut txn = database.begin_write().map_err(|error| failed(error.into()))?;
            txn.set_durability(Durability::None).map_err(|error| failed(error.into()))?;
            let mut left = IMPORT_BYTES;
            table.import(&txn, &mut |key, value| {
                if left == 0 {
                    return Ok(false);
                }
                more = import.row(key, value)?;
                left = left.saturating_sub(key.len() + value.len() + 1);
                Ok(more)
            })?;
            txn.commit().map_err(|error| failed(error.into()))?;
        }
    }
    let seal = || -> Result<(), TableError> {
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(true);
        kept::put(&txn, kept)?;
        Ok(txn.commit()?)
    };
    seal().map_err(failed)
}
