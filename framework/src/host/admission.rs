//! Who is admitted: a known key, with the node id, the disk and the cluster it is known with.

use std::collections::BTreeMap;

use super::vouch::Vouched;
use crate::format::hello::{GroupHello, Hello, Refusal};
use crate::types::{ClusterId, LogId, Member, NodeId, PeerId};

/// Everybody this node knows: the effective membership, or the bootstrap list before it is born, and
/// whom a known member has vouched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    pub(crate) members: BTreeMap<NodeId, Member>,
    /// Whether the list with disk ids is durable. An unborn node answers nothing but a census.
    pub(crate) born: bool,
    /// Whether it joins a cluster that exists: it takes entries until it is born of them.
    pub(crate) joining: bool,
    /// Where the membership stands in the log.
    pub(super) at: Option<LogId>,
    pub(super) vouched: Option<Vouched>,
}

impl Roster {
    /// The bootstrap list of a node that is not born.
    pub(crate) fn unborn(members: BTreeMap<NodeId, Member>) -> Self {
        Self { members, ..Self::default() }
    }

    /// The members that a ticket names, for a node whose log has none yet.
    pub(crate) fn joining(members: BTreeMap<NodeId, Member>) -> Self {
        Self { members, joining: true, ..Self::default() }
    }

    /// Checks the hello of the peer that the transport proved to be `peer`, and that came by itself: it may
    /// be one that has a number or a key again.
    pub(crate) fn admit_incoming(
        &self,
        cluster: ClusterId,
        machines: &[GroupHello],
        peer: &PeerId,
        hello: &Hello,
    ) -> Result<NodeId, Refusal> {
        let is = |again: &Member| {
            let named = (again.node_id, again.disk_id) == (hello.node_id, Some(hello.disk_id));
            named && again.identity == *peer
        };
        match self.again().find(|again| is(again)) {
            Some(again) => check(again, cluster, machines, hello),
            None => self.admit(cluster, machines, peer, hello),
        }
    }

    /// Checks the hello of the peer that the transport proved to be `peer`.
    pub(crate) fn admit(
        &self,
        cluster: ClusterId,
        machines: &[GroupHello],
        peer: &PeerId,
        hello: &Hello,
    ) -> Result<NodeId, Refusal> {
        let member = self.by_identity(peer).ok_or(Refusal::UnknownPeer)?;
        check(member, cluster, machines, hello)
    }
}

/// Checks a hello against the member that it has to be of.
fn check(
    member: &Member,
    cluster: ClusterId,
    machines: &[GroupHello],
    hello: &Hello,
) -> Result<NodeId, Refusal> {
    if hello.cluster_id != cluster {
        return Err(Refusal::OtherCluster(cluster));
    }
    if hello.node_id != member.node_id {
        return Err(Refusal::OtherNode(member.node_id));
    }
    if let Some(recorded) = member.disk_id.filter(|recorded| *recorded != hello.disk_id) {
        return Err(Refusal::OtherDisk { recorded });
    }
    for ours in machines {
        let theirs = hello.groups.iter().find(|theirs| theirs.group == ours.group);
        if theirs.is_some_and(|theirs| theirs.machine != ours.machine) {
            return Err(Refusal::OtherMachine { group: ours.group, machine: ours.machine.clone() });
        }
    }
    Ok(member.node_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BootId, DiskId, GroupId};

    const CLUSTER: ClusterId = ClusterId([1; 32]);

    fn peer(byte: u8) -> PeerId {
        PeerId::new([byte]).expect("one byte")
    }

    fn machine(name: &str) -> Vec<GroupHello> {
        vec![GroupHello { group: GroupId::MAIN, machine: name.into(), version: 1 }]
    }

    fn admit(identity: u8, change: impl FnOnce(&mut Hello)) -> Result<NodeId, Refusal> {
        let mut member = Member::new(2, peer(2), "a");
        member.disk_id = Some(DiskId([2; 16]));
        let roster = Roster { born: true, ..Roster::unborn([(NodeId(2), member)].into()) };
        let mut hello = Hello {
            cluster_id: CLUSTER,
            node_id: NodeId(2),
            disk_id: DiskId([2; 16]),
            boot_id: BootId(1),
            groups: machine("kv"),
        };
        change(&mut hello);
        roster.admit(CLUSTER, &machine("kv"), &peer(identity), &hello)
    }

    #[test]
    fn a_member_with_its_own_disk_is_admitted() {
        assert_eq!(admit(2, |_| {}), Ok(NodeId(2)));
    }

    #[test]
    fn a_wiped_member_is_refused_with_the_disk_it_had() {
        let refused = admit(2, |hello| hello.disk_id = DiskId([3; 16]));
        assert_eq!(refused, Err(Refusal::OtherDisk { recorded: DiskId([2; 16]) }));
    }

    #[test]
    fn strangers_and_mistaken_peers_are_refused() {
        assert_eq!(admit(9, |_| {}), Err(Refusal::UnknownPeer));
        assert_eq!(admit(2, |hello| hello.cluster_id.0[0] = 9), Err(Refusal::OtherCluster(CLUSTER)));
        assert_eq!(admit(2, |hello| hello.node_id = NodeId(3)), Err(Refusal::OtherNode(NodeId(2))));
        assert!(matches!(
            admit(2, |hello| hello.groups = machine("bank")),
            Err(Refusal::OtherMachine { .. })
        ));
    }
}
