//! Changing the members, as an operator would: asked of whoever leads, again while it is not done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use quorate::Ticket;
use quorate::error::{MembersError, NotChanged};
use quorate::node::Members;
use quorate::node::status::{Phase, Status};
use quorate::types::{MembershipKind, NodeId};

use super::Sim;
use super::slot::Slot;
use crate::disk::Crash;
use crate::observe::{Change, Observation, Told};
use crate::oracle;
use crate::runtime::{SimSleep, time};
use crate::workload::Workload;

/// How long a change is tried.
const TRIES: Duration = Duration::from_secs(8);
/// How long one try waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long after the faults a change that was under way may take to be finished.
const SETTLED: Duration = Duration::from_secs(30);

type Asked = Result<Option<Ticket>, MembersError>;

/// Who is to be a member, or a voter.
fn comes(change: Change) -> Option<u64> {
    match change {
        Change::Add(node) | Change::Promote(node) | Change::Replace { new: node, .. } => Some(node),
        Change::Remove(_) => None,
    }
}

impl<W: Workload> Sim<W> {
    fn spare(&self, spare: u64) -> u64 {
        self.setup.nodes + spare
    }

    /// Asks a node that runs: the leader, when there is one. `None` when it has no answer.
    async fn ask_members(
        &self,
        ask: impl FnOnce(Members) -> BoxFuture<'static, Asked>,
    ) -> Option<(u64, Asked)> {
        let leader = self.leader();
        let (node, process, members) = {
            let slots = self.slots();
            let up = |node: u64| {
                let up = slots.get(&node)?.up.as_ref()?;
                Some((node, up.process.clone(), up.members.clone()?))
            };
            leader.and_then(up).or_else(|| slots.keys().copied().find_map(up))?
        };
        let asking = process.spawn(ask(members.with_timeout(PATIENCE)));
        let answer = asking.await.ok()?;
        Some((node, answer))
    }

    /// Asks again and again until it is done; whether it was.
    async fn insist(
        &self,
        change: Change,
        ask: impl Fn(Members) -> BoxFuture<'static, Asked>,
    ) -> Option<Option<Ticket>> {
        let by = time() + TRIES;
        let mut unknown = false;
        let leaves = || comes(change).is_some_and(|node| self.slots()[&node].leaves);
        while time() < by && !leaves() {
            match self.ask_members(&ask).await {
                Some((node, Ok(done))) => {
                    let cut = self.wire.is_any_cut();
                    self.tell(format!("{change}: done, says n{node}"));
                    self.count(|counts| counts.changed_in_partition += u64::from(cut));
                    return Some(done);
                }
                Some((_, Err(MembersError::NotApplied(NotChanged::UnknownNode { .. }))))
                    if unknown && matches!(change, Change::Remove(_)) =>
                {
                    self.tell(format!("{change}: was done"));
                    return Some(None);
                }
                Some((node, Err(error))) => {
                    unknown |= !error.is_definite();
                    self.count(|counts| counts.changes_unknown += u64::from(!error.is_definite()));
                    self.tell(format!("{change}: n{node} says {error}"));
                }
                None => unknown = true,
            }
            SimSleep::exactly(Duration::from_millis(100)).await;
        }
        None
    }

    /// Sees what becomes of a call, inside the process that is asked.
    async fn told(
        &self,
        change: Change,
        call: impl Future<Output = Result<(), MembersError>>,
    ) -> Result<(), MembersError> {
        let number = self.tick();
        self.observer.see(0, &Observation::ChangeAsked { call: number, change });
        let answer = call.await;
        if let Some(told) = Told::of(change, &answer) {
            self.observer.see(0, &Observation::ChangeTold { call: number, told });
        }
        answer
    }

    /// Asks for a change until it is made; whether it was, and the ticket of whoever was added.
    async fn change(self: &Arc<Self>, change: Change) -> Option<Option<Ticket>> {
        let sim = self.clone();
        let ask = move |members: Members| -> BoxFuture<'static, Asked> {
            let sim = sim.clone();
            Box::pin(async move {
                let answer = match change {
                    Change::Add(node) => {
                        sim.told(change, members.add_learner(sim.wire.member_now(node))).await
                    }
                    Change::Promote(node) => sim.told(change, members.promote(NodeId(node))).await,
                    Change::Remove(node) => sim.told(change, members.remove(NodeId(node))).await,
                    Change::Replace { old, new } => {
                        sim.told(change, members.replace(NodeId(old), sim.wire.member_now(new))).await
                    }
                };
                answer?;
                match change {
                    Change::Add(node) => members.ticket(NodeId(node)).await.map(Some),
                    _ => Ok(None),
                }
            })
        };
        let count = |change_by: fn(usize) -> usize| {
            let mut slots = self.slots();
            if let Some(slot) = comes(change).and_then(|node| slots.get_mut(&node)) {
                slot.asked_for = change_by(slot.asked_for);
            }
        };
        count(|now| now + 1);
        let done = self.insist(change, ask).await;
        count(|now| now - 1);
        done
    }

    /// Adds a spare machine and starts it.
    pub(super) async fn join(self: &Arc<Self>, spare: u64) {
        let node = self.spare(spare);
        let Some(Some(ticket)) = self.change(Change::Add(node)).await else { return };
        if let Some(slot) = self.slots().get_mut(&node) {
            slot.ticket.get_or_insert(ticket);
        }
        self.start(node);
    }

    pub(super) async fn promote(self: &Arc<Self>, spare: u64) {
        if self.change(Change::Promote(self.spare(spare))).await.is_some() {
            self.count(|counts| counts.promoted += 1);
        }
    }

    pub(super) async fn replace(self: &Arc<Self>, old: u64, spare: u64) {
        self.join(spare).await;
        self.may_go(old);
        if self.change(Change::Replace { old, new: self.spare(spare) }).await.is_some() {
            self.count(|counts| {
                counts.promoted += 1;
                counts.removed += 1;
            });
        }
    }

    /// Removes a spare machine, once nobody asks for it any more: what is added again after it was removed is
    /// another machine.
    pub(super) async fn remove_spare(self: &Arc<Self>, spare: u64) {
        let node = self.spare(spare);
        if let Some(slot) = self.slots().get_mut(&node) {
            slot.leaves = true;
        }
        while self.slots()[&node].asked_for > 0 {
            SimSleep::exactly(Duration::from_millis(50)).await;
        }
        self.remove(node).await;
    }

    /// Replaces the disk of a spare machine that is known by the one it has: before that nobody could tell
    /// an empty disk from a new one. Not where no majority would be left.
    pub(super) fn wipe_spare(self: &Arc<Self>, spare: u64) {
        let node = self.spare(spare);
        let lost = |node: &u64| self.slots().get(node).is_none_or(Slot::is_lost);
        let lost: BTreeSet<u64> = self.all().into_iter().filter(lost).chain([node]).collect();
        let may = self.observer.with_world(|world| {
            let Some((in_force, members)) = world.decided_members().next_back() else { return false };
            let later = world.members.range((in_force + 1, 0)..).map(|(_, members)| members);
            std::iter::once(members).chain(later).all(|members| {
                let knows = members.recorded.get(&node) == Some(&true);
                knows && members.has_quorum(|node| !lost.contains(&node))
            })
        });
        let runs = self.status_of(node).is_some_and(|status| status.phase == Phase::Running);
        if may && runs {
            self.count(|counts| counts.spares_wiped += 1);
            self.replace_disk(node);
        }
    }

    /// Gives the id of a spare machine to another, once who asked to remove it was told that this is done.
    pub(super) async fn give_id_again(self: &Arc<Self>, spare: u64, key: bool) {
        let node = self.spare(spare);
        if !self.slots()[&node].gone {
            return;
        }
        self.stop(node, Crash::LoseAll);
        if let Some(slot) = self.slots().get_mut(&node) {
            slot.is_another();
        }
        if key {
            self.wire.change_key(node);
        }
        self.observer.is_another(node);
        self.join(spare).await;
    }

    pub(super) async fn remove(self: &Arc<Self>, node: u64) {
        let leads = self.leader() == Some(node);
        self.may_go(node);
        if self.change(Change::Remove(node)).await.is_some() {
            if let Some(slot) = self.slots().get_mut(&node) {
                slot.gone = true;
            }
            self.count(|counts| {
                counts.removed += 1;
                counts.leaders_removed += u64::from(leads);
            });
        }
    }

    /// From now on a node may be told that it is no member.
    fn may_go(&self, node: u64) {
        if let Some(slot) = self.slots().get_mut(&node) {
            slot.may_go = true;
        }
    }

    fn status_of(&self, node: u64) -> Option<Status> {
        Some(self.slots().get(&node)?.up.as_ref()?.status.as_ref()?.get())
    }

    /// Who the members are once no change is under way any more: all of them must serve. `None` when there
    /// is no end of it, which is accused.
    pub(super) async fn settled_members(&self) -> Option<Vec<u64>> {
        // What was asked for last may still be proposed.
        SimSleep::exactly(PATIENCE * 2).await;
        let by = time() + SETTLED;
        while time() < by {
            let leading = self.leader();
            let status = leading.and_then(|node| self.status_of(node));
            if let Some(status) = status.filter(|status| !status.membership.is_joint()) {
                let members = &status.membership;
                let voters = members.members.keys().copied();
                let voters = voters.filter(|node| members.kind(*node) == Some(MembershipKind::Voter));
                return Some(voters.map(NodeId::get).collect());
            }
            SimSleep::exactly(Duration::from_millis(100)).await;
        }
        let what = format!("a change of the members is not finished within {SETTLED:?} of calm");
        self.observer.accuse(oracle::LIVENESS, what);
        None
    }
}
