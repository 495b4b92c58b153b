//! A state machine whose state is in redb tables: for a state larger than memory, and for a start
//! that applies nothing again.
//!
//! This folder owns the [`TableMachine`] contract, the tables as a machine sees them, the file that
//! they are in ([`RedbMachine`]), and their form in a snapshot. It does not know the log, nor sessions: what was
//! applied is a record of the framework's, and what is kept of sessions are rows of its, both stored in the
//! transaction of the effects.
//!
//! Transactions are committed without a flush ([`redb::Durability::None`]); the framework asks for a
//! flush now and then, and a crash goes back to the last one. A read transaction is the frozen view
//! that queries and snapshots read, while writes go on. A received snapshot becomes a new file, which
//! takes the place of the old one when it is whole.

mod builder;
mod dump;
mod error;
mod file;
mod kept;
mod redb_machine;
mod table_machine;
mod tables;

pub use self::builder::MachineBuilder;
pub use self::error::TableError;
pub use self::redb_machine::{RedbMachine, View};
pub use self::table_machine::{TableMachine, TableService};
pub use self::tables::{DeclaredTable, ReadTables, WriteTables};
