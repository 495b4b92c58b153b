//! The contract of a durable machine, one bullet after the other.

use std::io::Read;

use quorate::error::RestoreError;
use quorate::state_machine::DurableStateMachine;

use crate::common::*;

#[test]
fn a_reopened_machine_goes_on_where_it_was() {
    let (dir, machine) = temporary();
    assert_eq!(record(&machine), 0);
    assert_eq!(add(&machine, "a", 0..3).expect("applied"), [1, 2, 3]);
    machine.flush().expect("flushed");
    machine.close();
    machine.view().expect_err("it is closed");
    let machine = open_at(dir.path());
    assert_eq!((record(&machine), total(&machine, "a"), commands(&machine)), (3, Some(3), 3));
}

#[test]
fn a_view_stays_as_it_was_while_writes_go_on() {
    let (_dir, machine) = temporary();
    for batch in 0..20 {
        add(&machine, &format!("name {}", batch % 5), batch * 10..batch * 10 + 10).expect("applied");
    }
    let before = written(view(&machine));
    let frozen = view(&machine);
    for batch in 20..60 {
        add(&machine, &format!("name {}", batch % 5), batch * 10..batch * 10 + 10).expect("applied");
        if batch % 10 == 0 {
            machine.flush().expect("flushed");
        }
    }
    assert_eq!(total_in(&machine, &frozen, "name 1"), Some(40));
    assert_eq!(Machine::applied(&frozen).expect("readable").as_deref(), Some(&b"200"[..]));
    assert!(written(frozen) == before, "what is written out is the state at the capture");
    assert_eq!(total(&machine, "name 1"), Some(120));
}

#[test]
fn a_view_stays_readable_when_another_file_takes_its_place() {
    let (_one, machine) = temporary();
    let (_two, other) = temporary();
    add(&machine, "old", 0..5).expect("applied");
    add(&other, "new", 0..9).expect("applied");
    let frozen = view(&machine);
    restore(&machine, 9, &written(view(&other))).expect("a snapshot of this machine");
    assert_eq!(total_in(&machine, &frozen, "old"), Some(5));
    assert_eq!((total(&machine, "old"), total(&machine, "new"), record(&machine)), (None, Some(9), 9));
    assert!(written(view(&machine)) == written(view(&other)));
    add(&machine, "new", 9..10).expect("it goes on");
    assert_eq!(total(&machine, "new"), Some(10));
}

#[test]
fn a_snapshot_larger_than_the_cache_comes_back() {
    let (_one, machine) = temporary();
    let (_two, other) = temporary();
    for batch in 0..20 {
        add(&machine, &format!("{batch} {}", "long ".repeat(1200)), batch * 100..batch * 100 + 100)
            .expect("applied");
    }
    let bytes = written(view(&machine));
    assert!(bytes.len() > 10 << 20, "{} bytes, and 1 MiB of cache", bytes.len());
    restore(&other, 2000, &bytes).expect("a snapshot of this machine");
    assert!(written(view(&other)) == bytes);
    assert_eq!(commands(&other), 2000);
}

/// A disk that does not read.
struct NoDisk;

impl Read for NoDisk {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("the disk does not read"))
    }
}

#[test]
fn a_damaged_snapshot_leaves_the_old_state() {
    let (dir, machine) = temporary();
    add(&machine, "a", 0..30).expect("applied");
    let bytes = written(view(&machine));
    add(&machine, "a", 30..31).expect("applied");
    for cut in [0, 1, 2, 30, bytes.len() / 2, bytes.len() - 1] {
        restore(&machine, 30, &bytes[..cut]).expect_err("it is cut short");
    }
    let mut more = bytes.clone();
    more.push(0);
    restore(&machine, 30, &more).expect_err("a byte too many");
    let mut other = bytes.clone();
    other[0] = 9;
    let error = restore(&machine, 30, &other).expect_err("another form");
    assert!(error.to_string().contains("form 9"), "{error}");
    let name = bytes.windows(6).position(|window| window == b"totals").expect("the name of the table");
    let mut other = bytes.clone();
    other[name] = b'T';
    let error = restore(&machine, 30, &other).expect_err("a table of another machine");
    assert!(error.to_string().contains("`Totals` is none of this machine's"), "{error}");
    let row = [&1_u32.to_le_bytes()[..], &8_u32.to_le_bytes(), b"a"].concat();
    let key = bytes.windows(9).position(|window| window == row).expect("the row of `a`") + 8;
    let mut other = bytes.clone();
    other[key] = 0xff;
    let error = restore(&machine, 30, &other).expect_err("a name that is no text");
    assert!(
        matches!(&error, RestoreError::Decode { detail } if detail == "1 bytes that are no &str"),
        "{error:?}"
    );
    let mut ends = bytes[..key].chain(NoDisk);
    let error = machine.restore(kept(30), &mut ends).expect_err("it cannot be read");
    assert!(matches!(error, RestoreError::Read(_)), "{error:?}");
    assert_eq!((total(&machine, "a"), record(&machine)), (Some(31), 31));
    let names: Vec<_> = std::fs::read_dir(dir.path()).expect("a directory").collect();
    assert_eq!(names.len(), 2, "the file and its lock, and nothing half made: {names:?}");
}

#[test]
fn a_batch_that_fails_leaves_nothing() {
    let (_dir, machine) = temporary();
    add(&machine, "a", 0..3).expect("applied");
    let mut commands =
        [TotalsCommand::Add { name: "a".into(), count: 1 }, TotalsCommand::Burst { panic: true }]
            .into_iter()
            .zip(3..)
            .map(|(command, index)| (context(index), command));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        machine.apply(&mut commands, Box::new(|_| kept(5)))
    }));
    outcome.expect_err("it panics");
    assert_eq!((total(&machine, "a"), commands_and_record(&machine)), (Some(3), (3, 3)));
}

fn commands_and_record(machine: &Machine) -> (u64, u64) {
    (commands(machine), record(machine))
}

#[test]
fn an_undeclared_table_cannot_be_opened() {
    use quorate_redb::redb::TableDefinition;
    use quorate_redb::{DeclaredTable, ReadTables, RedbMachine, TableError, TableMachine, WriteTables};

    use quorate::prelude::*;

    const SECRET: TableDefinition<u64, u64> = TableDefinition::new("secret");

    struct Leaky;

    impl TableMachine for Leaky {
        const NAME: &'static str = "leaky";
        const VERSION: u32 = 1;
        const TABLES: &'static [&'static dyn DeclaredTable] = &[&TOTALS];
        type Command = TotalsCommand;
        type Response = TotalsResponse;
        type Query = TotalsQuery;
        type Answer = TotalsAnswer;

        fn apply(
            &self,
            tables: &WriteTables<'_>,
            _: &mut ApplyContext,
            _: TotalsCommand,
        ) -> Result<TotalsResponse, TableError> {
            tables.open(SECRET)?;
            Ok(TotalsResponse::Burst(()))
        }

        fn query(
            &self,
            tables: &ReadTables<'_>,
            _: &QueryContext,
            _: TotalsQuery,
        ) -> Result<TotalsAnswer, TableError> {
            tables.open(SECRET)?;
            Ok(TotalsAnswer::Commands(0))
        }
    }

    let dir = tempfile::tempdir().expect("a directory");
    let machine = RedbMachine::open(dir.path().join("leaky.redb"), Leaky).expect("a new file");
    let command = (context(0), TotalsCommand::Burst { panic: false });
    let applied = machine.apply(&mut std::iter::once(command), Box::new(|_| kept(1)));
    let error = applied.expect_err("it is not declared");
    assert!(matches!(error, TableError::Undeclared { table } if table == "secret"));
    let view = machine.view().expect("open");
    let error = machine.query(&view, &QueryContext::default(), TotalsQuery::Commands).expect_err("nor here");
    assert!(matches!(error, TableError::Undeclared { .. }));
}
