//! Why a node does not join a cluster.

use crate::types::{ClusterId, DiskId, NodeId, PeerId};

/// The ticket, the data directory and the key do not fit together, or the members of the cluster do not
/// admit this node. The text says the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The ticket does not name the node that it is for.
    #[error("the ticket is for node {}, which is none of the members that it names: have a new one made", node_id.get())]
    NotNamed {
        /// Whom it is for.
        node_id: NodeId,
    },
    /// The data directory belongs to another cluster than the ticket.
    #[error(
        "the data directory belongs to cluster {recorded}, but the ticket is of cluster {offered}: give this node an empty directory, or a ticket of its own cluster"
    )]
    OtherCluster {
        /// The cluster on the disk.
        recorded: ClusterId,
        /// The cluster of the ticket.
        offered: ClusterId,
    },
    /// The data directory belongs to another node than the ticket.
    #[error("the data directory belongs to node {recorded}, but the ticket is for node {offered}: give this node a directory of its own, or its own ticket", recorded = recorded.get(), offered = offered.get())]
    OtherNode {
        /// Who owns it.
        recorded: NodeId,
        /// Whom the ticket is for.
        offered: NodeId,
    },
    /// The configured node id is not the one that the ticket is for.
    #[error("the configuration says node {configured}, but the ticket is for node {offered}: correct `node.id`, or use the ticket of node {configured}", configured = configured.get(), offered = offered.get())]
    OtherNodeId {
        /// The id in the configuration.
        configured: NodeId,
        /// Whom the ticket is for.
        offered: NodeId,
    },
    /// The key of this node is not the one it was added with.
    #[error("the ticket is for the key {invited}, but this node has key {found}: give it the key that it was added with, or remove node {} and add it under a new node id with this key", node_id.get())]
    OtherKey {
        /// Whom the ticket is for.
        node_id: NodeId,
        /// The key that the member was added with.
        invited: PeerId,
        /// The key of this node.
        found: PeerId,
    },
    /// The members know this node with another disk: this one was wiped or replaced.
    #[error("node {} has joined already, with disk {recorded}, but this directory is disk {found}: what it has promised is lost; restore the old directory, or remove the node from the cluster and add it under a new node id", node_id.get())]
    DiskReplaced {
        /// This node.
        node_id: NodeId,
        /// The disk the cluster knows.
        recorded: DiskId,
        /// The disk it has now.
        found: DiskId,
    },
    /// The members know the key of this node under another number.
    #[error("the members know the key of this node as node {theirs}, but the ticket is for node {ours}: use the ticket of node {theirs}", theirs = theirs.get(), ours = ours.get())]
    KnownAs {
        /// The number they know it under.
        theirs: NodeId,
        /// Whom the ticket is for.
        ours: NodeId,
    },
    /// None of the members knows this node's key.
    #[error(
        "none of the members that answer knows the key of this node, {identity}: add it to the cluster before it joins, or, if it was removed, add it again under a new node id and start it with an empty directory and a new ticket"
    )]
    NotAdmitted {
        /// The key of this node.
        identity: PeerId,
    },
    /// A member belongs to another cluster than the ticket.
    #[error("node {} belongs to cluster {theirs}, but the ticket is of cluster {ours}: have a new ticket made", peer.get())]
    PeerInOtherCluster {
        /// The member.
        peer: NodeId,
        /// Its cluster.
        theirs: ClusterId,
        /// The cluster of the ticket.
        ours: ClusterId,
    },
}
