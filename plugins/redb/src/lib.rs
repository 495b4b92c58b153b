//! Durable storage for [`quorate`] on [redb](https://www.redb.org).
//!
//! One directory holds what a node promised to keep: its votes and log in one redb file, its
//! snapshots beside it, and the record of whom all that belongs to.
//!
//! ```text
//! <dir>/NODE       cluster id, node id, disk id, format version; written once
//! <dir>/log.redb   log:  (group, first index) -> row of entries
//!                  meta: (group, name) -> vote | committed | purged; (0, commit) -> number of the commit
//! <dir>/log.seen   magic, version, disk id; then the number of each commit that was flushed, u64, and its crc32c
//! <dir>/snap/      snapshots as files, g0-T3-17.snap; one that is still arriving ends in .part
//! <dir>/ballast    space in reserve, given back when the disk is full
//! <dir>/LOCK       locked while a process has the directory open
//! ```
//!
//! ```no_run
//! # fn main() -> Result<(), quorate::error::StorageError> {
//! use quorate_redb::{Durability, RedbStorage};
//!
//! let storage = RedbStorage::open("data/n1")?;
//! let careful = RedbStorage::builder("data/n2").durability(Durability::TwoPhase).deep_check(true).open()?;
//! # Ok(())
//! # }
//! ```
//!
//! A write is acknowledged when its transaction is flushed. A write that fails is final: the
//! storage takes no more and its health is [`quorate::storage::Health::Failed`]. Only want of space is foreseen, as
//! [`quorate::storage::Health::Low`], and survived once, from the reserve.
//!
//! `log.seen` tells a commit that was flushed and then damaged from one that a power cut tore. It is
//! flushed when the directory is opened and not for a commit, is begun anew then, and may be missing.
//!
//! Beside it there is a state machine in tables, [`RedbMachine`], in a file of its own.

mod autopsy;
mod backend;
mod builder;
mod check;
mod database;
mod error;
pub mod hooks;
mod machine;
mod meta;
mod node_file;
mod read;
mod row;
mod snapshot;
mod storage;
mod sums;
mod witness;
mod writer;

pub use self::builder::Builder;
pub use self::database::Durability;
pub use self::machine::{
    DeclaredTable, MachineBuilder, ReadTables, RedbMachine, TableError, TableMachine, TableService, View,
    WriteTables,
};
pub use self::storage::RedbStorage;
/// The redb that tables are declared with.
pub use redb;
