//! A storage in memory, for tests, benches and nodes that need not survive their process.
//!
//! This folder owns [`MemoryStorage`]: the image of each group (`group`), the queue of writes that
//! are held back (`disk`), snapshots (`snapshot`), and what a test can do to all of it (`faults`).
//! It is no cache in front of a disk: nothing here outlives the last handle.

mod disk;
mod faults;
mod group;
mod snapshot;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use self::disk::{Disk, Job};
pub use self::faults::{StorageOperation, StoredBytes};
use self::snapshot::MemorySnapshotWriter;
use super::{Flushed, GroupState, Health, Identity, SnapshotWriter, Storage, StoredSnapshot, Write};
use crate::error::StorageError;
use crate::types::{GroupId, LogId, LogIndex};
use crate::watch::{Watched, Watcher};

/// A disk in memory. Clones are handles to the same disk, which outlives the node that uses one of
/// them: a restart in a test is a restart and not a wiped disk.
///
/// A write is durable, and its receipt used, before `write` returns. A test can
/// [hold flushes back](Self::hold_flushes), [cut the power](Self::crash),
/// [fail the next operation](Self::fail_next), [flip bits](Self::flip_bit) and
/// [set the health](Self::set_health).
///
/// ```
/// use quorate::storage::{Flushed, MemoryStorage, Storage, Write};
/// use quorate::types::GroupId;
///
/// # futures::executor::block_on(async {
/// let disk = MemoryStorage::new();
/// disk.hold_flushes();
/// let (flushed, receipt) = Flushed::pair();
/// disk.write(GroupId::MAIN, Write::Vote("T1".into()), flushed);
///
/// let after = disk.crash();
/// assert!(receipt.await.is_err(), "the vote was never flushed");
/// assert_eq!(after.open(GroupId::MAIN).await?.vote, None);
/// # Ok::<(), quorate::error::StorageError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryStorage {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Mutex<Disk>,
    health: Watched<Health>,
    /// Whether the node is short of room elsewhere.
    room_wanted: Watched<bool>,
    /// How many writes are held back.
    held: Watched<usize>,
}

impl MemoryStorage {
    /// An empty disk.
    pub fn new() -> Self {
        Self::on(Disk::default())
    }

    fn on(disk: Disk) -> Self {
        let shared = Shared {
            disk: Mutex::new(disk),
            health: Watched::new(Health::Ok),
            room_wanted: Watched::new(false),
            held: Watched::new(0),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.shared.lock();
        f.debug_struct("MemoryStorage")
            .field("groups", &disk.groups.len())
            .field("held", &disk.queue.len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the disk for an operation other than a write.
    fn begin(&self, operation: StorageOperation) -> Result<MutexGuard<'_, Disk>, StorageError> {
        let mut disk = self.lock();
        disk.begin(operation)?;
        Ok(disk)
    }

    /// Queues a job, or does it at once when nothing is held back.
    fn submit(&self, group: GroupId, job: Job, flushed: Flushed) {
        let mut disk = self.lock();
        if disk.holding {
            // Its value keeps its place in the queue; only the receipt need not wait.
            let flushed = match &job {
                Job::Write(Write::Committed(_)) if disk.accepts_writes(group) => {
                    disk.answers.push_back((flushed, Ok(())));
                    Flushed::ignored()
                }
                _ => flushed,
            };
            disk.queue.push_back((group, job, flushed));
            self.held.set(disk.queue.len());
            drop(disk);
            return self.answer();
        }
        let result = disk.perform(group, job);
        if result.is_err() {
            self.health.set(Health::Failed);
        }
        if disk.answering || !disk.answers.is_empty() {
            disk.answers.push_back((flushed, result));
            drop(disk);
            return self.answer();
        }
        // Calls for a group come one at a time, so nothing can overtake this receipt.
        drop(disk);
        settle(flushed, result);
    }

    /// Flushes up to `count` writes that are held back, and returns how many there were.
    fn flush(&self, count: usize) -> usize {
        self.flush_locked(self.lock(), count)
    }

    fn flush_locked(&self, mut disk: MutexGuard<'_, Disk>, count: usize) -> usize {
        let count = count.min(disk.queue.len());
        for _ in 0..count {
            let Some((group, job, flushed)) = disk.queue.pop_front() else { break };
            let result = disk.perform(group, job);
            if result.is_err() {
                self.health.set(Health::Failed);
            }
            disk.answers.push_back((flushed, result));
        }
        self.held.set(disk.queue.len());
        drop(disk);
        self.answer();
        count
    }

    /// Uses receipts in the order of their writes, outside the lock, since a receipt may lead to
    /// the next write. One thread at a time does so, and takes along what others leave.
    fn answer(&self) {
        let mut disk = self.lock();
        if disk.answering {
            return;
        }
        disk.answering = true;
        while let Some((flushed, result)) = disk.answers.pop_front() {
            drop(disk);
            settle(flushed, result);
            disk = self.lock();
        }
        disk.answering = false;
    }
}

fn settle(flushed: Flushed, result: Result<(), StorageError>) {
    match result {
        Ok(()) => flushed.durable(),
        Err(error) => flushed.failed(error),
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn identity(&self) -> Result<Option<Identity>, StorageError> {
        Ok(self.shared.begin(StorageOperation::Identity)?.identity)
    }

    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError> {
        let mut disk = self.shared.begin(StorageOperation::Identity)?;
        let recorded = *disk.identity.get_or_insert(*identity);
        if recorded == *identity {
            return Ok(());
        }
        Err(StorageError::IdentityTaken { recorded: Box::new(recorded), offered: Box::new(*identity) })
    }

    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        let disk = self.shared.begin(StorageOperation::Open)?;
        Ok(disk.groups.get(&group).map(group::Group::state).unwrap_or_default())
    }

    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        self.shared.submit(group, Job::Write(write), flushed);
    }

    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let disk = self.shared.begin(StorageOperation::Read)?;
        Ok(disk.groups.get(&group).map(|image| image.read(range, max_bytes)).unwrap_or_default())
    }

    async fn snapshot_writer(&self, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        drop(self.shared.begin(StorageOperation::SnapshotWrite)?);
        Ok(Box::new(MemorySnapshotWriter::new(self.shared.clone(), group)))
    }

    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        let disk = self.shared.begin(StorageOperation::SnapshotRead)?;
        Ok(disk.groups.get(&group).and_then(|image| image.snapshot.clone()).map(snapshot::open))
    }

    async fn remove_snapshot(&self, group: GroupId, upto: LogId) -> Result<(), StorageError> {
        let mut disk = self.shared.begin(StorageOperation::SnapshotWrite)?;
        if let Some(image) = disk.groups.get_mut(&group) {
            image.snapshot.take_if(|snapshot| snapshot.covers <= upto);
        }
        Ok(())
    }

    fn health(&self) -> Watcher<Health> {
        self.shared.health.watch()
    }

    fn snapshot_room(&self) -> Option<u64> {
        self.shared.lock().snapshot_room
    }

    fn make_room(&self, wanted: bool) {
        self.shared.room_wanted.set(wanted);
    }

    /// Flushes what is held back. The handle stays usable: it is the disk, not the process.
    async fn close(&self) {
        self.shared.flush(usize::MAX);
        let (flushed, receipt) = Flushed::pair();
        {
            let mut disk = self.shared.lock();
            disk.groups.values_mut().for_each(group::Group::flush_committed);
            disk.answers.push_back((flushed, Ok(())));
        }
        self.shared.answer();
        // Another thread may be using the receipts: this one is used after all of them.
        let _ = receipt.await;
    }
}
