//! A store over the one in memory that can be broken in one way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use quorate::error::StorageError;
use quorate::storage::{
    Flushed, GroupState, Identity, MemoryStorage, SnapshotWriter, Storage, StoredSnapshot, Write,
};
use quorate::testing::storage::{CrashHarness, StorageHarness};
use quorate::types::{GroupId, LogId, LogIndex};

/// One way to be broken: everything that it does not override is right.
pub(crate) trait Break: Send + Sync + 'static {
    /// Whether the disk holds writes back, so that a power cut loses them.
    const HOLDS: bool = false;
    /// Whether a close loses what is held back.
    const CLOSE_LOSES: bool = false;
    /// Whether a snapshot shows before its commit.
    const SNAPSHOT_SHOWS_EARLY: bool = false;
    /// Whether a snapshot replaces a newer one.
    const OLDER_SNAPSHOT_REPLACES: bool = false;

    fn group(group: GroupId) -> GroupId {
        group
    }

    fn write(
        disk: &MemoryStorage,
        late: &Mutex<Option<Flushed>>,
        group: GroupId,
        write: Write,
        flushed: Flushed,
    ) {
        let _ = late;
        disk.write(group, write, flushed);
    }

    fn opened(state: GroupState) -> GroupState {
        state
    }

    fn identity(identity: Option<Identity>) -> Option<Identity> {
        identity
    }

    fn max_bytes(max_bytes: usize) -> usize {
        max_bytes
    }

    fn read(read: Vec<Bytes>, max_bytes: usize) -> Vec<Bytes> {
        let _ = max_bytes;
        read
    }

    /// The disk after a power cut.
    fn crash(disk: &MemoryStorage) -> MemoryStorage {
        disk.crash()
    }
}

/// Outlives the store.
#[derive(Clone)]
pub(crate) struct Place {
    disk: Arc<Mutex<MemoryStorage>>,
    /// What the current snapshots cover, where the disk itself is told otherwise.
    covers: Arc<Mutex<BTreeMap<GroupId, LogId>>>,
}

fn with<T, R>(shared: &Mutex<T>, use_it: impl FnOnce(&mut T) -> R) -> R {
    use_it(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

pub(crate) struct Broken<B> {
    disk: MemoryStorage,
    place: Place,
    late: Mutex<Option<Flushed>>,
    how: PhantomData<B>,
}

#[async_trait]
impl<B: Break> Storage for Broken<B> {
    async fn identity(&self) -> Result<Option<Identity>, StorageError> {
        self.disk.identity().await.map(B::identity)
    }

    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError> {
        self.disk.set_identity_once(identity).await
    }

    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        self.disk.open(B::group(group)).await.map(B::opened)
    }

    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        B::write(&self.disk, &self.late, B::group(group), write, flushed);
    }

    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let read = self.disk.read(B::group(group), range, B::max_bytes(max_bytes)).await?;
        Ok(B::read(read, max_bytes))
    }

    async fn snapshot_writer(&self, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        let inner = self.disk.snapshot_writer(group).await?;
        let (disk, place) = (self.disk.clone(), self.place.clone());
        Ok(Box::new(BrokenWriter::<B> { inner, disk, place, group, how: PhantomData }))
    }

    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        let Some(stored) = self.disk.snapshot(group).await? else { return Ok(None) };
        let covers = with(&self.place.covers, |covers| covers.get(&group).copied()).unwrap_or(stored.covers);
        Ok(Some(StoredSnapshot { covers, ..stored }))
    }

    async fn close(&self) {
        if B::CLOSE_LOSES {
            with(&self.place.disk, |disk| *disk = self.disk.crash());
        } else {
            self.disk.close().await;
        }
    }
}

struct BrokenWriter<B> {
    inner: Box<dyn SnapshotWriter>,
    disk: MemoryStorage,
    place: Place,
    group: GroupId,
    how: PhantomData<B>,
}

#[async_trait]
impl<B: Break> SnapshotWriter for BrokenWriter<B> {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        if B::SNAPSHOT_SHOWS_EARLY {
            let mut early = self.disk.snapshot_writer(self.group).await?;
            early.write(chunk.clone()).await?;
            early.commit(LogId::new(0, 0)).await?;
        }
        self.inner.write(chunk).await
    }

    async fn commit(self: Box<Self>, covers: LogId) -> Result<(), StorageError> {
        if !B::OLDER_SNAPSHOT_REPLACES {
            return self.inner.commit(covers).await;
        }
        // The disk believes that all of them cover the same.
        self.inner.commit(LogId::new(0, 0)).await?;
        with(&self.place.covers, |all| all.insert(self.group, covers));
        Ok(())
    }
}

thread_local! {
    /// The disk of the case that runs on this thread.
    static DISK: RefCell<Option<MemoryStorage>> = const { RefCell::new(None) };
}

impl<B: Break> StorageHarness for Broken<B> {
    type Storage = Broken<B>;
    type Place = Place;

    fn place() -> Place {
        Place { disk: Arc::new(Mutex::new(MemoryStorage::new())), covers: Arc::default() }
    }

    async fn open(place: &Place) -> Result<Self, StorageError> {
        let disk = with(&place.disk, |disk| disk.clone());
        if B::HOLDS {
            disk.hold_flushes();
        }
        DISK.set(Some(disk.clone()));
        Ok(Broken { disk, place: place.clone(), late: Mutex::new(None), how: PhantomData })
    }

    /// Flushes a write that is held back whenever the case has to wait, and never else: what is lost
    /// in a crash depends on nothing but the case.
    fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            if DISK.with_borrow(|disk| disk.as_ref().is_none_or(|disk| disk.flush_held(1) == 0)) {
                std::thread::yield_now();
            }
        }
    }
}

impl<B: Break> CrashHarness for Broken<B> {
    async fn crash(place: &mut Place, storage: Self) {
        with(&place.disk, |disk| *disk = B::crash(&storage.disk));
    }
}
