//! Step 7 of a write: what was applied, shared by apply, queries and snapshots.

use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use futures::channel::oneshot;

use super::exactly_once::{ExactlyOnce, sessions_of};
use super::progress::Progress;
use super::runtime::Runtime;
use super::types::{Entry, Payload, RaftLogId, StoredMembership, to_log_id, to_raw_membership};
use super::workers::Workers;
use crate::error::{MachineError, RestoreError};
use crate::format::entry;
use crate::format::snapshot::Header;
use crate::log_clock::LogClock;
use crate::sessions::{Numbered, Table};
use crate::state_machine::erased::{
    Answer, Applied, Committed, ErasedMachine, MachineFailure, QueryFailure, Replied, SnapshotJob,
    with_sources,
};
use crate::state_machine::{ApplyContext, DecodeError};
use crate::storage::Health;
use crate::types::{ClusterId, GroupId, LogTime, Position, Term};
use crate::watch::Watched;

/// The most bytes applied between two flushes of a machine on a disk: what a crash has to apply
/// again. A quarter of what makes a snapshot due, when that is less.
const FLUSH_BYTES: u64 = 16 << 20;

/// Why a node stops whose machine is at [`Health::Failed`].
const HAS_FAILED: &str = "the machine says that its disk has failed";

/// The machine and what was applied to it.
pub(super) struct Applier {
    pub(super) cluster: ClusterId,
    pub(super) group: GroupId,
    snapshot_bytes: u64,
    flush_bytes: u64,
    clock: Arc<LogClock>,
    /// Whether a hole in what is applied is refused: always, but in the library's own suite, which
    /// applies what it likes.
    consecutive: bool,
    machine: Arc<dyn ErasedMachine>,
    /// Where a machine on a disk is called, unless the runtime has but one thread.
    workers: OnceLock<Workers>,
    progress: Mutex<Progress>,
    /// The sessions as of there.
    sessions: ExactlyOnce,
    /// One past the last index applied.
    applied_end: AtomicU64,
    /// One past the last index whose effects would survive a power cut; 0 for a machine in memory.
    flushed_end: AtomicU64,
    bytes_since_flush: AtomicU64,
    bytes_since_snapshot: AtomicU64,
    /// Whether a snapshot is being restored into memory, which holds the machine for long: queries
    /// wait elsewhere.
    restoring: Watched<bool>,
    /// Whether the machine is being closed: what fails from then on is no failure of it.
    closing: Watched<bool>,
    waiters: Mutex<BTreeMap<u64, Vec<oneshot::Sender<()>>>>,
    /// Whether enough was applied since the last snapshot.
    pub(super) snapshot_due: Watched<bool>,
    /// The machine's own deadline, when it has one.
    pub(super) deadline: Watched<Option<LogTime>>,
    /// Whether a machine on a disk has room.
    pub(super) health: Watched<Health>,
    /// Why the machine can go on no more.
    pub(super) failure: Watched<Option<String>>,
}

/// Consecutive entries that are applied together.
pub(super) struct Batch {
    commands: Vec<(Option<Numbered>, Committed)>,
    progress: Progress,
    pub(super) bytes: u64,
}

/// What an applier is made of.
pub(super) struct ApplierOptions {
    pub(super) cluster: ClusterId,
    pub(super) group: GroupId,
    pub(super) machine: Arc<dyn ErasedMachine>,
    pub(super) snapshot_bytes: u64,
    pub(super) clock: Arc<LogClock>,
    pub(super) consecutive: bool,
    pub(super) dedupe: bool,
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
    /// Begins where the machine says that it is. Blocks when that is on a disk.
    pub(super) fn new(options: ApplierOptions) -> Result<Arc<Self>, MachineError> {
        let ApplierOptions { cluster, group, machine, snapshot_bytes, clock, consecutive, dedupe } = options;
        let recovered = machine.recovered()?;
        if let Some(found) = recovered.as_ref().filter(|found| found.cluster_id != cluster) {
            return Err(MachineError::OtherCluster { found: found.cluster_id, expected: cluster });
        }
        if let Some(found) = recovered.as_ref().filter(|found| found.group != group) {
            return Err(MachineError::OtherGroup { found: found.group, expected: group });
        }
        let progress = recovered.as_ref().map(Progress::of).transpose()?.unwrap_or_default();
        let sessions = ExactlyOnce::new(recovered.as_ref(), dedupe, machine.durable())?;
        let end = progress.applied.map_or(0, |applied| applied.index + 1);
        clock.seen(progress.time);
        let deadline = recovered.as_ref().map(|_| machine.deadline(progress.time)).transpose()?;
        let health = machine.health()?;
        if health == Health::Failed {
            return Err(MachineError::Failed { doing: "start", source: HAS_FAILED.into() });
        }
        if recovered.is_some() {
            // It may be in the memory of the operating system alone, since a process that died.
            machine.flush()?;
        }
        Ok(Arc::new(Self {
            cluster,
            group,
            snapshot_bytes,
            flush_bytes: FLUSH_BYTES.min(snapshot_bytes / 4),
            clock,
            consecutive,
            machine,
            workers: OnceLock::new(),
            progress: Mutex::new(progress),
            sessions,
            applied_end: AtomicU64::new(end),
            // What is found at a start is flushed by now.
            flushed_end: AtomicU64::new(end),
            bytes_since_flush: AtomicU64::new(0),
            bytes_since_snapshot: AtomicU64::new(0),
            restoring: Watched::new(false),
            closing: Watched::new(false),
            waiters: Mutex::default(),
            snapshot_due: Watched::new(false),
            deadline: Watched::new(deadline.flatten()),
            health: Watched::new(health),
            failure: Watched::new(None),
        }))
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the machine is on a disk, so that its calls block.
    pub(super) fn durable(&self) -> bool {
        self.machine.durable()
    }

    /// Whether a command would be understood at apply.
    pub(super) fn check(&self, command: &[u8]) -> Result<(), DecodeError> {
        (self.machine.checker())(command)
    }

    /// The log's clock at the last entry applied.
    pub(super) fn time(&self) -> LogTime {
        self.progress().time
    }

    /// The last entry applied, and the membership as of then.
    pub(super) fn state(&self) -> (Option<RaftLogId>, StoredMembership) {
        let progress = self.progress();
        (progress.applied, (*progress.membership).clone())
    }

    /// Runs `call` where it may block, if it may.
    pub(super) async fn run<RT: Runtime, T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if !self.durable() {
            return call(self);
        }
        let this = self.clone();
        let call = move || call(&this);
        let called = match self.workers.get() {
            Some(workers) => workers.write(call).await,
            None => RT::spawn_blocking(call).await,
        };
        called.map_err(|error| self.fail(error))?
    }

    /// Lets the threads go.
    pub(super) fn dismiss(&self) {
        if let Some(workers) = self.workers.get() {
            workers.close();
        }
    }

    /// Gets threads for a machine on a disk.
    pub(super) async fn employ<RT: Runtime>(&self) -> io::Result<()> {
        if let Some(workers) = Workers::start::<RT>().await? {
            // Asked for once, at the start.
            let _ = self.workers.set(workers);
        }
        Ok(())
    }

    /// Answers a query from the state as it is.
    pub(super) async fn query<RT: Runtime>(self: &Arc<Self>, query: Bytes) -> Result<Answer, QueryError> {
        self.restoring.watch().until(|restoring| !*restoring).await;
        let answer = if self.durable() {
            let machine = self.machine.clone();
            // A query that panics is the caller's, and changed nothing.
            let answer = move || std::panic::catch_unwind(AssertUnwindSafe(|| machine.query(&query)));
            let joined = self.beside::<RT, _>(answer).await.map_err(|_| QueryError::Stopped)?;
            joined.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
        } else {
            self.machine.query(&query)
        };
        answer.map_err(|failure| match failure {
            QueryFailure::Decode(error) => QueryError::Decode(error),
            QueryFailure::Machine(failure) => {
                self.fail(failure);
                QueryError::Stopped
            }
        })
    }

    /// Runs `call`, which only looks, beside those that change the machine.
    async fn beside<RT: Runtime, T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        match self.workers.get() {
            Some(workers) => workers.read(call).await,
            None => RT::spawn_blocking(call).await,
        }
    }

    /// Whether a snapshot of so many bytes could be restored here, as far as the machine can tell.
    pub(super) async fn room_for<RT: Runtime>(&self, snapshot_bytes: u64) -> Result<(), RestoreError> {
        if !self.durable() {
            return Ok(());
        }
        let machine = self.machine.clone();
        // Not among the queries, which may be long.
        let looked = RT::spawn_blocking(move || machine.room_for(snapshot_bytes)).await;
        looked.unwrap_or_else(|error| Err(RestoreError::Store { source: error.into() }))
    }

    /// Whether a snapshot with this header could be restored here.
    pub(super) fn accepts(&self, header: &Header) -> Result<(), RestoreError> {
        let (name, version) = (self.machine.name(), self.machine.version());
        if header.machine != name {
            return Err(RestoreError::OtherMachine {
                found: header.machine.clone(),
                expected: name.to_owned(),
            });
        }
        if header.version > version {
            return Err(RestoreError::NewerVersion { found: header.version, supported: version });
        }
        // Before it takes the place of one that can be restored.
        let sessions = Table::decode(header.sessions.clone());
        sessions.map(drop).map_err(|error| RestoreError::Decode { detail: error.to_string() })
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

    pub(super) fn wake(&self, applied: u64) {
        self.applied_end.fetch_max(applied + 1, Ordering::AcqRel);
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = waiters.first_entry().filter(|first| *first.key() <= applied) {
            first.remove().into_iter().for_each(|waiter| {
                let _ = waiter.send(());
            });
        }
    }

    pub(super) fn fail(&self, reason: impl ToString) -> io::Error {
        let reason = reason.to_string();
        if !self.closing.get() {
            self.failure.update(|failure| {
                failure.get_or_insert_with(|| reason.clone());
            });
        }
        io::Error::other(reason)
    }

    fn alive(&self) -> io::Result<()> {
        self.failure.get().map_or(Ok(()), |reason| Err(io::Error::other(reason)))
    }

    /// A batch that goes on where apply is.
    pub(super) fn batch(&self) -> Batch {
        Batch { commands: Vec::new(), progress: self.progress().clone(), bytes: 0 }
    }

    /// Adds a committed entry; says how many commands it has. Nothing is skipped: what cannot be
    /// applied stops the replica.
    pub(super) fn add(&self, batch: &mut Batch, entry: &Entry) -> io::Result<usize> {
        let log_id = to_log_id(&entry.log_id);
        if !entry.encoded.is_empty() {
            entry::verify(&entry.encoded).map_err(|error| self.fail(format!("entry {log_id}: {error}")))?;
        }
        let progress = &mut batch.progress;
        let before = progress.applied.filter(|applied| applied.index + 1 != entry.log_id.index);
        if let Some(applied) = before.filter(|_| self.consecutive) {
            return Err(self.fail(format!("entry {log_id} came after {}", to_log_id(&applied))));
        }
        progress.time = progress.time.max(entry.clock);
        progress.applied = Some(entry.log_id);
        batch.bytes += entry.encoded.len() as u64;
        match &entry.payload {
            Payload::Blank | Payload::Tick => Ok(0),
            Payload::Membership(membership) => {
                progress.raw = Arc::new(to_raw_membership(membership));
                let stored = StoredMembership::new(Some(entry.log_id), membership.clone());
                progress.membership = Arc::new(stored);
                Ok(0)
            }
            Payload::Commands(body) => {
                let commands =
                    body.commands().map_err(|error| self.fail(format!("entry {log_id}: {error}")))?;
                let before = batch.commands.len();
                batch.commands.extend((0..).zip(commands).map(|(ordinal, command)| {
                    let position = Position { index: log_id.index, ordinal };
                    let term = Term(log_id.term.0);
                    let ctx = ApplyContext::new(self.cluster, self.group, term, position, progress.time);
                    (command.numbered(), Committed { ctx, command: command.bytes })
                }));
                Ok(batch.commands.len() - before)
            }
        }
    }

    /// Applies a batch; gives what became of its commands, in order.
    pub(super) fn apply(&self, batch: Batch) -> io::Result<Vec<Replied>> {
        self.alive()?;
        let Batch { commands, progress, bytes } = batch;
        let Some(applied) = progress.applied(self.cluster, self.group) else { return Ok(Vec::new()) };
        let replied = self.sessions.apply(&*self.machine, commands, &applied);
        let answers = replied.map_err(|failure| self.fail(failure))?;
        *self.progress() = progress;
        if self.bytes_since_snapshot.fetch_add(bytes, Ordering::Relaxed) + bytes >= self.snapshot_bytes {
            self.snapshot_due.set(true);
        }
        self.look_at_deadline(applied.clock)?;
        let unflushed = self.bytes_since_flush.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.durable() && unflushed >= self.flush_bytes {
            self.flush()?;
        }
        self.look_at_health()?;
        Ok(answers)
    }

    fn look_at_deadline(&self, now: LogTime) -> io::Result<()> {
        self.deadline.set(self.machine.deadline(now).map_err(|failure| self.fail(failure))?);
        Ok(())
    }

    /// Asks the machine whether it has room.
    pub(super) fn look_at_health(&self) -> io::Result<()> {
        let health = self.machine.health().map_err(|failure| self.fail(failure))?;
        self.health.set(health);
        if health == Health::Failed { Err(self.fail(HAS_FAILED)) } else { Ok(()) }
    }

    /// Makes what is applied survive a power cut, when the machine is on a disk.
    pub(super) fn flush(&self) -> io::Result<()> {
        if !self.durable() {
            return Ok(());
        }
        self.alive()?;
        let end = self.progress().applied.map_or(0, |applied| applied.index + 1);
        self.bytes_since_flush.store(0, Ordering::Relaxed);
        self.machine.flush().map_err(|failure| self.fail(failure))?;
        self.flushed_end.fetch_max(end, Ordering::AcqRel);
        self.look_at_health()
    }

    /// Whether the log up to `index` is needed no more: what a machine on a disk has of it is flushed.
    pub(super) fn needs_no_more(&self, index: u64) -> bool {
        !self.durable() || self.flushed_end.load(Ordering::Acquire) > index
    }

    /// Before the log up to `index` is purged: flushes what a machine on a disk needs of it.
    pub(super) fn covers(&self, index: u64) -> io::Result<()> {
        if self.needs_no_more(index) {
            return Ok(());
        }
        self.flush()?;
        let flushed = self.flushed_end.load(Ordering::Acquire);
        if flushed > index {
            return Ok(());
        }
        Err(self.fail(format!("the log was to be purged up to {index}, but the machine is at {flushed}")))
    }

    /// Captures what a snapshot needs; `None` when nothing was applied.
    pub(super) fn capture(&self) -> io::Result<Option<(Header, SnapshotJob)>> {
        let captured = self.machine.snapshot().map_err(|failure| self.fail(failure))?;
        Ok(captured.map(|(applied, job)| {
            let header = applied.header(self.machine.name(), self.machine.version());
            // Nothing is applied meanwhile.
            (Header { sessions: self.sessions.encode(), ..header }, job)
        }))
    }

    /// A snapshot was captured, or what it would hold is about to be flushed.
    pub(super) fn snapshot_begun(&self) {
        self.bytes_since_snapshot.store(0, Ordering::Relaxed);
        self.snapshot_due.set(false);
    }

    /// Asks for a snapshot at once, if there is anything that the last one does not cover.
    pub(super) fn compact(&self) {
        if self.bytes_since_snapshot.load(Ordering::Relaxed) > 0 {
            self.snapshot_due.set(true);
        }
    }

    /// A snapshot came to nothing: the next entry asks for another.
    pub(super) fn not_built(&self) {
        self.bytes_since_snapshot.fetch_add(self.snapshot_bytes, Ordering::Relaxed);
    }

    /// Replaces the state by that of a snapshot, which was checked to be whole.
    pub(super) fn restore(&self, header: &Header, input: &mut dyn io::Read) -> io::Result<()> {
        self.accepts(header).map_err(|error| self.fail(error))?;
        let applied = Applied::from(header.clone());
        let progress = Progress::of(&applied).map_err(|error| self.fail(error))?;
        let sessions = sessions_of(&applied).map_err(|error| self.fail(error))?;
        let restored = self.machine.restore(&applied, input);
        restored.map_err(|error| self.fail(with_sources(&error.into())))?;
        *self.progress() = progress;
        self.sessions.replace(sessions);
        self.bytes_since_snapshot.store(0, Ordering::Relaxed);
        if self.durable() {
            self.bytes_since_flush.store(0, Ordering::Relaxed);
            self.flushed_end.fetch_max(header.last_applied.index.0 + 1, Ordering::AcqRel);
        }
        self.clock.seen(header.clock);
        self.look_at_health()?;
        self.look_at_deadline(header.clock)
    }

    /// Keeps queries away from a machine in memory while it is restored.
    pub(super) fn set_restoring(&self, restoring: bool) {
        self.restoring.set(restoring && !self.durable());
    }

    /// Flushes and closes the machine: nothing is applied any more.
    pub(super) fn close(&self) -> io::Result<()> {
        let flushed = self.flush();
        self.closing.set(true);
        self.machine.close();
        flushed
    }
}

impl From<MachineFailure> for io::Error {
    fn from(failure: MachineFailure) -> Self {
        Self::other(failure.to_string())
    }
}
