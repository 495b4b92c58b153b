//! A change of members on the leader: looked at, refused or proposed, and seen through.
//!
//! Whoever asks may give up at its deadline. What was proposed goes on all the same, in a task of its
//! own, and only what was not is taken back: that is how a refusal is told from an unknown outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::channel::oneshot;

use super::plan::{Change, Plan, check_quorum, plan, settled};
use super::wire::Reply;
use crate::engine::runtime::{Bug, Runtime, before, left, now};
use crate::engine::{ChangeError, Matched, ReadIndexError, Standing};
use crate::error::{MembersError, NotChanged, Unknown};
use crate::node::core::{Core, Running};
use crate::node::status::Role;
use crate::storage::Health;
use crate::types::{LogId, Member, Membership, MembershipKind, NodeId, Term};
use crate::watch::{Watched, Watcher};

/// Who changes the members of this leader's group just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::node) enum Turn {
    #[default]
    Nobody,
    /// The leader itself: it settles a joint membership, or records a disk.
    Leader,
    /// Somebody who asked for it.
    Caller,
}

/// A turn that was taken, until it is dropped.
pub(super) struct Taken(Arc<Watched<Turn>>);

impl Taken {
    /// Takes the turn for `whom` when nobody has it, and says who does otherwise.
    pub(super) fn take(turn: &Arc<Watched<Turn>>, whom: Turn) -> Result<Self, Turn> {
        let mut holder = Turn::Nobody;
        turn.update(|now| {
            holder = *now;
            if holder == Turn::Nobody {
                *now = whom;
            }
        });
        if holder == Turn::Nobody { Ok(Self(turn.clone())) } else { Err(holder) }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.set(Turn::Nobody);
    }
}

/// Whether a change was proposed, and whether anybody still waits for it: decided by whoever comes first.
#[derive(Debug, Default)]
struct Fate(AtomicU8);

impl Fate {
    const UNDECIDED: u8 = 0;
    const PROPOSED: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn decide(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It is about to be proposed; `false` when its caller has given it up.
    fn propose(&self) -> bool {
        self.decide(Self::UNDECIDED, Self::PROPOSED)
    }

    /// Nothing was appended after all; `false` when its caller has given it up meanwhile.
    fn take_back(&self) -> bool {
        self.decide(Self::PROPOSED, Self::UNDECIDED)
    }

    /// Its caller waits no more; whether it was proposed by then.
    fn give_up(&self) -> bool {
        self.0.swap(Self::GIVEN_UP, Ordering::AcqRel) == Self::PROPOSED
    }
}

/// A member that was found to have what the leader of `term` had.
struct CaughtUp {
    term: Term,
    node_id: NodeId,
    /// Its record as it was then.
    member: Member,
}

/// How much earlier than its caller a change gives up, so that its word still arrives.
const HEAD_START: Duration = Duration::from_millis(50);

/// How often it is looked again for what nobody tells of.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(25);

impl<RT: Runtime> Core<RT> {
    /// The members, as a leader says of which a quorum has just confirmed that it leads: those that are
    /// committed. A change that is under way may yet come to nothing.
    pub(super) async fn list_here(&self, running: &Running<RT>, deadline: RT::Instant) -> Reply {
        if let Err(reply) = self.confirm(running, deadline).await {
            return reply;
        }
        match running.group.committed_members().await {
            Some((membership, _)) => Reply::Done(membership),
            None => NotChanged::Stopped.into(),
        }
    }

    /// Has a quorum confirm that this node leads, and waits for what was committed by then. A leader that
    /// was cut off goes on taking itself for one, and what it knows of the members may be long over.
    async fn confirm(&self, running: &Running<RT>, deadline: RT::Instant) -> Result<(), Reply> {
        let confirming = async {
            match running.group.read_index().await {
                Ok(index) => {
                    running.group.applied(index).await;
                    Ok(())
                }
                Err(ReadIndexError::NotLeader { leader }) => Err(Reply::NotLeader(leader)),
                Err(ReadIndexError::NoQuorum) => Err(Reply::NotLeader(None)),
                Err(ReadIndexError::Stopped) => Err(NotChanged::Stopped.into()),
            }
        };
        before::<RT, _>(deadline, confirming).await.unwrap_or_else(|| Err(NotChanged::Deadline.into()))
    }

    /// One attempt at this node.
    pub(super) async fn change_here(self: &Arc<Self>, change: Change, deadline: RT::Instant) -> Reply {
        let fate = Arc::new(Fate::default());
        let (tx, rx) = oneshot::channel();
        let (core, told) = (self.clone(), fate.clone());
        let earlier =
            now::<RT>() + left::<RT>(deadline).saturating_sub(HEAD_START.min(left::<RT>(deadline) / 10));
        self.host.tasks.spawn::<RT>(async move {
            let reply = core.change(&change, earlier, &told).await;
            tracing::info!(?change, ?reply, "a change of members");
            let _ = tx.send(reply);
        });
        let reply = match before::<RT, _>(deadline, rx).await {
            Some(Ok(reply)) => reply,
            // Its task has ended with the node.
            Some(Err(_)) if fate.give_up() => Unknown::Stopped.into(),
            Some(Err(_)) => NotChanged::Stopped.into(),
            None if fate.give_up() => Unknown::Deadline.into(),
            None => NotChanged::Deadline.into(),
        };
        match reply {
            Reply::Failed(MembersError::OutcomeUnknown { .. })
                if RT::planted(Bug::UnknownChangeIsRefused) =>
            {
                NotChanged::Deadline.into()
            }
            reply => reply,
        }
    }

    async fn change(&self, change: &Change, deadline: RT::Instant, fate: &Fate) -> Reply {
        let Some(running) = self.running.get() else { return NotChanged::NotReady.into() };
        match self.try_change(running, change, deadline, fate).await {
            Ok(membership) => Reply::Done(membership),
            Err(reply) => reply,
        }
    }

    async fn try_change(
        &self,
        running: &Running<RT>,
        change: &Change,
        deadline: RT::Instant,
        fate: &Fate,
    ) -> Result<Membership, Reply> {
        if running.group.health() > Health::Low {
            return Err(NotChanged::DiskFull.into());
        }
        if self.turn.get() == Turn::Caller {
            return Err(NotChanged::ChangeUnderWay.into());
        }
        // Whatever is said of the members, also that nothing is to be done, is said by a leader.
        self.confirm(running, deadline).await?;
        let promoted = change.promoted().filter(|_| !RT::planted(Bug::PromotedUnseen));
        let mut caught_up = None;
        if let Some(learner) = promoted {
            caught_up = Some(self.let_catch_up(running, learner, deadline).await?);
        }
        let mut turn = self.turn(deadline).await?;
        let (joint, at, term) = loop {
            let standing = self.settle(running, deadline).await?;
            if let Some(caught_up) = caught_up.as_mut().filter(|caught_up| caught_up.term != standing.term) {
                // It led no more in between, and what the learner had then may be gone, also the record of its
                // disk, which the leader itself has to append.
                drop(turn);
                *caught_up = self.let_catch_up(running, caught_up.node_id, deadline).await?;
                turn = self.turn(deadline).await?;
                continue;
            }
            let next = match plan(&standing.membership, change)? {
                Plan::Done => return Ok(standing.membership),
                Plan::Members(next) | Plan::Voters(next) => next,
            };
            let is = |node: NodeId| standing.membership.members.get(&node);
            if caught_up.as_ref().is_some_and(|learner| is(learner.node_id) != Some(&learner.member)) {
                // Removed meanwhile, and perhaps added again.
                return Err(NotChanged::ChangeUnderWay.into());
            }
            self.wait_for_quorum(running, &next, deadline).await?;
            if settled(&next).is_some_and(|last| !last.members.contains_key(&self.node_id())) {
                drop(turn);
                return Err(self.hand_over(running, &standing.membership, deadline).await);
            }
            if !fate.propose() {
                return Err(NotChanged::Deadline.into());
            }
            let appended = running.group.append_members(&next, standing.at, standing.term);
            if RT::planted(Bug::ChangeNotAwaited) {
                // It is proposed when it is asked for, whoever waits.
                before::<RT, _>(now::<RT>(), appended).await;
                return Ok(next);
            }
            match appended.await {
                Ok(at) => break (next, at, standing.term),
                Err(error) => self.not_appended(running, error, deadline, fate).await?,
            }
        };
        match settled(&joint) {
            None => Ok(joint),
            Some(last) => self.see_through(running, last, at, term).await,
        }
    }

    /// What becomes of a change after `error`: another try, or the end.
    async fn not_appended(
        &self,
        running: &Running<RT>,
        error: ChangeError,
        deadline: RT::Instant,
        fate: &Fate,
    ) -> Result<(), Reply> {
        match error {
            ChangeError::Discarded => return Err(Unknown::LeaderChanged.into()),
            ChangeError::Stopped => return Err(Unknown::Stopped.into()),
            ChangeError::NotLeader { leader } => return Err(Reply::NotLeader(leader)),
            ChangeError::NotYet | ChangeError::Moved => {}
        }
        if !fate.take_back() {
            return Err(NotChanged::Deadline.into());
        }
        self.wait_a_little(running, deadline).await
    }

    /// Waits until something shows, a little at most; an error at the deadline.
    async fn wait_a_little(&self, running: &Running<RT>, deadline: RT::Instant) -> Result<(), Reply> {
        let mut view = running.group.view();
        let look_again = now::<RT>() + LOOK_AGAIN.min(left::<RT>(deadline));
        before::<RT, _>(look_again, view.changed()).await;
        if left::<RT>(deadline).is_zero() {
            return Err(NotChanged::ChangeUnderWay.into());
        }
        Ok(())
    }

    /// The second entry of a change. Waits for no caller: whatever becomes of it, the first one has
    /// decided that it comes, from this leader or from the next.
    async fn see_through(
        &self,
        running: &Running<RT>,
        last: Membership,
        joint: LogId,
        term: Term,
    ) -> Result<Membership, Reply> {
        loop {
            match running.group.append_members(&last, joint, term).await {
                Ok(_) => return Ok(last),
                // Also while its lease is over: it leads all the same, or hears soon who does.
                Err(ChangeError::NotYet | ChangeError::NotLeader { leader: None }) => {
                    let mut view = running.group.view();
                    if view.get().role != Role::Leader {
                        return Err(Unknown::LeaderChanged.into());
                    }
                    before::<RT, _>(now::<RT>() + LOOK_AGAIN, view.changed()).await;
                }
                Err(ChangeError::Stopped) => return Err(Unknown::Stopped.into()),
                // Nobody else changes anything while this leader leads and this turn lasts.
                Err(_) => return Err(Unknown::LeaderChanged.into()),
            }
        }
    }

    /// Takes the turn, once this leader itself has done with it.
    async fn turn(&self, deadline: RT::Instant) -> Result<Taken, Reply> {
        let mut turn: Watcher<Turn> = self.turn.watch();
        loop {
            match Taken::take(&self.turn, Turn::Caller) {
                Ok(taken) => return Ok(taken),
                Err(Turn::Caller) => return Err(NotChanged::ChangeUnderWay.into()),
                Err(_) => {}
            }
            let free = turn.until(|turn| *turn != Turn::Leader);
            if before::<RT, _>(deadline, free).await.is_none() {
                return Err(NotChanged::ChangeUnderWay.into());
            }
        }
    }

    /// The membership in force, committed and not joint: one that is, an earlier leader left, and it is
    /// settled first.
    async fn settle(&self, running: &Running<RT>, deadline: RT::Instant) -> Result<Standing, Reply> {
        loop {
            let standing = running.group.standing().await.ok_or(NotChanged::Stopped)?;
            if standing.leader != Some(self.node_id()) {
                return Err(Reply::NotLeader(standing.leader));
            }
            if standing.committed {
                let Some(last) = settled(&standing.membership) else { return Ok(standing) };
                if !last.members.contains_key(&self.node_id()) {
                    return Err(self.hand_over(running, &standing.membership, deadline).await);
                }
                // Not the change that was asked for: of that nothing is appended yet.
                match running.group.append_members(&last, standing.at, standing.term).await {
                    Err(ChangeError::Stopped) => return Err(NotChanged::Stopped.into()),
                    Err(ChangeError::NotLeader { leader }) => return Err(Reply::NotLeader(leader)),
                    Ok(_) | Err(_) => {}
                }
            }
            self.wait_a_little(running, deadline).await?;
        }
    }

    /// Refuses what would leave too few voters that are alive: that have answered since it was asked for. Who
    /// was heard from before that may have died just now.
    async fn wait_for_quorum(
        &self,
        running: &Running<RT>,
        next: &Membership,
        deadline: RT::Instant,
    ) -> Result<(), Reply> {
        let patience = self.election_timeout();
        let asked = now::<RT>();
        let until = asked + patience.min(left::<RT>(deadline));
        loop {
            let refused = match check_quorum(next, &running.group.alive(asked)) {
                Ok(()) => return Ok(()),
                Err(_) if RT::planted(Bug::QuorumNotChecked) => return Ok(()),
                Err(refused) => refused,
            };
            if now::<RT>() >= until {
                let view = running.group.view().get();
                let leads = view.role == Role::Leader;
                return Err(if leads { refused.into() } else { Reply::NotLeader(view.leader) });
            }
            RT::sleep(LOOK_AGAIN.min(left::<RT>(until))).await;
        }
    }

    pub(super) fn election_timeout(&self) -> Duration {
        Duration::from_millis(self.config.election.timeout_max_ms)
    }

    /// Waits until a learner has joined, and holds what the leader held when it was looked at. That is
    /// done in rounds (Raft dissertation, section 4.2.1): a round that takes longer than an election would
    /// leaves it too far behind, and there is another one. So when it is counted on, it lacks no more than
    /// what is appended in that time.
    async fn let_catch_up(
        &self,
        running: &Running<RT>,
        node_id: NodeId,
        deadline: RT::Instant,
    ) -> Result<CaughtUp, Reply> {
        let (asked, round) = (now::<RT>(), Duration::from_millis(self.config.election.timeout_min_ms));
        loop {
            let standing = running.group.standing().await.ok_or(NotChanged::Stopped)?;
            if standing.leader != Some(self.node_id()) {
                return Err(Reply::NotLeader(standing.leader));
            }
            let Some(member) = standing.membership.members.get(&node_id).cloned() else {
                if standing.committed {
                    return Err(NotChanged::UnknownNode { node_id }.into());
                }
                self.wait_a_little(running, deadline).await?;
                continue;
            };
            let caught_up = CaughtUp { term: standing.term, node_id, member };
            if standing.membership.kind(node_id) == Some(MembershipKind::Voter) {
                return Ok(caught_up);
            }
            let missing = if caught_up.member.disk_id.is_none() {
                Some(NotChanged::NotJoined { node_id })
            } else {
                let silent = !running.group.alive(asked).contains(&node_id);
                silent.then_some(NotChanged::Silent { node_id })
            };
            if let Some(missing) = missing {
                if self.wait_a_little(running, deadline).await.is_err() {
                    return Err(missing.into());
                }
                continue;
            }
            if RT::planted(Bug::CatchUpNotAwaited) {
                return Ok(caught_up);
            }
            let (goal, began) = (standing.last_log, now::<RT>());
            match before::<RT, _>(deadline, running.group.matched_upto(node_id, goal)).await {
                Some(true) if now::<RT>() - began <= round => return Ok(caught_up),
                Some(true) => {}
                // It leads no more, or has not built its picture of the peer yet.
                Some(false) => self.wait_a_little(running, deadline).await?,
                None => {
                    let matched = match running.group.matched(node_id) {
                        Matched::Upto(matched) => matched,
                        Matched::Unknown => None,
                    };
                    return Err(NotChanged::Behind { node_id, matched, last: goal }.into());
                }
            }
        }
    }

    /// Hands leadership on to another voter, so that no leader removes itself, and says where to ask next.
    /// One that is no member could lead on until it hears that this is committed, but none of the others
    /// would admit it any more.
    pub(super) async fn hand_over(
        &self,
        running: &Running<RT>,
        in_force: &Membership,
        deadline: RT::Instant,
    ) -> Reply {
        let node_id = self.node_id();
        let voters = in_force.voters.last();
        if voters.is_none_or(|voters| voters.iter().all(|voter| *voter == node_id)) {
            return NotChanged::LastVoter { node_id }.into();
        }
        let stays = |node: &NodeId| voters.is_some_and(|voters| voters.contains(node));
        let patience = self.election_timeout();
        let mut view = running.group.view();
        loop {
            let successor = running.group.successor(patience).map(|(node, _)| node);
            if let Some(to) = successor.filter(stays) {
                tracing::info!(%to, "leadership is handed on before this node is removed");
                running.group.transfer_leader(to).await;
                let other = view.until(|view| view.role != Role::Leader && view.leader.is_some());
                let until = now::<RT>() + (patience * 2).min(left::<RT>(deadline));
                let other = before::<RT, _>(until, other).await.flatten();
                return Reply::NotLeader(other.and_then(|view| view.leader));
            }
            if self.wait_a_little(running, deadline).await.is_err() {
                return NotChanged::Deadline.into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_has_the_turn_until_it_is_dropped() {
        let turn = Arc::new(Watched::new(Turn::Nobody));
        let taken = Taken::take(&turn, Turn::Caller).map_err(|_| ()).expect("nobody has it");
        assert_eq!(Taken::take(&turn, Turn::Leader).err(), Some(Turn::Caller));
        drop(taken);
        let taken = Taken::take(&turn, Turn::Leader).map_err(|_| ()).expect("given back");
        assert_eq!(Taken::take(&turn, Turn::Caller).err(), Some(Turn::Leader));
        drop(taken);
        assert_eq!(turn.get(), Turn::Nobody);
    }

    #[test]
    fn what_was_given_up_is_not_proposed_and_what_was_proposed_is_unknown() {
        let fate = Fate::default();
        assert!(!fate.give_up(), "not proposed: it was refused");
        assert!(!fate.propose(), "nobody waits for it");

        let fate = Fate::default();
        assert!(fate.propose() && fate.take_back() && fate.propose());
        assert!(fate.give_up(), "proposed: its outcome is unknown");
        assert!(!fate.take_back(), "whoever asked was told that it may come");
    }
}
