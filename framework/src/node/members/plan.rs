//! What a change comes to, from the membership as it is. Decides, and does nothing.
//!
//! A change of voters goes through a joint membership (Raft paper, section 6), in which both majorities
//! are needed: it is safe whatever the change is, and a replacement is one change and not two.

use std::collections::BTreeSet;

use crate::error::NotChanged;
use crate::types::{Member, Membership, MembershipKind, NodeId};

/// A change that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new learner, whose disk nobody has seen yet.
    Add(Member),
    /// A learner becomes a voter.
    Promote(NodeId),
    /// A member is one no more.
    Remove(NodeId),
    /// A learner becomes a voter in the place of another one.
    Swap { old: NodeId, new: NodeId },
}

impl Change {
    /// The learner that is to vote.
    pub(crate) fn promoted(&self) -> Option<NodeId> {
        match self {
            Self::Promote(node) | Self::Swap { new: node, .. } => Some(*node),
            Self::Add(_) | Self::Remove(_) => None,
        }
    }
}

/// What is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: it is as it was asked for.
    Done,
    /// A membership of the same voters.
    Members(Membership),
    /// A joint membership, which [`settled`] follows.
    Voters(Membership),
}

/// What `change` comes to in a membership that is not joint.
pub(crate) fn plan(now: &Membership, change: &Change) -> Result<Plan, NotChanged> {
    match change {
        Change::Add(member) => add(now, member),
        Change::Promote(node_id) => match now.kind(*node_id) {
            Some(MembershipKind::Voter) => Ok(Plan::Done),
            Some(MembershipKind::Learner) => voters(now, Some(*node_id), None),
            None => Err(NotChanged::UnknownNode { node_id: *node_id }),
        },
        Change::Remove(node_id) => match now.kind(*node_id) {
            Some(MembershipKind::Voter) => voters(now, None, Some(*node_id)),
            Some(MembershipKind::Learner) => {
                let mut next = now.clone();
                next.members.remove(node_id);
                Ok(Plan::Members(next))
            }
            None => Err(NotChanged::UnknownNode { node_id: *node_id }),
        },
        Change::Swap { old, new } => match (now.kind(*old), now.kind(*new)) {
            // The new one voted in no other way than in the place of the old one.
            (None, Some(MembershipKind::Voter)) => Ok(Plan::Done),
            (None, _) => Err(NotChanged::UnknownNode { node_id: *old }),
            (_, None) => Err(NotChanged::UnknownNode { node_id: *new }),
            (Some(MembershipKind::Learner), _) => Err(NotChanged::NotAVoter { node_id: *old }),
            // Not half of a replacement, which is one change: one voter less was not asked for.
            (Some(MembershipKind::Voter), Some(MembershipKind::Voter)) => {
                Err(NotChanged::VotesAlready { node_id: *new })
            }
            (Some(MembershipKind::Voter), Some(MembershipKind::Learner)) => {
                voters(now, Some(*new), Some(*old))
            }
        },
    }
}

/// Checks what a member of any list must be.
fn add(now: &Membership, member: &Member) -> Result<Plan, NotChanged> {
    let node_id = member.node_id;
    if node_id.get() == 0 {
        return Err(NotChanged::NodeZero);
    }
    let found = member.address.len();
    if !(1..=Member::MAX_ADDRESS_BYTES).contains(&found) {
        return Err(NotChanged::Address { node_id, found });
    }
    if let Some(known) = now.members.get(&node_id) {
        if (&known.identity, &known.address) == (&member.identity, &member.address) {
            return Ok(Plan::Done);
        }
        let (identity, address) = (known.identity.clone(), known.address.clone());
        return Err(NotChanged::NodeTaken { node_id, identity, address });
    }
    if let Some(known) = now.by_identity(&member.identity) {
        let (identity, node_id) = (member.identity.clone(), known.node_id);
        return Err(NotChanged::IdentityTaken { identity, node_id });
    }
    let mut next = now.clone();
    next.members.insert(node_id, Member { disk_id: None, ..member.clone() });
    Ok(Plan::Members(next))
}

/// The joint membership in which `added` votes as well, and `removed` for the last time.
fn voters(now: &Membership, added: Option<NodeId>, removed: Option<NodeId>) -> Result<Plan, NotChanged> {
    let mut next = now.clone();
    let mut voters = now.voters.last().cloned().unwrap_or_default();
    voters.extend(added);
    if let Some(node_id) = removed {
        voters.remove(&node_id);
        if voters.is_empty() {
            return Err(NotChanged::LastVoter { node_id });
        }
    }
    next.voters.push(voters);
    Ok(Plan::Voters(next))
}

/// What a joint membership leads to: its second set of voters. Whoever votes no more is no member; `None`
/// when it is not joint.
pub(crate) fn settled(joint: &Membership) -> Option<Membership> {
    let [old @ .., new] = &joint.voters[..] else { return None };
    if old.is_empty() {
        return None;
    }
    let mut next = Membership { voters: vec![new.clone()], members: joint.members.clone() };
    let leaves = |node: &NodeId| old.iter().any(|set| set.contains(node)) && !new.contains(node);
    next.members.retain(|node, _| !leaves(node));
    Some(next)
}

/// Checks that each set of voters has a majority among those who are alive.
pub(crate) fn check_quorum(next: &Membership, alive: &BTreeSet<NodeId>) -> Result<(), NotChanged> {
    for set in &next.voters {
        let (voters, live) = (set.len(), set.intersection(alive).count());
        if live <= voters / 2 {
            return Err(NotChanged::NoQuorum { voters, live });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DiskId, PeerId};

    fn member(node: u64) -> Member {
        let key = PeerId::new([node as u8]).expect("one byte");
        Member { disk_id: Some(DiskId([node as u8; 16])), ..Member::new(node, key, "a") }
    }

    fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    fn membership(voters: &[&[u64]], members: &[u64]) -> Membership {
        Membership {
            voters: voters.iter().map(|voters| set(voters)).collect(),
            members: members.iter().map(|node| (NodeId(*node), member(*node))).collect(),
        }
    }

    /// Voters 1 to 3, and node 4 as a learner.
    fn now() -> Membership {
        membership(&[&[1, 2, 3]], &[1, 2, 3, 4])
    }

    fn node(node: u64) -> NodeId {
        NodeId(node)
    }

    #[test]
    fn a_member_is_added_as_a_learner_without_a_disk() {
        let mut next = now();
        next.members.insert(node(5), Member { disk_id: None, ..member(5) });
        assert_eq!(plan(&now(), &Change::Add(member(5))), Ok(Plan::Members(next)));
    }

    #[test]
    fn whoever_is_there_already_is_added_once() {
        for node in [1, 4] {
            assert_eq!(plan(&now(), &Change::Add(member(node))), Ok(Plan::Done), "n{node}");
        }
    }

    #[test]
    fn ids_keys_and_addresses_that_do_not_fit_are_refused() {
        let refused = |member: Member| plan(&now(), &Change::Add(member)).expect_err("does not fit");
        let key = |byte: u8| PeerId::new([byte]).expect("one byte");
        let taken = NotChanged::NodeTaken { node_id: node(2), identity: key(2), address: "a".into() };
        assert_eq!(refused(Member { identity: key(9), ..member(2) }), taken);
        assert_eq!(refused(Member { address: "b".into(), ..member(2) }), taken);
        let expected = NotChanged::IdentityTaken { identity: key(2), node_id: node(2) };
        assert_eq!(refused(Member { node_id: node(9), ..member(2) }), expected);
        assert_eq!(refused(Member { node_id: node(0), ..member(5) }), NotChanged::NodeZero);
        let expected = NotChanged::Address { node_id: node(5), found: 0 };
        assert_eq!(refused(Member { address: String::new(), ..member(5) }), expected);
        let long = Member { address: "a".repeat(1025), ..member(5) };
        assert_eq!(refused(long), NotChanged::Address { node_id: node(5), found: 1025 });
    }

    #[test]
    fn voters_change_through_a_joint_membership() {
        let joint = |change: &Change| match plan(&now(), change) {
            Ok(Plan::Voters(joint)) => joint,
            other => panic!("{other:?}"),
        };
        let promoted = joint(&Change::Promote(node(4)));
        assert_eq!(promoted, membership(&[&[1, 2, 3], &[1, 2, 3, 4]], &[1, 2, 3, 4]));
        assert_eq!(settled(&promoted), Some(membership(&[&[1, 2, 3, 4]], &[1, 2, 3, 4])));
        let removed = joint(&Change::Remove(node(1)));
        assert_eq!(removed, membership(&[&[1, 2, 3], &[2, 3]], &[1, 2, 3, 4]), "it is still a member");
        assert_eq!(settled(&removed), Some(membership(&[&[2, 3]], &[2, 3, 4])));
        let swapped = joint(&Change::Swap { old: node(3), new: node(4) });
        assert_eq!(swapped, membership(&[&[1, 2, 3], &[1, 2, 4]], &[1, 2, 3, 4]));
        assert_eq!(settled(&swapped), Some(membership(&[&[1, 2, 4]], &[1, 2, 4])));
        assert_eq!(settled(&now()), None);
    }

    #[test]
    fn a_learner_is_removed_in_one_step() {
        let next = membership(&[&[1, 2, 3]], &[1, 2, 3]);
        assert_eq!(plan(&now(), &Change::Remove(node(4))), Ok(Plan::Members(next)));
    }

    #[test]
    fn what_is_so_already_or_cannot_be_is_told() {
        let unknown = |node_id| Err(NotChanged::UnknownNode { node_id });
        assert_eq!(plan(&now(), &Change::Promote(node(1))), Ok(Plan::Done));
        assert_eq!(plan(&now(), &Change::Promote(node(9))), unknown(node(9)));
        assert_eq!(plan(&now(), &Change::Remove(node(9))), unknown(node(9)));
        let swap = |old, new| plan(&now(), &Change::Swap { old: node(old), new: node(new) });
        assert_eq!(swap(9, 1), Ok(Plan::Done), "as a second call finds it");
        assert_eq!(swap(9, 4), unknown(node(9)));
        assert_eq!(swap(1, 9), unknown(node(9)));
        assert_eq!(swap(1, 2), Err(NotChanged::VotesAlready { node_id: node(2) }));
        assert_eq!(swap(1, 1), Err(NotChanged::VotesAlready { node_id: node(1) }));
        assert_eq!(swap(4, 1), Err(NotChanged::NotAVoter { node_id: node(4) }));
        let alone = membership(&[&[1]], &[1, 4]);
        let last = Err(NotChanged::LastVoter { node_id: node(1) });
        assert_eq!(plan(&alone, &Change::Remove(node(1))), last);
        assert!(plan(&alone, &Change::Swap { old: node(1), new: node(4) }).is_ok());
    }

    #[test]
    fn both_majorities_must_be_alive() {
        let joint = membership(&[&[1, 2, 3], &[1, 2]], &[1, 2, 3]);
        assert_eq!(check_quorum(&joint, &set(&[1, 2])), Ok(()), "one that is dead can be removed");
        let refused = NotChanged::NoQuorum { voters: 2, live: 1 };
        assert_eq!(check_quorum(&joint, &set(&[1, 3])), Err(refused), "one that is needed cannot");
        let grown = membership(&[&[1, 2, 3], &[1, 2, 3, 4]], &[1, 2, 3, 4]);
        assert_eq!(check_quorum(&grown, &set(&[1, 2, 4])), Ok(()));
        assert_eq!(check_quorum(&grown, &set(&[1, 2])), Err(NotChanged::NoQuorum { voters: 4, live: 2 }));
    }
}
