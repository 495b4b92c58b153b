//! The registers once more, in tables on a node's disk.

use quorate::state_machine::{ApplyContext, QueryContext, StateMachine};
use quorate_redb::redb::{ReadableTable, TableDefinition};
use quorate_redb::{DeclaredTable, ReadTables, RedbMachine, TableError, TableMachine, WriteTables};

use super::registers::WEIGHTS;
use super::{Registers, RegistersAnswer, RegistersCommand, RegistersQuery, RegistersResponse};
use crate::cluster::with_sources;
use crate::disk::SimDisk;

const VALUES: TableDefinition<u64, u64> = TableDefinition::new("values");
/// The weights of a register, each in one of its places in turn.
const HEAVY: TableDefinition<(u64, u64), &str> = TableDefinition::new("weights");

/// Where they are on the disk: beside the storage, whose bits may rot.
const PATH: &str = "state/registers.redb";

/// Registers in tables: the same commands and answers as [`Registers`].
#[derive(Debug)]
pub(super) struct RegistersInTables;

/// Opens them.
pub(super) fn open(disk: &SimDisk) -> Result<RedbMachine<RegistersInTables>, String> {
    let file = RedbMachine::<RegistersInTables>::builder(PATH)
        .cache_bytes(1 << 20)
        .low_water_bytes(1 << 20)
        .hooks(disk.hooks());
    file.open(RegistersInTables).map_err(|error| with_sources(&error))
}

impl TableMachine for RegistersInTables {
    const NAME: &'static str = <Registers as StateMachine>::NAME;
    const VERSION: u32 = <Registers as StateMachine>::VERSION;
    const TABLES: &'static [&'static dyn DeclaredTable] = &[&VALUES, &HEAVY];
    type Command = RegistersCommand;
    type Response = RegistersResponse;
    type Query = RegistersQuery;
    type Answer = RegistersAnswer;

    fn apply(
        &self,
        tables: &WriteTables<'_>,
        ctx: &mut ApplyContext,
        command: RegistersCommand,
    ) -> Result<RegistersResponse, TableError> {
        let mut values = tables.open(VALUES)?;
        Ok(match command {
            RegistersCommand::Put { key, value, weight } => {
                values.insert(key, value)?;
                let place = ctx.position().index.get() % WEIGHTS as u64;
                tables.open(HEAVY)?.insert((key, place), &*weight)?;
                RegistersResponse::Put(())
            }
            RegistersCommand::Cas { key, expected, new } => {
                let holds = values.get(key)?.map(|value| value.value()) == expected;
                if holds {
                    values.insert(key, new)?;
                }
                RegistersResponse::Cas(holds)
            }
        })
    }

    fn query(
        &self,
        tables: &ReadTables<'_>,
        _ctx: &QueryContext,
        query: RegistersQuery,
    ) -> Result<RegistersAnswer, TableError> {
        let RegistersQuery::Get { key } = query;
        Ok(RegistersAnswer::Get(tables.open(VALUES)?.get(key)?.map(|value| value.value())))
    }
}
