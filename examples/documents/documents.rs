//! The machine: documents in a table. A document has a revision, which is 1 at first.

use quorate::prelude::*;
use quorate_redb::redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use quorate_redb::{ReadTables, TableError, WriteTables};

/// A document's revision and text, by its number.
pub(crate) const DOCUMENTS: TableDefinition<u64, (u64, &str)> = TableDefinition::new("documents");

/// Documents. The state is in the tables; the value itself is empty.
#[derive(Debug, Default, RaftStateMachine)]
#[raft(
    tables = quorate_redb(DOCUMENTS),
    /// Replaces a document; says which revision of it this is.
    command(1, put(number: u64, text: String) -> u64),
    /// The text of a document.
    query(1, get(number: u64) -> Option<String>),
    /// How many documents there are.
    query(2, count() -> u64),
)]
pub(crate) struct Documents;

#[allow(clippy::unused_self, reason = "the state is in the tables")]
impl Documents {
    fn put(&self, tables: &WriteTables<'_>, number: u64, text: String) -> Result<u64, TableError> {
        let mut documents = tables.open(DOCUMENTS)?;
        let revision = documents.get(number)?.map_or(0, |document| document.value().0) + 1;
        documents.insert(number, (revision, &*text))?;
        Ok(revision)
    }

    fn get(&self, tables: &ReadTables<'_>, number: u64) -> Result<Option<String>, TableError> {
        let document = tables.open(DOCUMENTS)?.get(number)?;
        Ok(document.map(|document| document.value().1.to_owned()))
    }

    fn count(&self, tables: &ReadTables<'_>) -> Result<u64, TableError> {
        Ok(tables.open(DOCUMENTS)?.len()?)
    }
}
