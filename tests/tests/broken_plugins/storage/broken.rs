//! A store over the one in memory that can be broken in one way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{
    Flushed, GroupState, Identity, MemoryStorage, ResumedSnapshot, SnapshotId, SnapshotReader,
    SnapshotWriter, Storage, StorageOperation, StoredSnapshot, Write,
};
use quorate::testing::storage::{CrashHarness, FaultHarness, StorageHarness};
use quorate::types::{GroupId, LogId, LogIndex};

use super::resumed::{self, Fingerprint, Fingerprinted, Parts, Resume};

/// One way to be broken: everything that it does not override is right.
pub(crate) trait Break: Send + Sync + 'static {
    /// Whether the disk holds writes back, so that a power cut loses them.
    const HOLDS: bool = false;
    /// The length of the queue in front of a thread that writes; without one, the caller does.
    const QUEUE: Option<usize> = None;
    /// Whether a close loses what is held back.
    const CLOSE_LOSES: bool = false;
    /// Whether a recorded identity is replaced by another.
    const IDENTITY_IS_REPLACED: bool = false;
    /// Whether a snapshot shows before its commit.
    const SNAPSHOT_SHOWS_EARLY: bool = false;
    /// Whether a commit of a snapshot returns before it is flushed.
    const SNAPSHOT_RETURNS_EARLY: bool = false;
    /// Whether a power cut during a commit leaves half of the snapshot.
    const SNAPSHOT_TEARS: bool = false;
    /// Whether a snapshot replaces a newer one.
    const OLDER_SNAPSHOT_REPLACES: bool = false;
    /// Whether a reader ends when a newer snapshot is committed.
    const READER_IS_CUT_OFF: bool = false;
    /// What it does with a snapshot that is to be removed.
    const REMOVE: Remove = Remove::Sound;
    /// How much room there is for a snapshot, it says, whatever there is.
    const SNAPSHOT_ROOM: Option<u64> = None;
    /// Whether there is none, it says, while a part of one is held that nobody writes.
    const A_PART_TAKES_ALL_ROOM: bool = false;
    /// Whether there is none, it says, while one is being written that can be gone on with.
    const A_WRITER_TAKES_ALL_ROOM: bool = false;
    /// Whether making room truncates the log.
    const ROOM_TRUNCATES: bool = false;
    /// What it does with a snapshot that breaks off on its way.
    const RESUME: Resume = Resume::Sound;
    /// What it tells snapshots from others by.
    const FINGERPRINT: Fingerprint = Fingerprint::OfAllBytes;
    /// How long a case may take. Some breaks can only show by hanging.
    const LIMIT: Duration = Duration::from_mins(1);
    /// How many sequences a random case plays.
    const SEQUENCES: u32 = 32;

    fn group(group: GroupId) -> GroupId {
        group
    }

    fn snapshot_group(group: GroupId) -> GroupId {
        group
    }

    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        inner.disk.write(group, write, flushed);
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

    fn read(inner: &Inner, read: Vec<Bytes>, max_bytes: usize) -> Vec<Bytes> {
        let _ = (inner, max_bytes);
        read
    }

    /// The disk after a power cut.
    fn crash(inner: &Inner) -> MemoryStorage {
        inner.disk.crash()
    }
}

/// What becomes of a snapshot that is to be removed.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Remove {
    Sound,
    /// It stays, which is sound as well.
    Keeps,
    /// A newer one goes, too.
    TakesANewer,
    /// Those of other groups go, too.
    TakesAll,
    /// Half of it stays.
    Tears,
}

/// The sound store underneath, and what a break may remember.
pub(crate) struct Inner {
    pub(crate) disk: MemoryStorage,
    pub(crate) late: Mutex<Option<Flushed>>,
    pub(crate) last_vote: Mutex<Option<(GroupId, Write)>>,
    pub(crate) emptied: Mutex<Option<GroupId>>,
    pub(crate) reads: AtomicU64,
    /// The disk refuses to flush, as [`FaultHarness`] asked.
    pub(crate) refusing: AtomicBool,
}

pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A snapshot whose commit was begun: its group, what it covers, its bytes.
type Pending = (GroupId, LogId, Vec<Bytes>);

/// Outlives the store.
#[derive(Clone)]
pub(crate) struct Place {
    disk: Arc<Mutex<MemoryStorage>>,
    /// What the current snapshots cover, where the disk itself is told otherwise.
    covers: Arc<Mutex<BTreeMap<GroupId, LogId>>>,
    identity: Arc<Mutex<Option<Identity>>>,
    pending: Arc<Mutex<Option<Pending>>>,
    parts: Parts,
    power: Arc<Mutex<Power>>,
}

#[derive(Default)]
struct Power {
    /// How many flushes of what is held back it lasts for.
    fuse: Option<u64>,
    /// The disk after it has failed.
    after: Option<MemoryStorage>,
}

impl Place {
    /// Flushes the oldest write that is held back, while there is power. Whether there was one.
    fn flush_one(&self, disk: &MemoryStorage) -> bool {
        let mut power = lock(&self.power);
        if power.fuse == Some(0) && power.after.is_none() && disk.held().get() > 0 {
            power.after = Some(disk.crash());
        }
        let flushed = disk.flush_held(1) > 0;
        power.fuse = power.fuse.map(|left| left.saturating_sub(u64::from(flushed)));
        flushed
    }
}

type Job = (GroupId, Write, Flushed);

/// A thread with a queue in front of it.
struct Worker {
    jobs: mpsc::SyncSender<Job>,
    thread: JoinHandle<()>,
}

pub(crate) struct Broken<B> {
    inner: Arc<Inner>,
    place: Place,
    worker: Mutex<Option<Worker>>,
    how: PhantomData<B>,
}

#[async_trait]
impl<B: Break> Storage for Broken<B> {
    async fn identity(&self) -> Result<Option<Identity>, StorageError> {
        let replaced = *lock(&self.place.identity);
        self.inner.disk.identity().await.map(|recorded| B::identity(replaced.or(recorded)))
    }

    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError> {
        match self.inner.disk.set_identity_once(identity).await {
            Err(StorageError::IdentityTaken { .. }) if B::IDENTITY_IS_REPLACED => {
                *lock(&self.place.identity) = Some(*identity);
                Ok(())
            }
            recorded => recorded,
        }
    }

    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        self.inner.disk.open(B::group(group)).await.map(B::opened)
    }

    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        let group = B::group(group);
        let jobs = lock(&self.worker).as_ref().map(|worker| worker.jobs.clone());
        match jobs {
            Some(jobs) => jobs.send((group, write, flushed)).expect("the thread ends after its queue"),
            None => B::write(&self.inner, group, write, flushed),
        }
    }

    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let read = self.inner.disk.read(B::group(group), range, B::max_bytes(max_bytes)).await?;
        Ok(B::read(&self.inner, read, max_bytes))
    }

    async fn snapshot_writer(&self, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        let group = B::snapshot_group(group);
        let sound = self.inner.disk.snapshot_writer(group).await?;
        let (disk, place) = (self.inner.disk.clone(), self.place.clone());
        Ok(Box::new(BrokenWriter::<B> { sound, disk, place, group, chunks: Vec::new(), how: PhantomData }))
    }

    async fn resume_snapshot(
        &self,
        group: GroupId,
        id: &SnapshotId,
    ) -> Result<ResumedSnapshot, StorageError> {
        Ok(resumed::resume(&self.place.parts, &self.inner.disk, B::RESUME, group, id))
    }

    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        let group = B::snapshot_group(group);
        let Some(stored) = self.inner.disk.snapshot(group).await? else { return Ok(None) };
        let told = stored.covers;
        let covers = lock(&self.place.covers).get(&group).copied().unwrap_or(told);
        let reader: Box<dyn SnapshotReader> = if B::READER_IS_CUT_OFF {
            Box::new(CutOff { sound: stored.reader, disk: self.inner.disk.clone(), group, covers: told })
        } else {
            Box::new(Fingerprinted::new(stored.reader, B::FINGERPRINT).await?)
        };
        Ok(Some(StoredSnapshot { covers, len: stored.len, reader }))
    }

    async fn remove_snapshot(&self, group: GroupId, upto: LogId) -> Result<(), StorageError> {
        let (disk, group) = (&self.inner.disk, B::snapshot_group(group));
        match B::REMOVE {
            Remove::Sound => disk.remove_snapshot(group, upto).await,
            Remove::Keeps => Ok(()),
            Remove::TakesANewer => disk.remove_snapshot(group, LogId::new(u64::MAX, u64::MAX)).await,
            Remove::TakesAll => {
                for group in (0..10).map(GroupId) {
                    disk.remove_snapshot(group, upto).await?;
                }
                Ok(())
            }
            Remove::Tears => {
                let Some(mut stored) = disk.snapshot(group).await? else { return Ok(()) };
                let mut half = disk.snapshot_writer(group).await?;
                if let Some(chunk) = stored.reader.next().await? {
                    half.write(chunk).await?;
                }
                half.commit(stored.covers).await
            }
        }
    }

    fn snapshot_room(&self) -> Option<u64> {
        let parts = &self.place.parts;
        let taken = match (B::A_PART_TAKES_ALL_ROOM, B::A_WRITER_TAKES_ALL_ROOM) {
            (false, false) => return B::SNAPSHOT_ROOM,
            (part, _) if !parts.is_written() => part && !parts.is_empty(),
            (_, writer) => writer,
        };
        Some(if taken { 0 } else { u64::MAX })
    }

    fn make_room(&self, wanted: bool) {
        if B::ROOM_TRUNCATES && wanted {
            let last = Write::Truncate { from: LogIndex(30) };
            self.inner.disk.write(GroupId(1), last, Flushed::ignored());
        }
    }

    async fn close(&self) {
        let worker = lock(&self.worker).take();
        if let Some(Worker { jobs, thread }) = worker {
            drop(jobs);
            thread.join().expect("the thread that writes does not panic");
        }
        if B::CLOSE_LOSES {
            *lock(&self.place.disk) = self.inner.disk.crash();
        } else {
            self.inner.disk.close().await;
        }
    }
}

struct BrokenWriter<B> {
    sound: Box<dyn SnapshotWriter>,
    disk: MemoryStorage,
    place: Place,
    group: GroupId,
    chunks: Vec<Bytes>,
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
        self.chunks.push(chunk.clone());
        self.sound.write(chunk).await
    }

    async fn commit(self: Box<Self>, covers: LogId) -> Result<(), StorageError> {
        *lock(&self.place.pending) = Some((self.group, covers, self.chunks));
        let told = if B::OLDER_SNAPSHOT_REPLACES { LogId::new(0, 0) } else { covers };
        let mut commit = self.sound.commit(told);
        if B::SNAPSHOT_RETURNS_EARLY {
            return (&mut commit).now_or_never().unwrap_or(Ok(()));
        }
        commit.await?;
        *lock(&self.place.pending) = None;
        if B::OLDER_SNAPSHOT_REPLACES {
            // The disk believes that all of them cover the same.
            lock(&self.place.covers).insert(self.group, covers);
        }
        Ok(())
    }
}

/// A reader that ends when its snapshot is not the current one any more.
struct CutOff {
    sound: Box<dyn SnapshotReader>,
    disk: MemoryStorage,
    group: GroupId,
    covers: LogId,
}

#[async_trait]
impl SnapshotReader for CutOff {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        let current = self.disk.snapshot(self.group).await?.map(|current| current.covers);
        if current == Some(self.covers) { self.sound.next().await } else { Ok(None) }
    }
}

thread_local! {
    /// The disk of the case that runs on this thread, and where it is.
    static DISK: RefCell<Option<(MemoryStorage, Place)>> = const { RefCell::new(None) };
}

impl<B: Break> StorageHarness for Broken<B> {
    type Storage = Broken<B>;
    type Place = Place;

    const LIMIT: Duration = B::LIMIT;
    const SEQUENCES: u32 = B::SEQUENCES;

    fn place() -> Place {
        let disk = Arc::new(Mutex::new(MemoryStorage::new()));
        Place {
            disk,
            covers: Arc::default(),
            identity: Arc::default(),
            pending: Arc::default(),
            parts: Parts::default(),
            power: Arc::default(),
        }
    }

    async fn open(place: &Place) -> Result<Self, StorageError> {
        let disk = lock(&place.disk).clone();
        if B::HOLDS {
            disk.hold_flushes();
        }
        DISK.set(Some((disk.clone(), place.clone())));
        let inner = Arc::new(Inner {
            disk,
            late: Mutex::default(),
            last_vote: Mutex::default(),
            emptied: Mutex::default(),
            reads: AtomicU64::new(0),
            refusing: AtomicBool::new(false),
        });
        let worker = B::QUEUE.map(|len| {
            let (jobs, queue) = mpsc::sync_channel::<Job>(len);
            let inner = inner.clone();
            let work = move || {
                for (group, write, flushed) in queue {
                    B::write(&inner, group, write, flushed);
                }
            };
            Worker { jobs, thread: std::thread::spawn(work) }
        });
        Ok(Broken { inner, place: place.clone(), worker: Mutex::new(worker), how: PhantomData })
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
            if !DISK.with_borrow(|disk| disk.as_ref().is_some_and(|(disk, place)| place.flush_one(disk))) {
                std::thread::yield_now();
            }
        }
    }
}

impl<B: Break> CrashHarness for Broken<B> {
    async fn crash(place: &mut Place, storage: Option<Self>) {
        let storage = storage.expect("a store in memory always opens");
        place.parts.lose_power(B::RESUME);
        let Power { after, .. } = std::mem::take(&mut *lock(&place.power));
        let after = after.unwrap_or_else(|| B::crash(&storage.inner));
        if let (Some((group, covers, chunks)), true) = (lock(&place.pending).take(), B::SNAPSHOT_TEARS) {
            block_on(async {
                let mut torn = after.snapshot_writer(group).await?;
                for chunk in chunks.iter().take(chunks.len() / 2) {
                    torn.write(chunk.clone()).await?;
                }
                torn.commit(covers).await
            })
            .expect("memory takes everything");
        }
        *lock(&place.disk) = after;
    }

    /// Without writes that are held back there is nothing in flight.
    fn cut_power_after(place: &Place, points: u64) -> bool {
        lock(&place.power).fuse = Some(points);
        B::HOLDS
    }
}

impl<B: Break> FaultHarness for Broken<B> {
    fn fail_flushes(_: &Place, storage: &Self, fail: bool) {
        storage.inner.refusing.store(fail, Ordering::SeqCst);
        if fail {
            storage.inner.disk.fail_next(StorageOperation::Write);
        }
    }
}
