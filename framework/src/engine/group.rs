//! One Raft group: the library's instance, and the few things the node asks of it.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use openraft::errors::{ClientWriteError, Fatal, LinearizableReadError, RaftError};
use openraft::raft::{AppendEntriesRequest, ClientWriteResult, StreamAppendResult};
use openraft::{Raft, ReadPolicy, SnapshotPolicy};

use super::applier::{Applier, ApplierOptions, QueryError};
use super::keep::{Keeper, Kept, KeptAnswers};
use super::log::Log;
use super::machine::Machine;
use super::network::Factory;
use super::progress::check_gap;
use super::room::Room;
use super::runtime::{Bug, Instant as _, Runtime, WatchReceiver as _};
use super::snapshot;
use super::types::{
    Callback, Entry, Proposal, StoredMembership, TypeConfig, from_log_id, from_raw_membership, to_log_id,
};
use super::view::View;
use crate::error::{MachineError, RestoreError, StartError, StorageError};
use crate::format::entry::Body;
use crate::format::membership::RawMembership;
use crate::format::snapshot::Header;
use crate::host::Host;
use crate::log_clock::LogClock;
use crate::node::config::Config;
use crate::node::status::Role;
use crate::state_machine::DecodeError;
use crate::state_machine::erased::{Answer, ErasedMachine, Replied};
use crate::storage::{Flushed, GroupState, Health, Storage, Write};
use crate::types::{ClusterId, GroupId, LogId, LogIndex, LogTime, Member, Membership, NodeId};
use crate::watch::Watched;

/// What a group is made of.
pub(crate) struct GroupOptions {
    pub(crate) group: GroupId,
    pub(crate) cluster_id: ClusterId,
    pub(crate) node_id: NodeId,
    pub(crate) config: Arc<Config>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) machine: Arc<dyn ErasedMachine>,
    /// Monotonic time since the process started.
    pub(crate) monotonic: Box<dyn Fn() -> Duration + Send + Sync>,
    /// Whether it stands for election from the start, and not only once it is told to.
    pub(crate) elects: bool,
}

/// Why a proposal was not applied here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProposeError {
    /// Refused before it was appended.
    NotLeader { leader: Option<NodeId> },
    /// Appended, and then dropped from this log when another leader took over: it may have been
    /// committed all the same.
    Discarded,
    /// The engine stopped before it answered.
    Stopped,
}

/// Why a read index could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadIndexError {
    NotLeader {
        leader: Option<NodeId>,
    },
    /// No quorum confirmed that this node still leads.
    NoQuorum,
    Stopped,
}

/// A running group.
pub(crate) struct Group<RT: Runtime> {
    pub(super) options: Parts,
    pub(super) raft: Library<RT>,
    pub(super) applier: Arc<Applier>,
    pub(super) log: Log,
    /// Whether it is not to be heard as a leader for now.
    pub(super) silent: AtomicBool,
    clock: Arc<LogClock>,
    pub(super) view: Watched<View>,
    /// The membership last seen, in both forms: it changes seldom, the rest with every commit.
    pub(super) shown_membership: Mutex<(Arc<StoredMembership>, Arc<Membership>)>,
    keeper: Keeper,
    pub(super) room: Arc<Room<RT>>,
}

pub(super) type Library<RT> = Raft<TypeConfig<RT>, Machine<RT>>;
type AppendAnswer<RT> = Result<StreamAppendResult<TypeConfig<RT>>, Fatal<TypeConfig<RT>>>;

pub(super) struct Parts {
    group: GroupId,
    cluster_id: ClusterId,
    storage: Arc<dyn Storage>,
    max_unflushed: usize,
    /// After how long without a word contact counts as lost.
    pub(super) patience: Duration,
}

/// Writes the first entry of a cluster: its members with their disks. Durable before any vote.
pub(crate) async fn write_birth(
    storage: &dyn Storage,
    group: GroupId,
    members: &std::collections::BTreeMap<NodeId, Member>,
) -> Result<(), StorageError> {
    let raw = RawMembership {
        voters: vec![members.keys().copied().collect()],
        members: members.iter().map(|(node, member)| (*node, Some(member.clone()))).collect(),
    };
    let membership = from_raw_membership(&raw).map_err(|()| StorageError::Corrupt {
        what: "the bootstrap list".into(),
        detail: "a voter has no record".into(),
    })?;
    let first = from_log_id(LogId::new(0, 0));
    let mut entry: Entry = openraft::entry::RaftEntry::new_membership(first, membership);
    entry.seal(group, || LogTime::ZERO);
    let (flushed, receipt) = Flushed::pair();
    storage.write(group, Write::Append { first: LogIndex(0), entries: vec![entry.encoded] }, flushed);
    receipt.await
}

fn library_config<RT: Runtime>(config: &Config, elects: bool) -> openraft::Config {
    openraft::Config {
        cluster_name: "quorate".into(),
        heartbeat_interval: config.election.heartbeat_ms,
        election_timeout_min: config.election.timeout_min_ms,
        election_timeout_max: config.election.timeout_max_ms,
        // A snapshot is due by bytes, which the applier counts; entries say little once batched.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.snapshot.keep_entries,
        // Reads of the log are bounded by bytes.
        max_payload_entries: 4096,
        // Before its log names it, a node that joins could take itself for one that had its id.
        enable_elect: elects,
        // A node that was away must not disturb a leader when it comes back.
        enable_pre_vote: Some(true),
        // A restarted leader would serve reads from a state older than what it acknowledged.
        enable_leader_restore: Some(RT::planted(Bug::LeaderRestored)),
        allow_log_reversion: Some(false),
        ..openraft::Config::default()
    }
}

impl<RT: Runtime> Group<RT> {
    /// Starts the group from what its storage holds. The membership must be there already.
    pub(crate) async fn start(
        host: &Arc<Host<RT>>,
        found: &GroupState,
        options: GroupOptions,
    ) -> Result<Arc<Self>, StartError> {
        let config = &options.config;
        let clock = Arc::new(LogClock::new(options.monotonic));
        let (storage, group) = (options.storage, options.group);
        let mut log =
            Log::open(storage.clone(), group, found, config.limits.cache_bytes, clock.clone()).await?;
        let applier = ApplierOptions {
            cluster: options.cluster_id,
            group,
            machine: options.machine,
            snapshot_bytes: config.snapshot.log_bytes,
            clock: clock.clone(),
            consecutive: true,
            dedupe: !RT::planted(Bug::RepeatApplied),
        };
        let opening = RT::spawn_blocking(move || Applier::new(applier)).await;
        let applier =
            opening.map_err(|source| MachineError::Failed { doing: "start", source: source.into() })??;
        let room = Room::<RT>::new(storage.clone());
        let (mut _short, mut room_to_restore) = (None, Ok(()));
        if applier.durable() {
            let stored = storage.snapshot(group).await?.map(|stored| (stored.covers, stored.len));
            let applied = applier.state().0.as_ref().map(to_log_id);
            check_gap(applied, log.purged(), stored.map(|(covers, _)| covers))?;
            match (stored, applied) {
                // The process died after it was restored and before it was removed.
                (Some((covers, _)), Some(applied)) if covers <= applied => {
                    snapshot::forget(&*storage, group, applied).await;
                }
                // To be restored. The need is an estimate: it is tried whatever room there is.
                (Some((_, len)), _) => (_short, room_to_restore) = room.wait(&applier, len).await,
                (None, _) => {}
            }
            log.purge_after(applier.clone());
            let employed = applier.employ::<RT>().await;
            employed
                .map_err(|source| MachineError::Failed { doing: "get threads", source: source.into() })?;
        }
        let machine = Machine { applier: applier.clone(), storage: storage.clone(), runtime: PhantomData };
        let network = Factory {
            host: host.clone(),
            group,
            append_deadline: Duration::from_millis(config.election.timeout_max_ms),
            chunk_bytes: config.snapshot.chunk_bytes,
        };
        let library = Arc::new(library_config::<RT>(config, options.elects));
        let started = Raft::new(options.node_id.0, library, network, log.clone(), machine).await;
        let raft = match (started, applier.failure.get(), room_to_restore) {
            (Ok(raft), ..) => raft,
            (Err(_), Some(failure), Err(no_room)) => {
                tracing::warn!(%failure, "a snapshot for which there was no room was not restored");
                return Err(no_room.into());
            }
            (Err(error), failure, _) => {
                return Err(StartError::Engine { detail: failure.unwrap_or_else(|| error.to_string()) });
            }
        };
        let parts = Parts {
            group,
            cluster_id: options.cluster_id,
            storage,
            max_unflushed: config.limits.queue_bytes,
            patience: Duration::from_millis(config.election.timeout_max_ms),
        };
        let this = Arc::new(Self {
            options: parts,
            raft,
            applier,
            log,
            silent: AtomicBool::new(false),
            clock,
            view: Watched::new(View::default()),
            shown_membership: Mutex::default(),
            keeper: Keeper::start::<RT>(),
            room,
        });
        this.refresh();
        // The library shows its membership a moment later; who knows whom is needed now.
        let effective = this.raft.with_raft_state(|state| state.membership_state.effective().clone()).await;
        if let Ok(effective) = effective {
            let membership = this.membership(&effective);
            let membership_at = effective.log_id().as_ref().map(to_log_id);
            this.view.update(|view| (view.membership, view.membership_at) = (membership, membership_at));
        }
        host.tasks.spawn::<RT>(this.clone().follow_metrics());
        host.tasks.spawn::<RT>(this.clone().watch_contact());
        host.tasks.spawn::<RT>(this.clone().snapshot_when_due());
        host.tasks.spawn::<RT>(this.clone().tick_when_due());
        host.tasks.spawn::<RT>(this.clone().stop_when_failed());
        host.tasks.spawn::<RT>(this.clone().fail_with_the_storage());
        host.tasks.spawn::<RT>(this.clone().look_for_room());
        Ok(this)
    }

    #[cfg(test)]
    pub(super) fn raft(&self) -> &Library<RT> {
        &self.raft
    }

    /// Calls the library, in such a way that the caller may give up.
    pub(super) fn call<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        call: impl FnOnce(Library<RT>) -> F + Send + 'static,
    ) -> Kept<T> {
        self.keeper.call(call(self.raft.clone()))
    }

    /// Hands the library appends of a leader, in such a way that the answers may be dropped.
    pub(super) fn append(
        &self,
        requests: impl Stream<Item = AppendEntriesRequest<TypeConfig<RT>>> + Send + 'static,
    ) -> KeptAnswers<AppendAnswer<RT>> {
        self.keeper.answers(self.raft.stream_append(requests))
    }

    /// From now on it stands for election.
    pub(crate) fn elect(&self) {
        self.raft.runtime_config().elect(true);
    }

    pub(crate) fn group(&self) -> GroupId {
        self.options.group
    }

    pub(super) fn cluster(&self) -> ClusterId {
        self.options.cluster_id
    }

    pub(super) fn storage(&self) -> &dyn Storage {
        &*self.options.storage
    }

    pub(super) fn max_unflushed(&self) -> usize {
        self.options.max_unflushed
    }

    /// Whether a command would be understood at apply.
    pub(crate) fn check(&self, command: &[u8]) -> Result<(), DecodeError> {
        self.applier.check(command)
    }

    /// Answers a query from the state as it is.
    pub(crate) async fn query(&self, query: Bytes) -> Result<Answer, QueryError> {
        self.applier.query::<RT>(query).await
    }

    /// Whether a snapshot with this header could be restored here.
    pub(super) fn accepts(&self, header: &Header) -> Result<(), RestoreError> {
        self.applier.accepts(header)
    }

    /// Waits until the entry at `index` is applied.
    pub(crate) async fn applied(&self, index: LogIndex) {
        self.applier.applied(index.0).await;
    }

    /// Proposes an entry; `done` learns what became of it. It is dropped unused when the engine has
    /// stopped.
    pub(crate) async fn propose(
        &self,
        body: Body,
        done: impl FnOnce(Result<Vec<Replied>, ProposeError>) + Send + 'static,
    ) {
        self.propose_any(Proposal::Commands(body), done).await;
    }

    async fn propose_any(
        &self,
        proposal: Proposal,
        done: impl FnOnce(Result<Vec<Replied>, ProposeError>) + Send + 'static,
    ) {
        let callback = Callback::new(move |result: ClientWriteResult<TypeConfig<RT>>| {
            done(match result {
                Ok(written) => Ok(written.data.0),
                // By name: the library's own helper answers for discarded entries as well.
                Err(ClientWriteError::ForwardToLeader(to)) => {
                    Err(ProposeError::NotLeader { leader: to.leader_id.map(NodeId) })
                }
                Err(_) => Err(ProposeError::Discarded),
            });
        });
        // An error means that the engine has stopped and dropped the callback.
        drop(self.call(|raft| async move { raft.client_write_ff(proposal, Some(callback)).await }).await);
    }

    /// The index that a linearizable read has to wait for: a quorum has just confirmed that this
    /// node leads (Raft dissertation, section 6.4).
    pub(crate) async fn read_index(&self) -> Result<LogIndex, ReadIndexError> {
        if RT::planted(Bug::ReadIndexUnconfirmed)
            && let View { role: Role::Leader, committed: Some(committed), .. } = self.view.get()
        {
            return Ok(committed.index);
        }
        if self.silent.load(Ordering::Relaxed) {
            return Err(ReadIndexError::NoQuorum);
        }
        match self.call(|raft| async move { raft.get_read_linearizer(ReadPolicy::ReadIndex).await }).await {
            Ok(linearizer) => Ok(LogIndex(linearizer.read_log_id().index())),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                Err(ReadIndexError::NotLeader { leader: to.leader_id.map(NodeId) })
            }
            Err(RaftError::APIError(_)) => Err(ReadIndexError::NoQuorum),
            Err(RaftError::Fatal(_)) => Err(ReadIndexError::Stopped),
        }
    }

    /// The voter that would lose least by leading, and how far its log is known to match: of those heard
    /// from within `recent`, the one whose log is furthest. `None` when this node does not lead, or nobody
    /// was heard from.
    pub(crate) fn successor(&self, recent: Duration) -> Option<(NodeId, Option<LogIndex>)> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        let heard = metrics.heartbeat?;
        let heard = |node: &u64| heard.get(node).copied().flatten().is_some_and(|at| at.elapsed() < recent);
        let candidates = metrics.replication?.into_iter();
        let candidates =
            candidates.filter(|(node, _)| *node != metrics.id && voters.contains(node) && heard(node));
        let furthest = candidates.max_by_key(|(_, matched)| *matched);
        furthest.map(|(node, matched)| (NodeId(node), matched.map(|matched| LogIndex(matched.index))))
    }

    /// Asks `to` to take over.
    pub(crate) async fn transfer_leader(&self, to: NodeId) {
        drop(self.call(move |raft| async move { raft.trigger().transfer_leader(to.0).await }).await);
    }

    /// Stops the engine, and closes the machine; `Err` when the engine had panicked.
    pub(crate) async fn stop(&self) -> Result<(), ()> {
        let why = self.call(|raft| async move {
            // Its own answer is the same for every end; what a call after the end is told is not.
            drop(raft.shutdown().await);
            raft.external_request(|_| ()).await
        });
        let why = why.await;
        if let Err(error) = self.applier.run::<RT, _>(Applier::close).await {
            // What was not flushed is applied again after the next start.
            tracing::warn!(%error, "the machine was not flushed when it was closed");
        }
        // Clients may be held for longer than the runtime, which waits for its threads.
        self.applier.dismiss();
        if matches!(why, Err(Fatal::Panicked)) { Err(()) } else { Ok(()) }
    }

    /// Makes room, if a snapshot can: what it covers leaves the log.
    pub(crate) fn compact(&self) {
        self.applier.compact();
    }

    async fn snapshot_when_due(self: Arc<Self>) {
        const ASK_AGAIN: Duration = Duration::from_secs(5);
        let mut due = self.applier.snapshot_due.watch();
        let mut view = self.view.watch();
        while due.until(|due| *due).await.is_some() {
            let known = view.get().snapshot;
            if self.call(|raft| async move { raft.trigger().snapshot().await }).await.is_err() {
                return;
            }
            // The flag falls when the view of the machine is captured. The library ignores a request
            // while it still builds the one before: then that one's end is the time to ask again, or
            // a while later, should it have come to nothing.
            let captured = due.until(|due| !*due);
            let other = view.until(|view| view.snapshot != known || view.stopped.is_some());
            RT::select3(captured, other, RT::sleep(ASK_AGAIN)).await;
            if view.get().stopped.is_some() {
                return;
            }
        }
    }

    /// Moves the log's clock on when a deadline of the machine has come with no entry on the way.
    async fn tick_when_due(self: Arc<Self>) {
        const LOOK_AGAIN: Duration = Duration::from_millis(200);
        const WHEN_LOW: Duration = Duration::from_secs(1);
        let mut deadlines = self.applier.deadline.watch();
        loop {
            let Some(Some(deadline)) = deadlines.until(Option::is_some).await else { return };
            let view = self.view.get();
            // Without room nothing is appended that can wait.
            let leads = view.role == Role::Leader && self.health() <= Health::Low;
            let now = if leads { self.clock.now(view.term.0) } else { None };
            match now {
                Some(now) if now >= deadline && self.applier.time() < deadline => {
                    let (tx, rx) = futures::channel::oneshot::channel();
                    self.propose_any(Proposal::Tick, move |result| {
                        let _ = tx.send(result.is_ok());
                    })
                    .await;
                    if rx.await != Ok(true) {
                        // Refused at once while this leader's lease is over: not again at once.
                        RT::sleep(LOOK_AGAIN).await;
                    } else if self.health() != Health::Ok {
                        // Whoever is short of room takes every tick: they are to be few.
                        RT::sleep(WHEN_LOW).await;
                    }
                }
                Some(now) if now < deadline => {
                    let left = deadline.saturating_since(now);
                    RT::select2(deadlines.changed(), RT::sleep(left)).await;
                }
                _ => drop(RT::select2(deadlines.changed(), RT::sleep(LOOK_AGAIN)).await),
            }
        }
    }
}
