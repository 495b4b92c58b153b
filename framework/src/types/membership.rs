//! Who votes, who learns.

use std::collections::{BTreeMap, BTreeSet};

use super::{Member, NodeId, PeerId};

/// How a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MembershipKind {
    /// Counted in every quorum.
    Voter,
    /// Receives the log and is counted in no quorum.
    Learner,
}

/// The members of a group and its quorums.
///
/// While a change is under way there are two voter sets and a quorum of both is needed (Raft
/// paper, section 6, "joint consensus"); otherwise there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// One voter set, or two while a change is under way.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// Every voter and learner.
    pub members: BTreeMap<NodeId, Member>,
}

impl Membership {
    /// Whether a change of voters is under way.
    pub fn is_joint(&self) -> bool {
        self.voters.len() > 1
    }

    /// The kind of `node`; `None` when it is not a member.
    pub fn kind(&self, node: NodeId) -> Option<MembershipKind> {
        self.members.contains_key(&node).then(|| {
            if self.voters.iter().any(|set| set.contains(&node)) {
                MembershipKind::Voter
            } else {
                MembershipKind::Learner
            }
        })
    }

    /// The member known by `identity`.
    pub fn by_identity(&self, identity: &PeerId) -> Option<&Member> {
        self.members.values().find(|member| member.identity == *identity)
    }
}
