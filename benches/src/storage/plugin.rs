//! `quorate-redb`, called as the framework calls it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{Flushed, Identity, Receipt, Storage, Write};
use quorate::types::{ClusterId, DiskId, GroupId, LogIndex, NodeId};
use quorate_redb::RedbStorage;

use super::{Append, ENTRY_BYTES, KEEP};

/// The group that is written to.
pub const GROUP: GroupId = GroupId(0);

/// After so many entries the older ones are purged.
fn purge_every(keep: u64) -> u64 {
    keep / 4
}

/// The storage, and what the framework would know of it.
pub struct Plugin {
    storage: RedbStorage,
    ends: Mutex<Ends>,
    keep: u64,
}

struct Ends {
    next: u64,
    /// One past the last index purged.
    start: u64,
}

impl Plugin {
    /// A fresh storage in `dir` that keeps the last `keep` entries.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn create(dir: &Path, keep: u64) -> Result<Self, StorageError> {
        let storage = RedbStorage::open(dir.join("plugin"))?;
        let (cluster_id, node_id, disk_id) = (ClusterId([1; 32]), NodeId(1), DiskId([1; 16]));
        block_on(storage.set_identity_once(&Identity { cluster_id, node_id, disk_id }))?;
        Ok(Self { storage, ends: Mutex::new(Ends { next: 0, start: 0 }), keep })
    }

    /// A storage that keeps the last entries, full, and used for a while.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn warm(dir: &Path) -> Result<Self, StorageError> {
        let plugin = Self::create(dir, KEEP)?;
        plugin.fill(3 * KEEP).await?;
        Ok(plugin)
    }

    /// Appends `entries` entries, many at once.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn fill(&self, entries: u64) -> Result<(), StorageError> {
        let batch = vec![crate::load::payload(ENTRY_BYTES); 256];
        for _ in 0..entries.div_ceil(batch.len() as u64 * 16) {
            let mut last = None;
            for _ in 0..16 {
                last = Some(self.write(batch.clone()));
            }
            if let Some(last) = last {
                last.await?;
            }
        }
        Ok(())
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an append, and a purge when one is due.
    fn write(&self, entries: Vec<Bytes>) -> Receipt {
        let (flushed, receipt) = Flushed::pair();
        let mut ends = self.ends();
        let first = LogIndex(ends.next);
        ends.next += entries.len() as u64;
        self.storage.write(GROUP, Write::Append { first, entries }, flushed);
        if ends.next - ends.start >= self.keep.saturating_add(purge_every(self.keep)) {
            ends.start = ends.next - self.keep;
            self.purge(ends.start - 1, Flushed::ignored());
        }
        receipt
    }

    /// Queues a purge of all but the last `keep` entries.
    pub fn purge_all_but(&self, keep: u64) {
        let mut ends = self.ends();
        ends.start = ends.start.max(ends.next.saturating_sub(keep));
        if ends.start > 0 {
            self.purge(ends.start - 1, Flushed::ignored());
        }
    }

    fn purge(&self, upto: u64, flushed: Flushed) {
        let purge = Write::Purge { upto: LogIndex(upto), marker: Bytes::from_static(b"marker") };
        self.storage.write(GROUP, purge, flushed);
    }
}

impl Append for Plugin {
    type Receipt = Receipt;
    type Error = StorageError;

    fn append(&self, entry: Bytes) -> Self::Receipt {
        self.write(vec![entry])
    }
}
