//! fjall: a log-structured merge tree with a journal in front.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fjall::compaction::Fifo;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use quorate_benches::storage::KEEP_BYTES;
use quorate_benches::storage::group_commit::Engine;

/// The database, and the keyspace of the log.
pub struct FjallLog {
    database: Database,
    log: Keyspace,
}

impl FjallLog {
    /// An empty database in `dir`. It forgets its oldest entries by itself.
    ///
    /// # Errors
    /// Those of fjall.
    pub fn create(dir: &Path) -> Result<Self, Box<dyn Error>> {
        let database = Database::builder(dir.join("fjall")).open()?;
        let options =
            || KeyspaceCreateOptions::default().compaction_strategy(Arc::new(Fifo::new(KEEP_BYTES, None)));
        let log = database.keyspace("log", options)?;
        Ok(Self { database, log })
    }

    fn write(&self, first: u64, entries: &[Bytes]) -> fjall::Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (index, entry) in (first..).zip(entries) {
            batch.insert(&self.log, index.to_be_bytes(), entry.as_ref());
        }
        batch.commit()
    }
}

impl Engine for FjallLog {
    fn commit(&mut self, first: u64, entries: &[Bytes]) {
        self.write(first, entries).expect("a healthy disk");
    }
}
