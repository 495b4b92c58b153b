//! The outcome of a change of members that did not succeed.

use std::time::Duration;

use super::Unknown;
use crate::types::{LogIndex, NodeId, PeerId};

/// Why a question about the members, or a change of them, has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembersError {
    /// Refused before it was appended anywhere: nothing was changed by this call and nothing will be.
    /// Call again once the reason is gone.
    #[error("not applied: {0}")]
    NotApplied(NotChanged),
    /// It may have been applied, may yet be, or may never be.
    #[error("outcome unknown: {why}: ask for the list of members, or make the same call again")]
    OutcomeUnknown {
        /// What got in the way of an answer.
        why: Unknown,
    },
}

impl MembersError {
    /// Whether it is certain what happened: `false` only for [`Self::OutcomeUnknown`].
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::OutcomeUnknown { .. })
    }
}

impl From<NotChanged> for MembersError {
    fn from(reason: NotChanged) -> Self {
        Self::NotApplied(reason)
    }
}

/// Why a change of members was refused. Nothing was appended. The text says the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotChanged {
    /// No leader could be reached within the deadline.
    #[error("no leader with a quorum was found within {waited:?}")]
    NoLeader {
        /// How long the call waited.
        waited: Duration,
    },
    /// The deadline passed before anything was proposed.
    #[error("the deadline passed before it was proposed")]
    Deadline,
    /// Another change is not finished yet.
    #[error("another change of the members is under way: call again once it is finished")]
    ChangeUnderWay,
    /// A member has the node id 0, which is no node.
    #[error("the node id 0 is no node: number the nodes from 1")]
    NodeZero,
    /// A member's address is empty or too long.
    #[error("the address of node {} has {found} bytes: expected 1 to 1024", node_id.get())]
    Address {
        /// Whose address.
        node_id: NodeId,
        /// How many bytes it has.
        found: usize,
    },
    /// Another member has this node id.
    #[error(
        "node {} is a member already, with key {identity} at {address}: give the new member an id of its own",
        node_id.get()
    )]
    NodeTaken {
        /// The id.
        node_id: NodeId,
        /// The key that the member with this id has.
        identity: PeerId,
        /// The address that the member with this id has.
        address: String,
    },
    /// Another member has this key.
    #[error("the key {identity} belongs to node {} already: give the new member a key of its own", node_id.get())]
    IdentityTaken {
        /// The key.
        identity: PeerId,
        /// Whose it is.
        node_id: NodeId,
    },
    /// No member has this node id.
    #[error("node {} is not a member: it was never added, or was removed already", node_id.get())]
    UnknownNode {
        /// The id.
        node_id: NodeId,
    },
    /// It is a learner, and a voter was to be replaced.
    #[error("node {} is a learner: remove it, and add the other one", node_id.get())]
    NotAVoter {
        /// The learner.
        node_id: NodeId,
    },
    /// It votes already, and was to take another voter's place.
    #[error("node {} votes already: to be one voter less, remove the other one", node_id.get())]
    VotesAlready {
        /// The voter.
        node_id: NodeId,
    },
    /// The learner has not been seen yet, so that its disk is not recorded, and nobody could tell it from
    /// one that was wiped.
    #[error("node {} has not joined yet: start it with its ticket", node_id.get())]
    NotJoined {
        /// The learner.
        node_id: NodeId,
    },
    /// The learner was not heard from lately.
    #[error("node {} does not answer: bring it back first, or remove it", node_id.get())]
    Silent {
        /// The learner.
        node_id: NodeId,
    },
    /// The learner lacks too much of the log to be counted on.
    #[error(
        "node {} has {} of the log, which goes up to {last}: call again when it has caught up",
        node_id.get(),
        matched.map_or_else(|| "nothing".to_owned(), |matched| format!("up to {matched}"))
    )]
    Behind {
        /// The learner.
        node_id: NodeId,
        /// How far its log is known to match the leader's.
        matched: Option<LogIndex>,
        /// How far it was waited for.
        last: LogIndex,
    },
    /// Afterwards too few of the voters would be alive to decide anything.
    #[error(
        "of the {voters} voters there would be, only {live} answer, and {} must: bring back those that are down, or remove or replace them first",
        voters / 2 + 1
    )]
    NoQuorum {
        /// How many voters there would be.
        voters: usize,
        /// How many of them were heard from lately.
        live: usize,
    },
    /// It is the only voter there is.
    #[error("node {} is the last voter: promote another before it is removed", node_id.get())]
    LastVoter {
        /// The voter.
        node_id: NodeId,
    },
    /// The leader's disk runs out of space.
    #[error("the leader's disk is full")]
    DiskFull,
    /// The node that was asked cannot do this: it runs an older build.
    #[error("the leader runs a build that does not know this call: bring all nodes to the same build first")]
    NotUnderstood,
    /// This node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// This node has stopped; its status says why.
    #[error("the node has stopped")]
    Stopped,
    /// This node has not been admitted to its cluster yet.
    #[error("the node has not joined its cluster yet")]
    NotReady,
}
