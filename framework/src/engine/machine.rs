//! Step 7 of a write: committed entries reach the user's machine, in log order.

use std::collections::BTreeMap;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use futures::channel::oneshot;
use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{RaftSnapshotBuilder, Snapshot};

use super::runtime::Runtime;
use super::snapshot::{self, SnapshotData, Stored};
use super::types::{
    Answers, CommittedLeaderId, Entry, Payload, RaftLogId, Record, SnapshotMeta, StoredMembership,
    TypeConfig, to_log_id, to_raw_membership,
};
use crate::error::{RestoreError, StorageError};
use crate::format::entry;
use crate::format::snapshot::Header;
use crate::log_clock::LogClock;
use crate::state_machine::erased::{Answer, ErasedMachine, SnapshotJob};
use crate::state_machine::{ApplyContext, DecodeError, QueryContext};
use crate::storage::Storage;
use crate::types::{ClusterId, GroupId, LogId, LogTime, Position, Term};
use crate::watch::Watched;

/// The machine and what was applied to it, shared by apply and queries.
pub(super) struct Applier {
    cluster: ClusterId,
    group: GroupId,
    snapshot_bytes: u64,
    clock: Arc<LogClock>,
    /// Whether a hole in what is applied is refused: always, but in the library's own suite, which
    /// applies what it likes.
    consecutive: bool,
    /// Whether a command would be understood: asked with no lock, by every write.
    check: fn(&[u8]) -> Result<(), DecodeError>,
    machine: (&'static str, u32),
    cell: RwLock<Cell>,
    /// One past the last index applied.
    applied_end: AtomicU64,
    bytes_since_snapshot: AtomicU64,
    /// Whether a snapshot is being restored, which holds the cell for long: queries wait elsewhere.
    restoring: Watched<bool>,
    waiters: Mutex<BTreeMap<u64, Vec<oneshot::Sender<()>>>>,
    /// Whether enough was applied since the last snapshot.
    pub(super) snapshot_due: Watched<bool>,
    /// The machine's own deadline, when it has one.
    pub(super) deadline: Watched<Option<LogTime>>,
    /// Why the machine can go on no more.
    pub(super) failure: Watched<Option<String>>,
}

struct Cell {
    machine: Box<dyn ErasedMachine>,
    applied: Option<RaftLogId>,
    membership: StoredMembership,
    time: LogTime,
}

/// Why a query has no answer.
#[derive(Clone, Debug)]
pub(crate) enum QueryError {
    Decode(DecodeError),
    /// The machine can go on no more, and may have been left half-way.
    Stopped,
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Applier({})", self.group)
    }
}

impl Applier {
    pub(super) fn new(
        cluster: ClusterId,
        group: GroupId,
        machine: Box<dyn ErasedMachine>,
        snapshot_bytes: u64,
        clock: Arc<LogClock>,
        consecutive: bool,
    ) -> Arc<Self> {
        let (check, named) = (machine.checker(), (machine.name(), machine.version()));
        let cell =
            Cell { machine, applied: None, membership: StoredMembership::default(), time: LogTime::ZERO };
        Arc::new(Self {
            cluster,
            group,
            snapshot_bytes,
            clock,
            consecutive,
            check,
            machine: named,
            cell: RwLock::new(cell),
            applied_end: AtomicU64::new(0),
            bytes_since_snapshot: AtomicU64::new(0),
            restoring: Watched::new(false),
            waiters: Mutex::default(),
            snapshot_due: Watched::new(false),
            deadline: Watched::new(None),
            failure: Watched::new(None),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Cell> {
        self.cell.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Cell> {
        self.cell.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a command would be understood at apply.
    pub(super) fn check(&self, command: &[u8]) -> Result<(), DecodeError> {
        (self.check)(command)
    }

    /// The log's clock at the last entry applied.
    pub(super) fn time(&self) -> LogTime {
        self.read().time
    }

    /// Answers a query from the state as it is.
    pub(super) async fn query(&self, query: &[u8]) -> Result<Answer, QueryError> {
        self.restoring.watch().until(|restoring| !*restoring).await;
        let cell = self.read();
        // Set before the lock on a machine that failed half-way is given back.
        if self.failure.get().is_some() {
            return Err(QueryError::Stopped);
        }
        let ctx = QueryContext::new(cell.applied.as_ref().map(to_log_id), cell.time);
        cell.machine.query(&ctx, query).map_err(QueryError::Decode)
    }

    /// Whether a snapshot with this header could be restored here.
    pub(super) fn accepts(&self, header: &Header) -> Result<(), RestoreError> {
        let (name, version) = self.machine;
        if header.machine != name {
            return Err(RestoreError::OtherMachine {
                found: header.machine.clone(),
                expected: name.to_owned(),
            });
        }
        if header.version > version {
            return Err(RestoreError::NewerVersion { found: header.version, supported: version });
        }
        Ok(())
    }

    /// Waits until the entry at `index` is applied.
    pub(super) async fn applied(&self, index: u64) {
        let receiver = {
            let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            if self.applied_end.load(Ordering::Acquire) > index {
                return;
            }
            let (tx, rx) = oneshot::channel();
            waiters.entry(index).or_default().push(tx);
            rx
        };
        // The sender lives in the map until the index is applied, as long as this value does.
        let _ = receiver.await;
    }

    fn wake(&self, applied: u64) {
        self.applied_end.fetch_max(applied + 1, Ordering::AcqRel);
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = waiters.first_entry().filter(|first| *first.key() <= applied) {
            first.remove().into_iter().for_each(|waiter| {
                let _ = waiter.send(());
            });
        }
    }

    fn fail(&self, reason: impl ToString) -> io::Error {
        let reason = reason.to_string();
        self.failure.update(|failure| {
            failure.get_or_insert_with(|| reason.clone());
        });
        io::Error::other(reason)
    }

    /// Applies one committed entry. Nothing is skipped: what cannot be applied stops the replica.
    fn apply(&self, entry: &Entry) -> io::Result<Answers> {
        let log_id = to_log_id(&entry.log_id);
        if !entry.encoded.is_empty() {
            entry::verify(&entry.encoded).map_err(|error| self.fail(format!("entry {log_id}: {error}")))?;
        }
        let mut answers = Answers::default();
        let cell = &mut *self.write();
        let before = cell.applied.filter(|applied| applied.index + 1 != entry.log_id.index);
        if let Some(applied) = before.filter(|_| self.consecutive) {
            return Err(self.fail(format!("entry {log_id} came after {}", to_log_id(&applied))));
        }
        cell.time = cell.time.max(entry.clock);
        match &entry.payload {
            Payload::Blank | Payload::Tick => {}
            Payload::Membership(membership) => {
                cell.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            }
            Payload::Commands(body) => {
                let commands =
                    body.commands().map_err(|error| self.fail(format!("entry {log_id}: {error}")))?;
                for (ordinal, command) in (0..).zip(commands) {
                    let position = Position { index: log_id.index, ordinal };
                    let mut ctx =
                        ApplyContext::new(self.cluster, self.group, Term(log_id.term.0), position, cell.time);
                    let answer = cell.machine.apply(&mut ctx, &command.bytes);
                    answers.0.push(answer.map_err(|failure| self.fail(failure))?);
                }
            }
        }
        cell.applied = Some(entry.log_id);
        let len = entry.encoded.len() as u64;
        if self.bytes_since_snapshot.fetch_add(len, Ordering::Relaxed) + len >= self.snapshot_bytes {
            self.snapshot_due.set(true);
        }
        self.deadline.set(cell.machine.deadline(cell.time));
        Ok(answers)
    }

    /// Asks for a snapshot at once, if there is anything that the last one does not cover.
    pub(super) fn compact(&self) {
        if self.bytes_since_snapshot.load(Ordering::Relaxed) > 0 {
            self.snapshot_due.set(true);
        }
    }

    /// A snapshot came to nothing: the next entry asks for another.
    fn not_built(&self) {
        self.bytes_since_snapshot.fetch_add(self.snapshot_bytes, Ordering::Relaxed);
    }

    /// Captures what a snapshot needs; `None` when nothing was applied.
    fn capture(&self) -> Option<(Header, SnapshotJob)> {
        // Nothing is applied meanwhile: the one worker that applies is the one that is here. Queries
        // go on.
        let cell = self.read();
        let applied = cell.applied?;
        self.bytes_since_snapshot.store(0, Ordering::Relaxed);
        self.snapshot_due.set(false);
        let header = Header {
            cluster_id: self.cluster,
            group: self.group,
            machine: cell.machine.name().to_owned(),
            version: cell.machine.version(),
            last_applied: to_log_id(&applied),
            clock: cell.time,
            membership_log_id: cell.membership.log_id().as_ref().map(to_log_id),
            membership: to_raw_membership(cell.membership.membership()),
            sessions: Bytes::new(),
        };
        Some((header, cell.machine.snapshot()))
    }

    fn restore(&self, header: &Header, meta: &SnapshotMeta, bytes: &mut snapshot::Pieces) -> io::Result<()> {
        self.accepts(header).map_err(|error| self.fail(error))?;
        let cell = &mut *self.write();
        // A machine that failed half-way is used no more: said before the lock is given back.
        match catch_unwind(AssertUnwindSafe(|| cell.machine.restore(bytes))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.fail(error)),
            Err(_) => return Err(self.fail("the machine panicked while it restored a snapshot")),
        }
        cell.applied = meta.last_log_id;
        cell.membership = meta.last_membership.clone();
        cell.time = header.clock;
        self.bytes_since_snapshot.store(0, Ordering::Relaxed);
        self.clock.seen(header.clock);
        self.deadline.set(cell.machine.deadline(cell.time));
        Ok(())
    }
}

/// The machine as the library drives it.
pub(super) struct Machine<RT> {
    pub(super) applier: Arc<Applier>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) runtime: PhantomData<fn() -> RT>,
}

fn to_io(error: StorageError) -> io::Error {
    io::Error::other(error)
}

type MachineSnapshot = Snapshot<CommittedLeaderId, u64, Record, SnapshotData>;

async fn current_snapshot(
    storage: &dyn Storage,
    group: GroupId,
) -> Result<Option<MachineSnapshot>, StorageError> {
    let Some(stored) = Stored::current(storage, group).await? else { return Ok(None) };
    Ok(Some(Snapshot {
        meta: snapshot::meta(&stored.header)?,
        snapshot: SnapshotData::Stored(Box::new(stored)),
    }))
}

impl<RT: Runtime> Machine<RT> {
    /// Makes the snapshot the stored one, unless it is already, and gives it back opened.
    async fn keep(&self, covers: LogId, data: SnapshotData) -> Result<Stored, StorageError> {
        let group = self.applier.group;
        match data {
            SnapshotData::Nothing => {}
            SnapshotData::Received(writer) => writer.commit(covers).await?,
            SnapshotData::Stored(stored) => {
                let current = self.storage.snapshot(group).await?;
                if current.is_none_or(|current| current.covers < covers) {
                    snapshot::copy(&*self.storage, *stored).await?;
                }
            }
        }
        let stored = Stored::current(&*self.storage, group).await?;
        stored.filter(|stored| stored.header.last_applied >= covers).ok_or_else(|| StorageError::Corrupt {
            what: format!("the snapshot of {group}"),
            detail: format!("it does not cover {covers}, to which it was committed"),
        })
    }
}

impl<RT: Runtime> RaftStateMachine<TypeConfig<RT>> for Machine<RT> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder<RT>;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
        let cell = self.applier.read();
        Ok((cell.applied, cell.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig<RT>>, io::Error>> + Unpin + Send,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item.map_err(|error| self.applier.fail(error))?;
            let answers = self.applier.apply(&entry)?;
            self.applier.wake(entry.log_id.index);
            if let Some(responder) = responder {
                responder.send(answers);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<RT> {
        Builder {
            captured: Mutex::new(self.applier.capture()),
            applier: self.applier.clone(),
            storage: self.storage.clone(),
            runtime: PhantomData,
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), io::Error> {
        let Some(covers) = meta.last_log_id.as_ref().map(to_log_id) else {
            return Err(io::Error::other("a snapshot that covers nothing"));
        };
        let stored = self.keep(covers, data).await.map_err(to_io)?;
        let header = stored.header.clone();
        if header.cluster_id != self.applier.cluster {
            return Err(self.applier.fail(format!("the snapshot is of cluster {}", header.cluster_id)));
        }
        let meta = snapshot::meta(&header).map_err(to_io)?;
        let mut bytes = stored.machine_bytes().await.map_err(to_io)?;
        let applier = self.applier.clone();
        let applied = header.last_applied.index.0;
        applier.restoring.set(true);
        let restored = RT::spawn_blocking(move || applier.restore(&header, &meta, &mut bytes)).await;
        self.applier.restoring.set(false);
        restored.map_err(|error| self.applier.fail(error))??;
        self.applier.wake(applied);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<MachineSnapshot>, io::Error> {
        current_snapshot(&*self.storage, self.applier.group).await.map_err(to_io)
    }
}

/// Builds one snapshot, beside apply.
pub(super) struct Builder<RT> {
    /// In a mutex only because the library wants builders to be `Sync`: it is never locked.
    captured: Mutex<Option<(Header, SnapshotJob)>>,
    applier: Arc<Applier>,
    storage: Arc<dyn Storage>,
    runtime: PhantomData<fn() -> RT>,
}

impl<RT: Runtime> RaftSnapshotBuilder<TypeConfig<RT>> for Builder<RT> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<MachineSnapshot, io::Error> {
        let captured = self.captured.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let nothing = || Snapshot { meta: SnapshotMeta::default(), snapshot: SnapshotData::Nothing };
        let Some((header, job)) = captured else { return Ok(nothing()) };
        let built = snapshot::build::<RT>(&*self.storage, header, job).await;
        let current = async || current_snapshot(&*self.storage, self.applier.group).await.map_err(to_io);
        // The log is whole without it, and room may come back: an error here would stop the node.
        if let Err(error @ StorageError::Full { .. }) = built {
            tracing::warn!(%error, "there is no room for a snapshot");
            self.applier.not_built();
            return Ok(current().await?.unwrap_or_else(nothing));
        }
        built.map_err(to_io)?;
        current().await?.ok_or_else(|| io::Error::other("the snapshot just committed is not there"))
    }
}
