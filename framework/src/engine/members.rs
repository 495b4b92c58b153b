//! Changing the members: one entry at a time, and only from the membership that was looked at.
//!
//! The library's own call for a change appends two entries, and its error does not tell which of them
//! failed. It refuses, too, to begin while a joint membership of an earlier leader is not settled, and
//! settles none by itself. So each entry is proposed here by itself, with the position of the membership
//! that it follows: the library refuses it when another one is in force by then. What it still demands is
//! that both memberships share a quorum, and that this leader has committed an entry of its own term.

use std::collections::{BTreeMap, BTreeSet};

use openraft::ChangeMembers;
use openraft::ServerState;
use openraft::entry::RaftPayload;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::{ClientWriteResponse, Precondition};

use super::group::Group;
use super::runtime::{Runtime, WatchReceiver as _};
use super::types::{Payload, Record, TypeConfig, from_log_id, from_raw_membership, to_log_id, to_membership};
use crate::format::membership::RawMembership;
use crate::types::{LogId, LogIndex, Member, Membership, NodeId};

/// The membership in force, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) membership: Membership,
    /// Where it stands in the log.
    pub(crate) at: LogId,
    /// Whether it is committed, as far as this node knows.
    pub(crate) committed: bool,
    /// The last entry of this node's log.
    pub(crate) last_log: LogIndex,
    /// Who leads, as far as this node knows.
    pub(crate) leader: Option<NodeId>,
}

/// Why a membership was not appended, or is not known to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeError {
    /// Refused before it was appended.
    NotLeader { leader: Option<NodeId> },
    /// Refused before it was appended: the membership before it, or the first entry of this leader, is
    /// not committed yet.
    NotYet,
    /// Refused before it was appended: another membership is in force than the one it was to follow.
    Moved,
    /// Appended, and then dropped from this log when another leader took over.
    Discarded,
    /// The engine stopped before it answered.
    Stopped,
}

/// How far a peer has come, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    /// This node leads no more, or the peer is no member.
    Unknown,
    /// Up to here.
    Upto(Option<LogIndex>),
}

impl<RT: Runtime> Group<RT> {
    /// The membership in force; `None` when the engine has stopped, or has none yet.
    pub(crate) async fn standing(&self) -> Option<Standing> {
        let look = self.call(|raft| async move {
            let look = raft.with_raft_state(|state| {
                let members = &state.membership_state;
                let (effective, committed) = (members.effective().clone(), members.committed().clone());
                (effective, committed, *state.vote_ref())
            });
            look.await
        });
        let (effective, committed, vote) = look.await.ok()?;
        let last_log = self.raft.metrics().borrow_watched().last_log_index;
        Some(Standing {
            membership: to_membership(effective.membership()),
            at: to_log_id(effective.log_id().as_ref()?),
            committed: effective.log_id() == committed.log_id(),
            last_log: LogIndex(last_log?),
            leader: vote.committed.then_some(NodeId(vote.leader_id.voted_for)),
        })
    }

    /// Appends `next` behind the membership at `after`, and waits until it is committed and applied.
    pub(crate) async fn append_members(&self, next: &Membership, after: LogId) -> Result<LogId, ChangeError> {
        let members = next.members.iter().map(|(node, member)| (*node, Some(member.clone())));
        let raw = RawMembership { voters: next.voters.clone(), members: members.collect() };
        // Not without a broken plan; and then nothing is appended.
        let next = from_raw_membership(&raw).map_err(|()| ChangeError::Moved)?;
        let appended = self.call(move |raft| async move {
            raft.append_membership(next, Payload::blank(), [still(after)]).await
        });
        outcome(appended.await)
    }

    /// Replaces the record of a member behind the uniform membership at `after`.
    pub(crate) async fn record_member(&self, member: Member, after: LogId) -> Result<LogId, ChangeError> {
        let node = BTreeMap::from([(member.node_id.0, Record(Some(member)))]);
        let recorded = self.call(move |raft| async move {
            raft.change_membership_if(ChangeMembers::SetNodes(node), true, [still(after)]).await
        });
        outcome(recorded.await)
    }

    /// This node, as leader, and whoever has answered what was sent after `since`.
    pub(crate) fn alive(&self, since: RT::Instant) -> BTreeSet<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let heard = metrics.heartbeat.iter().flatten();
        let heard = heard.filter(|(_, at)| at.is_some_and(|at| at.into_inner() >= since));
        heard.map(|(node, _)| NodeId(*node)).chain([NodeId(metrics.id)]).collect()
    }

    /// How far the log of `node` is known to match this leader's.
    pub(crate) fn matched(&self, node: NodeId) -> Matched {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let progress = metrics.replication.as_ref().filter(|_| metrics.state == ServerState::Leader);
        match progress.and_then(|progress| progress.get(&node.0)) {
            Some(matched) => Matched::Upto(matched.as_ref().map(|matched| LogIndex(matched.index))),
            None => Matched::Unknown,
        }
    }

    /// Waits until the log of `node` matches up to `goal`, or nothing can be known of it; whether it does.
    pub(crate) async fn matched_upto(&self, node: NodeId, goal: LogIndex) -> bool {
        let mut metrics = self.raft.metrics();
        loop {
            match self.matched(node) {
                Matched::Upto(matched) if matched >= Some(goal) => return true,
                Matched::Upto(_) => {}
                Matched::Unknown => return false,
            }
            if metrics.changed().await.is_err() {
                return false;
            }
        }
    }
}

/// Demands that the membership at `at` is still the one in force.
fn still<RT: Runtime>(at: LogId) -> Precondition<TypeConfig<RT>> {
    Precondition::LastMembershipLogId { last_membership_log_id: Some(from_log_id(at)) }
}

type Written<RT> =
    Result<ClientWriteResponse<TypeConfig<RT>>, RaftError<TypeConfig<RT>, ClientWriteError<TypeConfig<RT>>>>;

fn outcome<RT: Runtime>(written: Written<RT>) -> Result<LogId, ChangeError> {
    let error = match written {
        Ok(written) => return Ok(to_log_id(&written.log_id)),
        Err(RaftError::Fatal(_)) => return Err(ChangeError::Stopped),
        Err(RaftError::APIError(error)) => error,
    };
    Err(match error {
        ClientWriteError::ForwardToLeader(to) => ChangeError::NotLeader { leader: to.leader_id.map(NodeId) },
        ClientWriteError::LogEntryDiscarded(_) => ChangeError::Discarded,
        ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
        ) => ChangeError::NotYet,
        // Nothing else is refused after it was appended.
        other => {
            tracing::debug!(error = %other, "a membership was not appended");
            ChangeError::Moved
        }
    })
}
