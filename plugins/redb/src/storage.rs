//! The storage itself: queues writes, and answers everything else on the caller's task.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use quorate::error::StorageError;
use quorate::storage::{
    Flushed, GroupState, Health, Identity, ResumedSnapshot, SnapshotId, SnapshotWriter, Storage,
    StoredSnapshot, Write,
};
use quorate::types::{DiskId, GroupId, LogId, LogIndex};
use quorate::watch::{Watched, Watcher};

use crate::database::Db;
use crate::hooks::Files;
use crate::node_file;
use crate::read;
use crate::snapshot::Snapshots;
use crate::writer::{Done, Job, Queue};

/// What the storage and its writer have in common.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) db: Arc<Db>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) health: Arc<Watched<Health>>,
    pub(crate) done: Arc<Done>,
    /// Whose the directory is, once that is recorded.
    pub(crate) owner: Arc<OnceLock<DiskId>>,
}

/// A durable [`Storage`] in a directory: the log in one redb file, snapshots beside it.
///
/// Give it to a node, which closes it when it shuts down. Dropping it does the same and waits for
/// what is queued. See the crate's page for the layout and for what happens when the disk is full
/// or damaged.
pub struct RedbStorage {
    shared: Shared,
    identity: Mutex<Option<Identity>>,
    queue: Queue,
    /// Whether dropping waits for the writer, which has a thread of its own.
    waits: bool,
}

impl RedbStorage {
    pub(crate) fn new(shared: Shared, identity: Option<Identity>, queue: Queue, waits: bool) -> Self {
        Self { shared, identity: Mutex::new(identity), queue, waits }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Identity>> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.shared.snapshots.close();
        self.queue.close();
    }
}

#[async_trait]
impl Storage for RedbStorage {
    async fn identity(&self) -> Result<Option<Identity>, StorageError> {
        Ok(*self.lock())
    }

    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError> {
        let mut current = self.lock();
        let (files, dir) = (self.shared.files.as_ref(), &self.shared.dir);
        if current.is_none() && self.queue.is_closed() {
            // The directory may be another's by now.
            return Err(StorageError::Closed);
        }
        // An earlier try that failed may have left the file, which then counts.
        let recorded = if current.is_some() { *current } else { node_file::find(files, dir)? };
        match recorded {
            Some(recorded) if recorded != *identity => Err(StorageError::IdentityTaken {
                recorded: Box::new(recorded),
                offered: Box::new(*identity),
            }),
            _ if current.is_some() => Ok(()),
            _ => {
                node_file::write(files, dir, identity)?;
                *current = Some(*identity);
                // Recorded once, under the lock.
                let _ = self.shared.owner.set(identity.disk_id);
                Ok(())
            }
        }
    }

    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        self.shared.db.read(|tables| read::state(tables, group))
    }

    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        // Nobody waits for a lazy write: what it says is true already.
        let (now, flushed) = match write {
            Write::Committed(_) => (Some(flushed), Flushed::ignored()),
            _ => (None, flushed),
        };
        let refused = self.queue.push(Job { group, write, flushed }).err();
        let closed = refused.is_some();
        if let Some(refused) = refused {
            refused.flushed.failed(StorageError::Closed);
        }
        if let Some(now) = now {
            if closed || self.shared.health.get() == Health::Failed {
                now.failed(StorageError::Closed);
            } else {
                now.durable();
            }
        }
    }

    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let range = range.start.get()..range.end.get();
        self.shared.db.read(|tables| read::entries(tables, group, range, max_bytes))
    }

    async fn snapshot_writer(&self, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        self.shared.snapshots.write(group)
    }

    async fn resume_snapshot(
        &self,
        group: GroupId,
        id: &SnapshotId,
    ) -> Result<ResumedSnapshot, StorageError> {
        self.shared.snapshots.resume(group, id)
    }

    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        self.shared.snapshots.read(group)
    }

    async fn remove_snapshot(&self, group: GroupId, upto: LogId) -> Result<(), StorageError> {
        self.shared.snapshots.remove_upto(group, upto)
    }

    fn health(&self) -> Watcher<Health> {
        self.shared.health.watch()
    }

    fn snapshot_room(&self) -> Option<u64> {
        self.shared.snapshots.room()
    }

    fn make_room(&self, wanted: bool) {
        self.queue.want_room(wanted);
    }

    async fn close(&self) {
        self.end();
        self.shared.done.wait().await;
    }
}

impl Drop for RedbStorage {
    fn drop(&mut self) {
        self.end();
        if self.waits {
            self.shared.done.wait_on_this_thread();
        }
    }
}

impl fmt::Debug for RedbStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStorage").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}
