//! Why a node does not start.

use super::{JoinError, MachineError, StorageError, TransportError};
use crate::node::config::ConfigError;
use crate::state_machine::RestoreError;
use crate::types::{ClusterId, DiskId, NodeId, PeerId};

/// A node could not start. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration has wrong fields; every one is named.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The storage failed.
    #[error("the storage failed")]
    Storage(#[from] StorageError),
    /// The transport failed.
    #[error("the transport failed")]
    Transport(#[from] TransportError),
    /// The cluster description or the data directory does not fit.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The ticket does not fit, or the members do not admit this node.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The stored snapshot cannot be restored.
    #[error("the stored snapshot cannot be restored")]
    Restore(#[from] RestoreError),
    /// The file of a machine on a disk does not fit.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The consensus engine refused to start.
    #[error("the consensus engine did not start: {detail}")]
    Engine {
        /// What it said.
        detail: String,
    },
}

/// The cluster description or the data directory does not fit this node. The text says the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// The bootstrap list is empty.
    #[error("the bootstrap list is empty: name every first member of the cluster")]
    Empty,
    /// Two members have one node id.
    #[error("node id {node_id} stands twice in the bootstrap list", node_id = node_id.get())]
    NodeTwice {
        /// The id.
        node_id: NodeId,
    },
    /// A member has the node id 0, which is no node.
    #[error("a member of the bootstrap list has the node id 0: number the nodes from 1")]
    NodeZero,
    /// A member's address is empty or too long.
    #[error("the address of node {} has {found} bytes: expected 1 to 1024", node_id.get())]
    Address {
        /// Whose address.
        node_id: NodeId,
        /// How many bytes it has.
        found: usize,
    },
    /// Two nodes were given different addresses for one member.
    #[error("node {} was started with address {theirs} for node {}, this node with {ours}: give every node the same list", peer.get(), node_id.get())]
    OtherAddress {
        /// The node that was asked.
        peer: NodeId,
        /// The member they differ on.
        node_id: NodeId,
        /// The address in that node's list.
        theirs: String,
        /// The address in this node's list.
        ours: String,
    },
    /// Two members have one identity.
    #[error("the key {identity} stands twice in the bootstrap list")]
    IdentityTwice {
        /// The identity.
        identity: PeerId,
    },
    /// This node's key is not in the list.
    #[error(
        "the key of this node, {identity}, is not in the bootstrap list: add its line, or give this node the key that the list names"
    )]
    NotListed {
        /// The key of this node.
        identity: PeerId,
    },
    /// The configured node id is not the one that the list has for this node's key.
    #[error("the configuration says node {configured}, but the key of this node belongs to node {listed}: correct `node.id`, or use the key of node {configured}", configured = configured.get(), listed = listed.get())]
    OtherNodeId {
        /// The id in the configuration.
        configured: NodeId,
        /// The id of the member with this node's key.
        listed: NodeId,
    },
    /// The key of this node is not the one its membership records.
    #[error("node {node_id} is known by key {recorded}, but this node has key {found}: restore its key, or remove the node from the cluster and add it under a new node id", node_id = node_id.get())]
    OtherKey {
        /// This node.
        node_id: NodeId,
        /// The key in the membership.
        recorded: PeerId,
        /// The key it has now.
        found: PeerId,
    },
    /// The data directory belongs to another node.
    #[error("the data directory belongs to node {recorded}, not to node {offered}: give this node a directory of its own", recorded = recorded.get(), offered = offered.get())]
    OtherNode {
        /// Who owns it.
        recorded: NodeId,
        /// Who opened it.
        offered: NodeId,
    },
    /// The data directory belongs to another cluster.
    #[error(
        "the data directory belongs to cluster {recorded}, but the bootstrap list describes cluster {offered}: give this node an empty directory, or the bootstrap list its cluster was born with"
    )]
    OtherCluster {
        /// The cluster on the disk.
        recorded: ClusterId,
        /// The cluster of the list.
        offered: ClusterId,
    },
    /// The data directory is empty, and no bootstrap list was given.
    #[error(
        "the data directory is empty and no bootstrap list was given: describe the cluster on the first start"
    )]
    NothingRecorded,
    /// The members know this node with another disk: this one was wiped or replaced.
    #[error("node {} is known with disk {recorded}, but this directory is disk {found}: its votes and entries are lost, and it must not come back under its old id; restore the old directory, or remove the node from the cluster and add it under a new node id and key", node_id.get())]
    DiskReplaced {
        /// This node.
        node_id: NodeId,
        /// The disk the cluster knows.
        recorded: DiskId,
        /// The disk it has now.
        found: DiskId,
    },
    /// A member does not admit this node: its list, or the membership of its cluster, has no such key.
    #[error("node {} does not know the key of this node, {identity}: before the cluster is born, give every node the same bootstrap list; beside a cluster that exists, restore the key and the directory that it knows, or have the node added to it under a new node id", peer.get())]
    NotAdmitted {
        /// The member.
        peer: NodeId,
        /// The key of this node.
        identity: PeerId,
    },
    /// A member was started with another bootstrap list or cluster name.
    #[error("node {} belongs to cluster {theirs}, this node to {ours}: give every node the same name and bootstrap list", peer.get())]
    PeerInOtherCluster {
        /// The member.
        peer: NodeId,
        /// Its cluster.
        theirs: ClusterId,
        /// Ours.
        ours: ClusterId,
    },
}
