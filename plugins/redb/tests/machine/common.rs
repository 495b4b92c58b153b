//! A machine in tables, and what a node does with one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quorate::error::{MachineError, RestoreError};
use quorate::prelude::*;
use quorate::state_machine::{DurableStateMachine, Kept};
use quorate::types::{ClusterId, GroupId, LogIndex, LogTime, Position, Term};
use quorate_redb::redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use quorate_redb::{ReadTables, RedbMachine, TableError, View, WriteTables};

use crate::disk::Disk;

pub(crate) const TOTALS: TableDefinition<&str, u64> = TableDefinition::new("totals");
pub(crate) const HISTORY: TableDefinition<u64, (&str, u64)> = TableDefinition::new("history");
pub(crate) const LEASES: TableDefinition<u64, &str> = TableDefinition::new("leases");

/// Totals by name, and every addition in order.
#[derive(Debug, Default, RaftStateMachine)]
#[raft(
    name = "totals",
    tables = quorate_redb(TOTALS, HISTORY, LEASES),
    deadline = Self::next_lease,
    /// Adds to a total, and returns it.
    command(1, add(ctx, name: String, count: u64) -> u64),
    command(2, remove(name: String) -> Result<u64, String>),
    /// Takes a name until so many microseconds from now.
    command(3, lease(ctx, name: String, micros: u64)),
    command(4, burst(panic: bool)),
    query(1, total(name: String) -> Option<u64>),
    query(2, commands() -> u64),
    query(3, leased(ctx) -> Vec<String>),
    query(4, position(ctx) -> Option<u64>),
)]
pub(crate) struct Totals {
    /// How many commands this value has applied.
    pub(crate) applied: Arc<AtomicU64>,
}

#[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "the state is in the tables")]
impl Totals {
    fn add(
        &self,
        tables: &WriteTables<'_>,
        ctx: &mut ApplyContext,
        name: String,
        count: u64,
    ) -> Result<u64, TableError> {
        self.applied.fetch_add(1, Ordering::Relaxed);
        let mut totals = tables.open(TOTALS)?;
        let total = totals.get(&*name)?.map_or(0, |total| total.value());
        let total = total.wrapping_add(count);
        totals.insert(&*name, total)?;
        let mut history = tables.open(HISTORY)?;
        let position = ctx.position();
        let key = position.index.get() << 20 | u64::from(position.ordinal);
        history.insert(key, (&*name, count))?;
        Ok(total)
    }

    fn remove(&self, tables: &WriteTables<'_>, name: String) -> Result<Result<u64, String>, TableError> {
        let mut totals = tables.open(TOTALS)?;
        let removed = totals.remove(&*name)?.map(|total| total.value());
        Ok(removed.ok_or(name))
    }

    fn lease(
        &self,
        tables: &WriteTables<'_>,
        ctx: &mut ApplyContext,
        name: String,
        micros: u64,
    ) -> Result<(), TableError> {
        let mut leases = tables.open(LEASES)?;
        let now = ctx.time().as_micros();
        leases.retain(|until, _| until > now)?;
        leases.insert(now + micros, &*name)?;
        Ok(())
    }

    fn burst(&self, _: &WriteTables<'_>, panic: bool) -> Result<(), TableError> {
        assert!(!panic, "as it was told");
        Ok(())
    }

    fn total(&self, tables: &ReadTables<'_>, name: String) -> Result<Option<u64>, TableError> {
        let total = tables.open(TOTALS)?.get(&*name)?;
        Ok(total.map(|total| total.value()))
    }

    fn commands(&self, tables: &ReadTables<'_>) -> Result<u64, TableError> {
        Ok(tables.open(HISTORY)?.len()?)
    }

    fn leased(&self, tables: &ReadTables<'_>, ctx: &QueryContext) -> Result<Vec<String>, TableError> {
        let leases = tables.open(LEASES)?;
        let now = ctx.time().as_micros();
        let names = leases.range(now + 1..)?;
        names.map(|row| Ok(row?.1.value().to_owned())).collect()
    }

    fn position(&self, _: &ReadTables<'_>, ctx: &QueryContext) -> Result<Option<u64>, TableError> {
        Ok(ctx.applied().map(|applied| applied.index.get()))
    }

    fn next_lease(&self, tables: &ReadTables<'_>, now: LogTime) -> Result<Option<LogTime>, TableError> {
        let leases = tables.open(LEASES)?;
        let mut after = leases.range(now.as_micros() + 1..)?;
        let next = after.next().transpose()?;
        Ok(next.map(|(until, _)| LogTime::from_micros(until.value())))
    }
}

pub(crate) type Machine = RedbMachine<Totals>;

pub(crate) fn context(index: u64) -> ApplyContext {
    let position = Position { index: LogIndex(index), ordinal: 0 };
    ApplyContext::new(ClusterId([7; 32]), GroupId::MAIN, Term(1), position, LogTime::from_micros(index))
}

pub(crate) fn open_on(disk: &Disk) -> Result<Machine, MachineError> {
    Machine::builder("/n1/totals.redb").cache_bytes(1 << 20).hooks(disk.hooks()).open(Totals::default())
}

/// Applies a batch of additions of 1 to `name`, the entries `range`. The record is its end.
pub(crate) fn add(
    machine: &Machine,
    name: &str,
    range: std::ops::Range<u64>,
) -> Result<Vec<u64>, TableError> {
    let kept = kept(range.end);
    let mut commands =
        range.map(|index| (context(index), TotalsCommand::Add { name: name.to_owned(), count: 1 }));
    let mut totals = Vec::new();
    let total = |response| match response {
        TotalsResponse::Add(total) => total,
        other => panic!("{other:?}"),
    };
    let keep = Box::new(|responses: Vec<TotalsResponse>| {
        totals.extend(responses.into_iter().map(total));
        kept
    });
    machine.apply(&mut commands, keep)?;
    Ok(totals)
}

/// What is stored with a batch or a state, without rows.
pub(crate) fn kept(record: u64) -> Kept {
    Kept { record: record.to_string().into(), rows: Vec::new() }
}

pub(crate) fn view(machine: &Machine) -> View {
    machine.view().expect("an open file")
}

pub(crate) fn record(machine: &Machine) -> u64 {
    let record = Machine::applied(&view(machine)).expect("readable");
    record.map_or(0, |record: Bytes| String::from_utf8_lossy(&record).parse().expect("a number"))
}

pub(crate) fn total(machine: &Machine, name: &str) -> Option<u64> {
    total_in(machine, &view(machine), name)
}

pub(crate) fn total_in(machine: &Machine, view: &View, name: &str) -> Option<u64> {
    let query = TotalsQuery::Total { name: name.to_owned() };
    match machine.query(view, &QueryContext::default(), query).expect("readable") {
        TotalsAnswer::Total(total) => total,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn commands(machine: &Machine) -> u64 {
    match machine.query(&view(machine), &QueryContext::default(), TotalsQuery::Commands).expect("readable") {
        TotalsAnswer::Commands(commands) => commands,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn written(view: View) -> Vec<u8> {
    let mut bytes = Vec::new();
    Machine::write(view, &mut bytes).expect("memory");
    bytes
}

pub(crate) fn restore(machine: &Machine, record: u64, bytes: &[u8]) -> Result<(), RestoreError> {
    machine.restore(kept(record), &mut &bytes[..])
}

/// A machine that is on no disk of this process.
pub(crate) fn temporary() -> (tempfile::TempDir, Machine) {
    let dir = tempfile::tempdir().expect("a directory");
    let machine = open_at(dir.path());
    (dir, machine)
}

pub(crate) fn open_at(dir: &Path) -> Machine {
    Machine::builder(dir.join("totals.redb"))
        .cache_bytes(1 << 20)
        .open(Totals::default())
        .expect("a file of ours")
}
