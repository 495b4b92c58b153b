//! The tables as a machine sees them, and as a snapshot does.

use std::fmt;
use std::io;
use std::panic::catch_unwind;

use quorate::error::RestoreError;
use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableHandle, Value,
    WriteTransaction,
};

use super::TableError;

/// Takes the bytes of a row's key and value.
#[allow(unreachable_pub, reason = "in a hidden method of a public trait")]
pub type TakeRow<'a> = dyn FnMut(&[u8], &[u8]) -> io::Result<()> + 'a;

/// Fills the buffers of the next row's key and value; `false` when there is none.
#[allow(unreachable_pub, reason = "in a hidden method of a public trait")]
pub type NextRow<'a> = dyn FnMut(&mut Vec<u8>, &mut Vec<u8>) -> io::Result<bool> + 'a;

/// Takes a row's key and value as a person reads them, and the table's name.
#[allow(unreachable_pub, reason = "in a hidden method of a public trait")]
pub type ShowRow<'a> = dyn FnMut(&'static str, String, String) + 'a;

/// A table that a machine declares: a [`TableDefinition`].
///
/// A table of several values for a key is one whose key has both, with `()` as its value.
pub trait DeclaredTable: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// The names of the types of its keys and values.
    #[doc(hidden)]
    fn types(&self) -> [String; 2];

    /// Makes it, when it is missing.
    #[doc(hidden)]
    fn create(&self, txn: &WriteTransaction) -> Result<(), TableError>;

    /// Gives each row's bytes to `row`.
    #[doc(hidden)]
    fn export(&self, txn: &ReadTransaction, row: &mut TakeRow<'_>) -> io::Result<()>;

    /// Shows each row to a person.
    #[doc(hidden)]
    fn show(&'static self, txn: &ReadTransaction, row: &mut ShowRow<'_>) -> Result<(), TableError>;

    /// Adds rows until `next` gives no more.
    #[doc(hidden)]
    fn import(&self, txn: &WriteTransaction, next: &mut NextRow<'_>) -> Result<(), RestoreError>;
}

impl<K, V> DeclaredTable for TableDefinition<'static, K, V>
where
    K: Key + Send + Sync + 'static,
    V: Value + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        TableHandle::name(self)
    }

    fn types(&self) -> [String; 2] {
        [K::type_name().name().to_owned(), V::type_name().name().to_owned()]
    }

    fn create(&self, txn: &WriteTransaction) -> Result<(), TableError> {
        txn.open_table(*self)?;
        Ok(())
    }

    fn export(&self, txn: &ReadTransaction, row: &mut TakeRow<'_>) -> io::Result<()> {
        let table = txn.open_table(*self).map_err(TableError::from)?;
        for found in table.iter().map_err(TableError::from)? {
            let (key, value) = found.map_err(TableError::from)?;
            let (key, value) = (key.value(), value.value());
            row(K::as_bytes(&key).as_ref(), V::as_bytes(&value).as_ref())?;
        }
        Ok(())
    }

    fn show(&'static self, txn: &ReadTransaction, row: &mut ShowRow<'_>) -> Result<(), TableError> {
        for found in txn.open_table(*self)?.iter()? {
            let (key, value) = found?;
            row(TableHandle::name(self), format!("{:?}", key.value()), format!("{:?}", value.value()));
        }
        Ok(())
    }

    fn import(&self, txn: &WriteTransaction, next: &mut NextRow<'_>) -> Result<(), RestoreError> {
        let failed = |error: TableError| RestoreError::Store { source: error.into() };
        let mut table = txn.open_table(*self).map_err(|error| failed(error.into()))?;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        while next(&mut key, &mut value)? {
            fits::<K>(&key)?;
            fits::<V>(&value)?;
            let inserted = table.insert(K::from_bytes(&key), V::from_bytes(&value));
            inserted.map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }
}

/// Whether bytes that came from elsewhere are a `T`: of others redb's types make nothing but a panic.
fn fits<T: Value>(bytes: &[u8]) -> Result<(), RestoreError> {
    let wide = T::fixed_width().is_none_or(|width| width == bytes.len());
    if wide && catch_unwind(|| drop(T::from_bytes(bytes))).is_ok() {
        return Ok(());
    }
    let detail = format!("{} bytes that are no {}", bytes.len(), T::type_name().name());
    Err(RestoreError::Decode { detail })
}

fn declared<K: Key, V: Value>(
    tables: &'static [&'static dyn DeclaredTable],
    table: &TableDefinition<'_, K, V>,
) -> Result<(), TableError> {
    let name = TableHandle::name(table);
    if tables.iter().any(|declared| declared.name() == name) {
        return Ok(());
    }
    Err(TableError::Undeclared { table: name.to_owned() })
}

/// The tables while commands are applied. What is done is committed with the whole batch.
#[derive(Clone, Copy)]
pub struct WriteTables<'txn> {
    txn: &'txn WriteTransaction,
    declared: &'static [&'static dyn DeclaredTable],
}

impl<'txn> WriteTables<'txn> {
    pub(super) fn new(txn: &'txn WriteTransaction, declared: &'static [&'static dyn DeclaredTable]) -> Self {
        Self { txn, declared }
    }

    /// Opens a table. It can be opened once at a time: drop it before it is opened again.
    pub fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Table<'txn, K, V>, TableError> {
        declared(self.declared, &table)?;
        Ok(self.txn.open_table(table)?)
    }
}

impl fmt::Debug for WriteTables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteTables").finish_non_exhaustive()
    }
}

/// The tables as a batch left them, whatever is applied meanwhile.
#[derive(Clone, Copy)]
pub struct ReadTables<'txn> {
    txn: &'txn ReadTransaction,
    declared: &'static [&'static dyn DeclaredTable],
}

impl<'txn> ReadTables<'txn> {
    pub(super) fn new(txn: &'txn ReadTransaction, declared: &'static [&'static dyn DeclaredTable]) -> Self {
        Self { txn, declared }
    }

    /// Opens a table.
    pub fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, TableError> {
        declared(self.declared, &table)?;
        Ok(self.txn.open_table(table)?)
    }

    /// Shows every row of every declared table to a person.
    #[doc(hidden)]
    pub fn show(&self, mut row: impl FnMut(&'static str, String, String)) -> Result<(), TableError> {
        self.declared.iter().try_for_each(|table| table.show(self.txn, &mut row))
    }
}

impl fmt::Debug for ReadTables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadTables").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_of_no_such_type_are_an_error() {
        assert!(fits::<u64>(&[1; 8]).is_ok() && fits::<&str>(b"text").is_ok());
        assert!(fits::<(&str, u64)>(<(&str, u64)>::as_bytes(&("text", 7)).as_ref()).is_ok());
        let error = fits::<u64>(&[1; 7]).expect_err("too short");
        assert_eq!(error.to_string(), "the snapshot cannot be decoded: 7 bytes that are no u64");
        assert!(fits::<&str>(&[0xff]).is_err() && fits::<(&str, u64)>(&[1, 2]).is_err());
    }
}
