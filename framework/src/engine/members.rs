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
use crate::types::{LogId, LogIndex, Member, Membership, NodeId, Term};

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
    /// The term that it leads in.
    pub(crate) term: Term,
}

/// Why a membership was not appended, or is not known to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeError {
    /// Refused before it was appended.
    NotLeader { leader: Option<NodeId> },
    /// Refused before it was appended: the membership before it, or the first entry of this leader, is
    /// not committed yet.
    NotYet,
    /// Refused before it was appended: another membership is in force than the one it was to follow, or
    /// this node leads in another term.
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
            term: Term(vote.leader_id.term),
        })
    }

    /// The last membership that is known to be committed, and where it stands; `None` when the engine has
    /// stopped, or has none yet.
    pub(crate) async fn committed_members(&self) -> Option<(Membership, LogId)> {
        let look = self.call(|raft| async move {
            raft.with_raft_state(|state| state.membership_state.committed().clone()).await
        });
        let committed = look.await.ok()?;
        Some((to_membership(committed.membership()), to_log_id(committed.log_id().as_ref()?)))
    }

    /// Appends `next` behind the membership at `after` as the leader of `term`, and waits until it is
    /// committed and applied. What was looked at in an earlier term is not what it is in a later one: its
    /// last entries may have gone since.
    pub(crate) async fn append_members(
        &self,
        next: &Membership,
        after: LogId,
        term: Term,
    ) -> Result<LogId, ChangeError> {
        let members = next.members.iter().map(|(node, member)| (*node, Some(member.clone())));
        let raw = RawMembership { voters: next.voters.clone(), members: members.collect() };
        // Not without a broken plan; and then nothing is appended.
        let next = from_raw_membership(&raw).map_err(|()| ChangeError::Moved)?;
        let appended = self.call(move |raft| async move {
            raft.append_membership(next, Payload::blank(), [still(after), leads_in(term)]).await
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

/// Demands that this node leads in `term`.
fn leads_in<RT: Runtime>(term: Term) -> Precondition<TypeConfig<RT>> {
    let committed_leader_id = from_log_id(LogId { term, index: LogIndex(0) }).leader_id;
    Precondition::CommittedLeaderId { committed_leader_id }
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

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use openraft::entry::RaftEntry;
    use openraft::raft::AppendEntriesRequest;

    use super::super::rig;
    use super::super::types::Entry;
    use super::*;
    use crate::node::status::Role;
    use crate::types::LogTime;

    #[tokio::test(start_paused = true)]
    async fn what_was_looked_at_in_an_earlier_term_is_not_appended() {
        let rig = rig::start(1).await;
        rig.group.raft.trigger().elect(false).await.expect("it runs");
        let mut view = rig.group.view();
        let leads = |view: &super::super::View| {
            view.role == Role::Leader && view.committed.is_some_and(|committed| committed.term == view.term)
        };
        view.until(leads).await.expect("nobody else votes");
        let now = rig.group.standing().await.expect("it runs");
        let mut next = now.membership.clone();
        next.members.insert(NodeId(2), rig::member(2));
        let append = |term| rig.group.append_members(&next, now.at, term);
        for other in [now.term.0 - 1, now.term.0 + 1] {
            assert_eq!(append(Term(other)).await, Err(ChangeError::Moved), "term {other}");
        }
        append(now.term).await.expect("as it stands");
        rig.host.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_membership_that_is_not_committed_is_in_force_and_may_come_to_nothing() {
        let rig = rig::start(2).await;
        let before = rig.group.standing().await.expect("it runs").membership;
        let raw = RawMembership {
            voters: before.voters.clone(),
            members: (1..=3).map(|node| (NodeId(node), Some(rig::member(node)))).collect(),
        };
        let at = LogId::new(1_000, 1);
        let membership = from_raw_membership(&raw).expect("every voter is a member");
        let mut entry: Entry = RaftEntry::new_membership(from_log_id(at), membership);
        entry.seal(rig.group.group(), || LogTime::ZERO);
        let request = AppendEntriesRequest {
            vote: rig::vote(2, true),
            prev_log_id: Some(from_log_id(LogId::new(0, 0))),
            entries: vec![entry],
            leader_commit: Some(from_log_id(LogId::new(0, 0))),
        };
        let mut answers = std::pin::pin!(rig.group.append(futures::stream::iter([request])));
        answers.next().await.expect("an answer").expect("it runs").expect("it follows");
        let standing = rig.group.standing().await.expect("it runs");
        assert_eq!((standing.at, standing.committed), (at, false));
        assert!(standing.membership.members.contains_key(&NodeId(3)));
        let (committed, _) = rig.group.committed_members().await.expect("the first ones");
        assert_eq!(committed, before);
    }
}
