//! What the framework has stored beside the tables: its record and its rows.

use bytes::Bytes;
use quorate::state_machine::{Kept, Row};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::TableError;
use super::file::META;

/// The key of the record.
const APPLIED: &str = "applied";

/// The rows. The table is made with the first: a file may be from before there were any.
pub(super) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("quorate rows");

/// Stores what comes with a batch or a state.
pub(super) fn put(txn: &WriteTransaction, kept: &Kept) -> Result<(), TableError> {
    txn.open_table(META)?.insert(APPLIED, &kept.record[..])?;
    if kept.rows.is_empty() {
        return Ok(());
    }
    let mut table = txn.open_table(ROWS)?;
    for Row { key, value } in &kept.rows {
        match value {
            Some(value) => table.insert(&key[..], &value[..])?,
            None => table.remove(&key[..])?,
        };
    }
    Ok(())
}

/// The record; `None` when nothing was applied.
pub(super) fn record(txn: &ReadTransaction) -> Result<Option<Bytes>, TableError> {
    let record = txn.open_table(META)?.get(APPLIED)?;
    Ok(record.map(|record| Bytes::copy_from_slice(record.value())))
}

/// Gives every row, in the order of their keys.
pub(super) fn rows(txn: &ReadTransaction, row: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
    let table = match txn.open_table(ROWS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
        table => table?,
    };
    for found in table.iter()? {
        let (key, value) = found?;
        row(key.value(), value.value());
    }
    Ok(())
}
