//! Whose a machine's file is.

use std::path::Path;

use quorate::error::{MachineError, StorageError};
use quorate::prelude::*;
use quorate::state_machine::DurableStateMachine;
use quorate_redb::redb::{Database, TableDefinition};
use quorate_redb::{DeclaredTable, ReadTables, RedbMachine, TableError, TableMachine, WriteTables};

use crate::common::*;

const MORE: TableDefinition<u64, u64> = TableDefinition::new("more");
const OTHER_TYPES: TableDefinition<u64, u64> = TableDefinition::new("totals");

macro_rules! machine {
    ($name:ident, $called:literal, $version:literal, [$($table:expr),*]) => {
        #[derive(Debug)]
        struct $name;

        impl TableMachine for $name {
            const NAME: &'static str = $called;
            const VERSION: u32 = $version;
            const TABLES: &'static [&'static dyn DeclaredTable] = &[$(&$table),*];
            type Command = TotalsCommand;
            type Response = TotalsResponse;
            type Query = TotalsQuery;
            type Answer = TotalsAnswer;

            fn apply(
                &self,
                _: &WriteTables<'_>,
                _: &mut ApplyContext,
                _: TotalsCommand,
            ) -> Result<TotalsResponse, TableError> {
                Ok(TotalsResponse::Burst(()))
            }

            fn query(
                &self,
                tables: &ReadTables<'_>,
                _: &QueryContext,
                _: TotalsQuery,
            ) -> Result<TotalsAnswer, TableError> {
                tables.open(MORE)?;
                Ok(TotalsAnswer::Commands(0))
            }
        }
    };
}

machine!(Other, "other", 1, [TOTALS]);
machine!(Newer, "totals", 2, [TOTALS, HISTORY, LEASES, MORE]);
machine!(Retyped, "totals", 1, [OTHER_TYPES]);
machine!(Twice, "totals", 1, [TOTALS, OTHER_TYPES]);

fn refused<M: TableMachine + std::fmt::Debug>(path: &Path, machine: M) -> MachineError {
    RedbMachine::open(path, machine).expect_err("it does not fit")
}

#[test]
fn a_file_is_of_one_machine_and_of_no_newer_version() {
    let (dir, machine) = temporary();
    let path = dir.path().join("totals.redb");
    let error = refused(&path, Totals::default());
    assert!(matches!(error, MachineError::Store(StorageError::InUse { .. })), "{error}");
    machine.close();
    let error = refused(&path, Other);
    assert!(matches!(error, MachineError::OtherMachine { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the machine's file holds machine `totals`, not `other`: give each machine a file of its own"
    );
    let newer = RedbMachine::open(&path, Newer).expect("an older file");
    let view = newer.view().expect("open");
    newer.query(&view, &QueryContext::default(), TotalsQuery::Commands).expect("the new table is there");
    drop((view, newer));
    let error = refused(&path, Totals::default());
    assert!(matches!(error, MachineError::NewerVersion { found: 2, supported: 1 }), "{error}");
}

#[test]
fn tables_that_do_not_fit_are_found_at_once() {
    let (dir, machine) = temporary();
    let path = dir.path().join("totals.redb");
    machine.close();
    let error = refused(&path, Retyped);
    assert!(
        matches!(&error, MachineError::Store(StorageError::Corrupt { detail, .. }) if detail.contains("totals")),
        "{error:?}"
    );
    let error = refused(&dir.path().join("twice.redb"), Twice);
    assert!(matches!(error, MachineError::Failed { doing: "declare its tables", .. }), "{error:?}");
}

#[test]
fn a_file_that_is_no_machine_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let damaged = |name: &str| {
        let error = refused(&dir.path().join(name), Totals::default());
        assert!(matches!(error, MachineError::Store(StorageError::Corrupt { .. })), "{name}: {error:?}");
    };
    std::fs::write(dir.path().join("empty"), b"").expect("written");
    damaged("empty");
    std::fs::write(dir.path().join("junk"), vec![7; 100_000]).expect("written");
    damaged("junk");
    assert_eq!(std::fs::read(dir.path().join("junk")).expect("there"), vec![7; 100_000]);
    Database::create(dir.path().join("foreign")).expect("a redb file").close().expect("closed");
    damaged("foreign");
}
