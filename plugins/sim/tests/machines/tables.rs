//! Machines in tables: the documents of the examples pass, and each broken one fails with a message
//! that names its mistake.

#[path = "../../../../examples/documents/documents.rs"]
mod machine;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate::prelude::*;
use quorate_redb::redb::{ReadableTable, TableDefinition};
use quorate_redb::{ReadTables, TableError, WriteTables};
use quorate_sim::machine::{CallOf, Cause, Failure, Faults, Finding, InTables, Wrong};
use quorate_sim::simulation;
use quorate_sim::workload::Call;

use self::machine::{DOCUMENTS, Documents, DocumentsCommand};

fn revisions_begin_at_one(tables: &ReadTables<'_>) -> Result<bool, TableError> {
    for document in tables.open(DOCUMENTS)?.iter()? {
        if document?.1.value().0 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

quorate_sim::simulate!(Documents, seeds: 4, invariants: [revisions_begin_at_one]);

quorate_sim::simulate!(
    fn every_option,
    Documents = Documents,
    seeds: 1,
    nodes: 3,
    clients: 2,
    duration: Duration::from_secs(2),
    faults: Faults::None,
    invariants: [revisions_begin_at_one, |_: &ReadTables<'_>| true],
    workload: |draw| match draw.below(4) {
        0 => draw.any::<InTables<Documents>>(),
        1 => Call::Read(draw.item("get")),
        _ => Call::Write(DocumentsCommand::Put { number: draw.below(8), text: draw.unique().to_string() }),
    },
    key: |_: &CallOf<InTables<Documents>>| (),
);

fn finding(failure: &Failure) -> &Finding {
    println!("{failure}");
    match &failure.wrong {
        Wrong::Machine(finding) => finding,
        _ => panic!("not the machine: {failure}"),
    }
}

const STAMPS: TableDefinition<&str, u64> = TableDefinition::new("stamps");

#[derive(Debug, Default, RaftStateMachine)]
#[raft(tables = quorate_redb(STAMPS), command(1, touch(name: String)), query(1, touched(name: String) -> Option<u64>))]
struct WallClock;

#[allow(clippy::unused_self, reason = "the state is in the tables")]
impl WallClock {
    #[allow(clippy::disallowed_methods, reason = "the mistake")]
    fn touch(&self, tables: &WriteTables<'_>, name: String) -> Result<(), TableError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        tables.open(STAMPS)?.insert(&*name, now)?;
        Ok(())
    }

    fn touched(&self, tables: &ReadTables<'_>, name: String) -> Result<Option<u64>, TableError> {
        Ok(tables.open(STAMPS)?.get(&*name)?.map(|at| at.value()))
    }
}

#[test]
fn a_machine_that_writes_the_wall_clock_into_a_table_is_found() {
    let failure = simulation!(t, WallClock = WallClock, seeds: 3).run().expect_err("it differs");
    let finding = finding(&failure);
    assert_eq!(finding.cause, Cause::WallClock, "{finding}");
    assert!(finding.to_string().starts_with("apply reads the wall clock: use `ctx.time()`"), "{finding}");
    // The row by its table and key, as a person writes them.
    assert!(finding.detail.contains("`stamps[\""), "{finding}");
    assert!(finding.history.len() == 1 && finding.history[0].call.starts_with("touch(name: "), "{finding}");
}

const TICKETS: TableDefinition<u64, ()> = TableDefinition::new("tickets");

/// Its next number is nowhere but in memory.
#[derive(Debug, Default, RaftStateMachine)]
#[raft(tables = quorate_redb(TICKETS), command(1, next() -> u64))]
struct Tickets {
    last: AtomicU64,
}

impl Tickets {
    fn next(&self, tables: &WriteTables<'_>) -> Result<u64, TableError> {
        let ticket = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        tables.open(TICKETS)?.insert(ticket, ())?;
        Ok(ticket)
    }
}

#[test]
fn a_machine_with_state_beside_its_tables_is_found() {
    let failure = simulation!(t, Tickets = Tickets::default(), seeds: 3).run().expect_err("it differs");
    let finding = finding(&failure);
    assert_eq!(finding.cause, Cause::BesideTables, "{finding}");
    let told = "the machine has state beside its tables, which no snapshot holds and no restart finds again";
    assert!(finding.to_string().starts_with(told), "{finding}");
    assert!(finding.detail.starts_with("`next()` responded "), "{finding}");
    assert!(finding.history.len() <= 8, "{finding}");
}

const COLD: TableDefinition<u64, u64> = TableDefinition::new("cold");

/// Once in a while it opens a table that it does not declare.
#[derive(Debug, Default, RaftStateMachine)]
#[raft(tables = quorate_redb(TICKETS), command(1, keep(number: u64)), query(1, kept(number: u64) -> bool))]
struct Undeclared;

#[allow(clippy::unused_self, reason = "the state is in the tables")]
impl Undeclared {
    fn keep(&self, tables: &WriteTables<'_>, number: u64) -> Result<(), TableError> {
        if number == 7 {
            tables.open(COLD)?.insert(number, number)?;
        }
        tables.open(TICKETS)?.insert(number, ())?;
        Ok(())
    }

    fn kept(&self, tables: &ReadTables<'_>, number: u64) -> Result<bool, TableError> {
        Ok(tables.open(TICKETS)?.get(number)?.is_some())
    }
}

#[test]
fn an_error_of_the_tables_is_told_with_the_command_that_caused_it() {
    let failure = simulation!(t, Undeclared = Undeclared, seeds: 3).run().expect_err("it fails");
    let finding = finding(&failure);
    assert_eq!(finding.cause, Cause::Failed, "{finding}");
    assert!(finding.detail.starts_with("`keep(number: 7)`: table `cold` is not among "), "{finding}");
    assert_eq!(finding.history.len(), 1, "{finding}");
}

fn at_most_two(tables: &ReadTables<'_>) -> Result<(), String> {
    let documents = tables.open(DOCUMENTS).and_then(|documents| Ok(documents.iter()?.count()));
    match documents {
        Ok(0..=2) => Ok(()),
        Ok(more) => Err(format!("there are {more}")),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn an_invariant_over_tables_that_does_not_hold_is_named() {
    let failure = simulation!(t, Documents = Documents, seeds: 1, invariants: [at_most_two])
        .run()
        .expect_err("there come more");
    let finding = finding(&failure);
    assert_eq!(finding.cause, Cause::Invariant("at_most_two"), "{finding}");
    assert_eq!((&*finding.detail, finding.history.len()), ("there are 3", 3), "{finding}");
}

/// Holds wherever a machine is alone, and on a node as long as there is nothing in it.
fn is_not_on_a_node(tables: &ReadTables<'_>) -> Result<bool, TableError> {
    let empty = tables.open(DOCUMENTS)?.iter()?.next().is_none();
    let of_a_run = std::thread::current().name().is_some_and(|name| name.starts_with("seed "));
    Ok(empty || !of_a_run)
}

#[test]
fn invariants_are_asked_of_the_tables_on_the_disks_of_nodes() {
    let failure = simulation!(
        t,
        Documents = Documents,
        seeds: 1,
        nodes: 3,
        duration: Duration::from_secs(1),
        faults: Faults::None,
        invariants: [is_not_on_a_node],
    )
    .run()
    .expect_err("there are nodes");
    let text = failure.to_string();
    assert!(matches!(failure.wrong, Wrong::Cluster(_)), "{text}");
    let told = "the invariant `is_not_on_a_node` does not hold after a batch: it returned false";
    assert!(text.contains(told), "{text}");
}
