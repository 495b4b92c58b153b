//! What a group shows of itself: made from the library's metrics, and from what does not happen.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use openraft::ServerState;
use openraft::metrics::SerdeInstant;

use super::group::Group;
use super::runtime::{Runtime, WatchReceiver as _, now};
use super::types::{StoredMembership, to_log_id, to_membership};
use crate::node::status::Role;
use crate::types::{LogId, LogIndex, Membership, NodeId, Term};
use crate::watch::Watcher;

/// What the engine shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) role: Role,
    pub(crate) term: Term,
    pub(crate) leader: Option<NodeId>,
    /// Whether, as leader, it was answered by a quorum lately; otherwise, heard from the leader.
    pub(crate) connected: bool,
    pub(crate) last_log: Option<LogIndex>,
    pub(crate) committed: Option<LogId>,
    pub(crate) applied: Option<LogId>,
    pub(crate) snapshot: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) membership: Arc<Membership>,
    /// Where the membership stands in the log.
    pub(crate) membership_at: Option<LogId>,
    /// Why the engine has stopped.
    pub(crate) stopped: Option<String>,
}

/// After how many times its patience without a majority a leader falls silent, and for how many.
///
/// One that reaches voters, and too few, keeps those from electing one that reaches enough, as long as they
/// hear it. But answers wait for the disk: a majority whose disks stall for a while is not to lose its leader
/// for that.
const ALONE: u32 = 3;
const SILENT: u32 = 3;

impl<RT: Runtime> Group<RT> {
    /// Watches what the engine shows of itself.
    pub(crate) fn view(&self) -> Watcher<View> {
        self.view.watch()
    }

    /// Resolves when another node than `asked` leads in a term after `term`.
    pub(crate) fn moved_on(&self, term: Term, asked: NodeId) -> impl Future<Output = ()> + Send + use<RT> {
        let mut view = self.view.watch();
        let leads = move |view: &View| view.term > term && view.leader.is_some_and(|leader| leader != asked);
        async move { drop(view.until(leads).await) }
    }

    pub(super) fn refresh(&self) {
        let metrics = self.raft.metrics();
        // Not a copy of the whole: it holds a map per follower and changes with every write. The
        // library cannot show anything new while it is borrowed, so nothing here waits.
        let metrics = metrics.borrow_watched();
        let fatal = metrics.running_state.as_ref().err().map(ToString::to_string);
        let mut view = View {
            connected: false,
            role: match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner => Role::Learner,
                ServerState::Follower | ServerState::Shutdown => Role::Follower,
            },
            term: Term(metrics.current_term),
            leader: metrics.current_leader.map(NodeId),
            last_log: metrics.last_log_index.map(LogIndex),
            committed: metrics.local_committed.as_ref().map(to_log_id),
            applied: metrics.last_applied.as_ref().map(to_log_id),
            snapshot: metrics.snapshot.as_ref().map(to_log_id),
            purged: metrics.purged.as_ref().map(to_log_id),
            membership: self.membership(&metrics.membership_config),
            membership_at: metrics.membership_config.log_id().as_ref().map(to_log_id),
            stopped: fatal.map(|fatal| self.applier.failure.get().unwrap_or(fatal)),
        };
        drop(metrics);
        // Whoever has just come to lead, or to know who does, has just heard from somebody.
        view.connected = self.view.with(|known| match view.leader {
            Some(_) if (known.leader, known.term) != (view.leader, view.term) => true,
            leader => leader.is_some() && known.connected,
        });
        self.view.set(view);
    }

    /// When a quorum last answered this leader, or this node last heard from its leader.
    async fn last_contact(&self) -> Option<RT::Instant> {
        if self.view.with(|view| view.role) == Role::Leader {
            return self.raft.metrics().borrow_watched().last_quorum_acked.map(SerdeInstant::into_inner);
        }
        let heard = self.call(|raft| async move {
            let look = raft.with_raft_state(|state| {
                let of_a_leader = state.vote_ref().is_committed();
                of_a_leader.then(|| state.vote_last_modified()).flatten()
            });
            look.await
        });
        heard.await.ok().flatten()
    }

    /// Looks again and again, as it is by nothing happening that contact is lost.
    pub(super) async fn watch_contact(self: Arc<Self>) {
        let patience = self.options.patience;
        let mut alone = None;
        while self.view.with(|view| view.stopped.is_none()) {
            RT::sleep(patience / 2).await;
            let recent = self.last_contact().await.is_some_and(|at| now::<RT>() < at + patience);
            self.view.update(|view| view.connected = recent && view.leader.is_some());
            let (now, term) = (now::<RT>(), self.view.with(|view| view.term));
            let lonely = !recent && self.leads_others();
            alone = lonely.then(|| alone.filter(|(of, _)| *of == term).unwrap_or((term, now)));
            let for_times =
                alone.map_or(0, |(_, since)| (now - since).as_millis() / patience.as_millis().max(1));
            self.be_silent(for_times % u128::from(ALONE + SILENT) >= u128::from(ALONE));
        }
    }

    /// Whether this node leads, and not itself alone.
    fn leads_others(&self) -> bool {
        let own = NodeId(self.raft.metrics().borrow_watched().id);
        self.view.with(|view| {
            let alone = view.membership.voters.iter().all(|set| set.iter().all(|voter| *voter == own));
            view.role == Role::Leader && !alone
        })
    }

    /// Keeps this leader from being heard, by heartbeats and by those that a read would send.
    fn be_silent(&self, silent: bool) {
        if self.silent.swap(silent, Ordering::Relaxed) != silent {
            tracing::info!(silent, "no majority answers this leader");
            self.raft.runtime_config().heartbeat(!silent);
        }
    }

    pub(super) fn membership(&self, current: &Arc<StoredMembership>) -> Arc<Membership> {
        let mut known = self.shown_membership.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&known.0, current) {
            *known = (current.clone(), Arc::new(to_membership(current.membership())));
        }
        known.1.clone()
    }

    pub(super) async fn follow_metrics(self: Arc<Self>) {
        let mut metrics = self.raft.metrics();
        while metrics.changed().await.is_ok() {
            self.refresh();
        }
        self.view.update(|view| {
            let reason = self.applier.failure.get().unwrap_or_else(|| "the engine has stopped".into());
            view.stopped.get_or_insert(reason);
        });
    }
}
