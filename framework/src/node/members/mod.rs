//! The members of a running cluster: who they are, and how that is changed.
//!
//! A question or a change goes to the leader, as a write does. There a change is decided from the
//! membership in force ([`plan`]), refused or proposed, and seen through ([`change`]). What a leader does
//! without being asked is in [`tend`], what goes over a link in [`wire`].
//!
//! A node id that was removed may be given again, and no decision depends on that it is not. Once a removal
//! is committed, a majority of the voters that stay has it in their logs, and of any majority with the
//! removed node at least one of them is part: so neither what that node voted for nor what it holds can
//! decide anything any more. Whoever is added under its id has to be seen, recorded and caught up as
//! everybody else, by a leader that knows nothing of its predecessor. What it is sent of the log first may
//! be of the time of that one: it takes only a record with its own key and its own disk for its own, and
//! stands for no election before the log has one. Who was away meanwhile, and knows the predecessor, hears it
//! once a member vouches for it (`host/vouch.rs`).

pub(super) mod change;
mod plan;
mod tend;
pub(super) mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::plan::Change;
use self::wire::{Ask, Reply, Request};
use super::Ticket;
use super::core::{Core, Running, Unavailable};
use super::handle::{CallOptions, Owned};
use super::status::Phase;
use crate::engine::View;
use crate::engine::runtime::{Instant as _, Runtime, before, left, now};
use crate::error::{MembersError, NotChanged, Unknown};
use crate::host::{Call, CallError, Status};
use crate::transport::Lane;
use crate::types::{Member, Membership, MembershipKind, NodeId};

/// Asks for the members of the cluster, and changes them. Works on any node; cheap to clone. Made by
/// [`Node::members`](super::Node::members).
///
/// One change is made at a time, and each leaves the cluster able to decide: a change after which too few
/// voters would be alive is refused. A new member is a learner first. Its key is its invitation, and its
/// disk is recorded when it is seen for the first time: until then it is sent nothing, and it is never
/// counted on before it has caught up.
///
/// ```no_run
/// # async fn grow<M: quorate::state_machine::Replicated>(node: quorate::Node<M>, key: quorate::types::PeerId)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use quorate::types::{Member, NodeId};
///
/// let members = node.members();
/// members.add_learner(Member::new(4, key, "10.0.0.4:7000")).await?;
/// let ticket = members.ticket(NodeId(4)).await?; // node 4 starts with `Cluster::join(ticket)`
/// println!("{ticket}");
/// members.promote(NodeId(4)).await?; // waits until it has caught up
/// members.remove(NodeId(1)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Members {
    node: Arc<dyn Owned>,
    options: CallOptions,
}

/// A member, and how it takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberInfo {
    /// Who it is. A learner that has not joined yet has no disk id.
    pub member: Member,
    /// How it takes part. While a change of voters is under way, whoever votes in the old or in the new
    /// set is a voter.
    pub kind: MembershipKind,
}

impl Members {
    pub(super) fn new(node: Arc<dyn Owned>) -> Self {
        Self { node, options: CallOptions::default() }
    }

    /// The same handle with this deadline for every call; `timeouts.call_ms` otherwise.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// The members in force, by node id, as a leader has them that a quorum has just confirmed. A change that
    /// is under way shows once it is committed.
    ///
    /// # Errors
    /// Nothing is changed by a question: ask again.
    pub async fn list(&self) -> Result<Vec<MemberInfo>, MembersError> {
        let membership = self.node.members(Ask::List, self.options).await?;
        let info = |member: &Member| {
            let kind = membership.kind(member.node_id)?;
            Some(MemberInfo { member: member.clone(), kind })
        };
        Ok(membership.members.values().filter_map(info).collect())
    }

    /// Adds a learner, by its node id, its key and where it listens; a disk id is not looked at. Does
    /// nothing when exactly this member is there already.
    ///
    /// # Errors
    /// [`MembersError`] tells *not applied* from *outcome unknown*; after the latter call again.
    pub async fn add_learner(&self, member: Member) -> Result<(), MembersError> {
        self.change(Change::Add(member)).await
    }

    /// Makes a voter of a learner, once it has joined and caught up, which is waited for within the
    /// deadline. Does nothing when it votes already.
    ///
    /// # Errors
    /// [`MembersError`] tells *not applied* from *outcome unknown*; after the latter call again.
    pub async fn promote(&self, node: impl Into<NodeId>) -> Result<(), MembersError> {
        self.change(Change::Promote(node.into())).await
    }

    /// Removes a voter or learner. A leader that is to be removed hands leadership on first.
    ///
    /// The node is told by those it asks, and shows it in its status: shut it down.
    ///
    /// # Errors
    /// [`MembersError`] tells *not applied* from *outcome unknown*; after the latter call again, and
    /// [`NotChanged::UnknownNode`] says that it had been removed.
    pub async fn remove(&self, node: impl Into<NodeId>) -> Result<(), MembersError> {
        self.change(Change::Remove(node.into())).await
    }

    /// Puts a new voter in the place of an old one, dead or alive: adds it as a learner, waits until it
    /// has joined and caught up, and changes the voters in one step. Start it with its
    /// [ticket](Self::ticket) as soon as it is added; a call that comes before that says so when its
    /// deadline passes.
    ///
    /// # Errors
    /// [`MembersError`] tells *not applied* from *outcome unknown*, of the voters: either way the new member
    /// may have been added as a learner, unless there is no such voter to replace. Call again.
    pub async fn replace(&self, old: impl Into<NodeId>, new: Member) -> Result<(), MembersError> {
        let (old, node) = (old.into(), new.node_id);
        let now = self.node.members(Ask::List, self.options).await?;
        match now.kind(old) {
            Some(MembershipKind::Voter) => self.add_learner(new).await?,
            Some(MembershipKind::Learner) => return Err(NotChanged::NotAVoter { node_id: old }.into()),
            // It may have been replaced already.
            None if now.members.contains_key(&node) => self.add_learner(new).await?,
            None => return Err(NotChanged::UnknownNode { node_id: old }.into()),
        }
        self.change(Change::Swap { old, new: node }).await
    }

    /// The ticket that a member joins with.
    ///
    /// # Errors
    /// [`NotChanged::UnknownNode`] when the node was not added.
    pub async fn ticket(&self, node: impl Into<NodeId>) -> Result<Ticket, MembersError> {
        let node_id = node.into();
        let membership = self.node.members(Ask::List, self.options).await?;
        if !membership.members.contains_key(&node_id) {
            return Err(NotChanged::UnknownNode { node_id }.into());
        }
        let cluster_id = self.node.status().get().cluster_id;
        Ok(Ticket::new(cluster_id, node_id, membership.members.into_values()))
    }

    async fn change(&self, change: Change) -> Result<(), MembersError> {
        self.node.members(Ask::Change(change), self.options).await.map(drop)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("options", &self.options).finish_non_exhaustive()
    }
}

impl From<Unavailable> for NotChanged {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::NotReady => Self::NotReady,
            Unavailable::ShuttingDown => Self::ShuttingDown,
            Unavailable::Stopped => Self::Stopped,
        }
    }
}

/// How much earlier than its caller the leader gives up, so that its word still arrives.
const HEAD_START: Duration = Duration::from_millis(50);

/// With less than this left before its deadline, what was refused is not tried again.
const TIME_FOR_AN_ANSWER: Duration = Duration::from_millis(5);

impl<RT: Runtime> Core<RT> {
    /// Asks whichever node leads, again while nothing can have happened; gives the membership in force.
    pub(super) async fn members(
        self: &Arc<Self>,
        ask: Ask,
        options: CallOptions,
    ) -> Result<Membership, MembersError> {
        let started = now::<RT>();
        let deadline = self.deadline(options);
        let _call = self.enter().map_err(NotChanged::from)?;
        let running = self.running(deadline).await.map_err(NotChanged::from)?;
        let mut hint = None;
        loop {
            let view = running.group.view().get();
            if view.stopped.is_some() {
                return Err(NotChanged::Stopped.into());
            }
            let reply = match hint.take().or(view.leader) {
                Some(leader) if leader == self.node_id() => self.members_here(running, &ask, deadline).await,
                Some(leader) => self.members_there(running, &view, leader, &ask, deadline).await,
                None => Reply::NotLeader(None),
            };
            match reply {
                Reply::Done(membership) => return Ok(membership),
                // A voter goes in two steps, and is refused by members that have appended the second: then
                // the first is committed. A learner is refused once it is appended that it goes.
                Reply::Failed(MembersError::OutcomeUnknown { why })
                    if ask.removes(self.node_id())
                        && view.membership.kind(self.node_id()) == Some(MembershipKind::Voter) =>
                {
                    return self.wait_to_be_removed(why, deadline).await;
                }
                Reply::Failed(error) => return Err(error),
                Reply::NotLeader(leader) => {
                    if leader.is_some() && leader != view.leader && leader != Some(self.node_id()) {
                        hint = leader;
                    } else {
                        self.wait_for_change(running, &view, deadline).await;
                    }
                    if left::<RT>(deadline) < TIME_FOR_AN_ANSWER {
                        return Err(NotChanged::NoLeader { waited: started.elapsed() }.into());
                    }
                }
            }
        }
    }

    /// Who removes itself may not hear that it is done: nobody admits it any more.
    async fn wait_to_be_removed(
        &self,
        why: Unknown,
        deadline: RT::Instant,
    ) -> Result<Membership, MembersError> {
        let mut status = self.status.watch();
        let removed = status.until(|status| status.phase == Phase::Removed);
        match before::<RT, _>(deadline, removed).await.flatten() {
            Some(status) => Ok((*status.membership).clone()),
            None => Err(MembersError::OutcomeUnknown { why }),
        }
    }

    async fn members_here(
        self: &Arc<Self>,
        running: &Running<RT>,
        ask: &Ask,
        deadline: RT::Instant,
    ) -> Reply {
        match ask {
            Ask::List => self.list_here(running, deadline).await,
            Ask::Change(change) => self.change_here(change.clone(), deadline).await,
        }
    }

    /// One attempt at another node; given up when another leader shows itself before it was sent.
    async fn members_there(
        &self,
        running: &Running<RT>,
        view: &View,
        leader: NodeId,
        ask: &Ask,
        deadline: RT::Instant,
    ) -> Reply {
        let left = left::<RT>(deadline);
        let timeout = left.saturating_sub(HEAD_START.min(left / 10));
        let body = Request { timeout, ask: ask.clone() }.encode();
        let link = self.host.link(leader, Lane::Client);
        let moved = running.group.moved_on(view.term, leader);
        match link.call_unless(running.group.group(), Call::Members, body, deadline, moved).await {
            Ok(reply) => match reply.status {
                Status::Done => Reply::decode(reply.body).unwrap_or_else(|error| {
                    tracing::warn!(%leader, %error, "answer about the members not understood");
                    Unknown::ConnectionLost.into()
                }),
                Status::NoSuchGroup => Reply::NotLeader(None),
                Status::Malformed => NotChanged::NotUnderstood.into(),
                Status::Stopped => Unknown::Stopped.into(),
            },
            Err(CallError::NotSent(_) | CallError::GivenUp | CallError::Busy { .. }) => {
                Reply::NotLeader(None)
            }
            Err(CallError::Timeout) => Unknown::Deadline.into(),
            Err(CallError::Lost) => Unknown::ConnectionLost.into(),
        }
    }

    /// A question that came in at another node. Tried here once; its caller looks further.
    pub(super) async fn forwarded_members(
        self: &Arc<Self>,
        peer: NodeId,
        body: bytes::Bytes,
    ) -> crate::host::Reply {
        let Request { timeout, ask } = match Request::decode(body) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(%peer, %error, "forwarded question about the members refused");
                return crate::host::Reply::empty(Status::Malformed);
            }
        };
        let deadline = now::<RT>() + timeout;
        let reply = match (self.enter(), self.running.get()) {
            (Ok(_call), Some(running)) => self.members_here(running, &ask, deadline).await,
            (Err(unavailable), _) => NotChanged::from(unavailable).into(),
            (_, None) => Reply::NotLeader(None),
        };
        crate::host::Reply::done(reply.encode())
    }
}
