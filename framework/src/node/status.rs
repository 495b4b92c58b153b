//! How a node is doing, as a value that can be watched.

use std::sync::Arc;

use crate::storage::Health;
use crate::types::{ClusterId, LogId, LogIndex, Membership, NodeId, Term};

/// What a node does in the group, just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Appends entries and sends them to the others.
    Leader,
    /// Takes entries from a leader.
    #[default]
    Follower,
    /// Stands for election.
    Candidate,
    /// Takes entries and does not vote.
    Learner,
}

/// Where in its life a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It reads its storage.
    #[default]
    Starting,
    /// It is not part of its cluster yet, and serves nothing. Of a new cluster it waits for these
    /// members, who have not answered yet, or not come to the same list. Of one that exists it waits until
    /// they have recorded its disk, and sent it who the members are.
    Joining {
        /// Who is waited for.
        waiting_for: Vec<NodeId>,
        /// Who of them has answered, and does not fit: it knows this node not at all, or belongs to
        /// another cluster. The log says which. Until it is started rightly nothing goes on.
        unfit: Vec<NodeId>,
    },
    /// It takes part.
    Running,
    /// It was removed: its log says so, or a majority of the voters that it knows does not admit it as
    /// they know of no such member. It votes for nobody, and nobody sends it anything: shut it down. To
    /// bring the machine back, add it under a new node id and start it with an empty directory.
    Removed,
    /// It refuses new calls and completes the others.
    ShuttingDown,
    /// It is down.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// How a node is doing.
///
/// What it says of the log is shown a moment after it is so, and after whoever wrote was answered: to
/// see on another node what was acknowledged, read there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The node.
    pub node_id: NodeId,
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// Where in its life it is.
    pub phase: Phase,
    /// What it does.
    pub role: Role,
    /// The term it is in. Never goes back.
    pub term: Term,
    /// The leader of that term, as far as it knows.
    pub leader: Option<NodeId>,
    /// Whether it is in touch with the others: as leader, a quorum has answered lately; otherwise,
    /// it has heard from the leader lately. What it says of role and leader may be out of date when
    /// it is not. Lately is within `timeout_max_ms`, and may take half as long again to show.
    pub connected: bool,
    /// The last entry in its log.
    pub last_log: Option<LogIndex>,
    /// The last entry it knows to be committed. May go back at a restart.
    pub committed: Option<LogId>,
    /// The last entry applied to its machine. May go back at a restart.
    pub applied: Option<LogId>,
    /// The last entry that its snapshot covers; of a machine on a disk, up to where it was flushed
    /// when the log was last compacted.
    pub snapshot: Option<LogId>,
    /// The last entry removed from the head of its log.
    pub purged: Option<LogId>,
    /// The members, as far as they are in its log.
    pub membership: Arc<Membership>,
    /// Whether its storage has room, and its machine, when that is on a disk.
    pub health: Health,
}

impl Status {
    pub(crate) fn new(node_id: NodeId, cluster_id: ClusterId) -> Self {
        Self {
            node_id,
            cluster_id,
            phase: Phase::default(),
            role: Role::default(),
            term: Term::default(),
            leader: None,
            connected: false,
            last_log: None,
            committed: None,
            applied: None,
            snapshot: None,
            purged: None,
            membership: Arc::default(),
            health: Health::Ok,
        }
    }

    /// Whether the node has stopped, and why.
    pub fn stopped(&self) -> Option<&str> {
        match &self.phase {
            Phase::Stopped { reason } => Some(reason),
            _ => None,
        }
    }
}
