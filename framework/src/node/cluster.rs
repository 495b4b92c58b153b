//! Which cluster a node belongs to.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::Ticket;
use crate::error::BootstrapError;
use crate::types::{ClusterId, Member, NodeId, PeerId};

/// Which cluster a node belongs to. Every first member is given the same name and list; it stays in
/// the program across restarts, and is then only a cross-check of what the disk records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub(super) name: String,
    /// `None` to take what the disk records, or the ticket says.
    pub(super) members: Option<Vec<Member>>,
    /// Of a cluster that exists.
    pub(super) ticket: Option<Ticket>,
}

impl Cluster {
    /// A new cluster of these voters.
    pub fn bootstrap(members: impl IntoIterator<Item = Member>) -> Self {
        Self { name: String::new(), members: Some(members.into_iter().collect()), ticket: None }
    }

    /// A running cluster, to which this node was [added](super::Members::add_learner). It begins on an
    /// empty storage; from then on the storage says whose it is, and the ticket is only a cross-check.
    pub fn join(ticket: Ticket) -> Self {
        Self { name: String::new(), members: None, ticket: Some(ticket) }
    }

    /// The cluster that the node's storage records. Starting on an empty one is an error.
    pub fn recorded() -> Self {
        Self { name: String::new(), members: None, ticket: None }
    }

    /// Gives a new cluster a name, so that two clusters of the same members are told apart. A ticket
    /// says which one it is of by itself.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The list by node id, checked; `None` when the disk decides.
    pub(super) fn list(&self) -> Result<Option<BTreeMap<NodeId, Member>>, BootstrapError> {
        let Some(members) = &self.members else { return Ok(None) };
        if members.is_empty() {
            return Err(BootstrapError::Empty);
        }
        let mut list: BTreeMap<NodeId, Member> = BTreeMap::new();
        for member in members {
            if member.node_id.get() == 0 {
                return Err(BootstrapError::NodeZero);
            }
            let found = member.address.len();
            if !(1..=Member::MAX_ADDRESS_BYTES).contains(&found) {
                return Err(BootstrapError::Address { node_id: member.node_id, found });
            }
            if list.contains_key(&member.node_id) {
                return Err(BootstrapError::NodeTwice { node_id: member.node_id });
            }
            if list.values().any(|other| other.identity == member.identity) {
                return Err(BootstrapError::IdentityTwice { identity: member.identity.clone() });
            }
            list.insert(member.node_id, member.clone());
        }
        Ok(Some(list))
    }

    /// The id of the cluster of this name and list: SHA-256 of `quorate cluster 1`, the name's
    /// length and the name, and each member's id, identity length and identity, by node id.
    /// Addresses are hints and do not count.
    pub(super) fn id(&self, list: &BTreeMap<NodeId, Member>) -> ClusterId {
        let mut hash = Sha256::new();
        let text = |hash: &mut Sha256, bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        hash.update(b"quorate cluster 1");
        text(&mut hash, self.name.as_bytes());
        for (node, member) in list {
            hash.update(node.0.to_le_bytes());
            text(&mut hash, member.identity.as_bytes());
        }
        ClusterId(hash.finalize().into())
    }

    /// The member of `list` with this identity.
    pub(super) fn own<'a>(
        list: &'a BTreeMap<NodeId, Member>,
        identity: &PeerId,
    ) -> Result<&'a Member, BootstrapError> {
        let own = list.values().find(|member| member.identity == *identity);
        own.ok_or_else(|| BootstrapError::NotListed { identity: identity.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u64, key: u8) -> Member {
        Member::new(node, PeerId::new([key]).expect("one byte"), format!("host-{node}"))
    }

    fn id(cluster: &Cluster) -> ClusterId {
        cluster.id(&cluster.list().expect("good").expect("some"))
    }

    #[test]
    fn nodes_that_bootstrap_independently_agree_on_the_id() {
        let one = Cluster::bootstrap([member(1, 1), member(2, 2)]);
        let mut moved = member(1, 1);
        moved.address = "elsewhere".into();
        let two = Cluster::bootstrap([member(2, 2), moved]);
        assert_eq!(id(&one), id(&two));
        assert_ne!(id(&one), id(&one.clone().named("other")));
        assert_ne!(id(&one), id(&Cluster::bootstrap([member(1, 1), member(2, 3)])));
    }

    #[test]
    fn golden_cluster_id() {
        // The SHA-256 of these bytes, taken with another program.
        let mut bytes = b"quorate cluster 1".to_vec();
        bytes.extend([2, 0, 0, 0, 0, 0, 0, 0, b'k', b'v']);
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        let golden = "a2fe8e20f2224d3039fb420693892ba8631c5aac660c5e9666654580a768e560";
        assert_eq!(ClusterId(Sha256::digest(&bytes).into()).to_string(), golden);
        assert_eq!(id(&Cluster::bootstrap([member(1, 1)]).named("kv")).to_string(), golden);
    }

    #[test]
    fn a_list_that_contradicts_itself_is_refused() {
        let list = |members: &[Member]| Cluster::bootstrap(members.to_vec()).list();
        assert_eq!(list(&[]), Err(BootstrapError::Empty));
        assert_eq!(list(&[member(0, 1)]), Err(BootstrapError::NodeZero));
        let mut nowhere = member(1, 1);
        nowhere.address = String::new();
        assert_eq!(list(&[nowhere]), Err(BootstrapError::Address { node_id: NodeId(1), found: 0 }));
        assert_eq!(
            list(&[member(1, 1), member(1, 2)]),
            Err(BootstrapError::NodeTwice { node_id: NodeId(1) })
        );
        assert!(matches!(list(&[member(1, 1), member(2, 1)]), Err(BootstrapError::IdentityTwice { .. })));
    }
}
