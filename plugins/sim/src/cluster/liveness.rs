//! The end of a run: faults stop, but for what lasts at a minority, and the others must serve.

use std::sync::Arc;
use std::time::Duration;

use quorate::client::Consistency;
use quorate::state_machine::{ApplyContext, QueryContext, StateMachine, Wire};
use quorate::types::{GroupId, LogIndex, Term};

use super::Sim;
use crate::disk::Crash;
use crate::moment::Outcome;
use crate::oracle::{self, Oracle, StateMachineSafety};
use crate::plan::Lasting;
use crate::rng::Rng;
use crate::runtime::{SimSleep, time};
use crate::workload::{Call, Workload};

/// How long a majority that is well may take until every node of it serves, in simulated time.
pub const LIVENESS_LIMIT: Duration = Duration::from_secs(30);
/// In how many calls of a workload there must be a command.
const CALLS: usize = 100_000;

impl<W: Workload> Sim<W> {
    /// Calms everything down and sees that the majority serves, agrees, and has what it applied.
    pub(super) async fn settle(self: &Arc<Self>) {
        self.tell(format!(
            "the faults end; {:?} lasts at {:?}",
            self.setup.plan.lasting, self.setup.plan.minority
        ));
        self.calm();
        let mut well = self.afflict();
        for node in self.all() {
            self.start(node);
        }
        if self.setup.plan.changes_members() {
            let Some(members) = self.settled_members().await else { return };
            well.retain(|node| members.contains(node));
        }
        let by = time() + LIVENESS_LIMIT;
        for node in &well {
            self.serves(*node, by).await;
        }
        for node in &well {
            self.read_everything(*node, by).await;
        }
        if self.observer.violation().is_none() {
            self.agree(&well, by).await;
        }
    }

    /// Does to the minority what lasts. Returns the others.
    fn afflict(&self) -> Vec<u64> {
        let plan = &self.setup.plan;
        let minority = if plan.lasting == Lasting::Nothing { &[][..] } else { &plan.minority[..] };
        let (ill, mut well): (Vec<u64>, Vec<u64>) =
            self.all().into_iter().partition(|node| minority.contains(node));
        for node in ill {
            match plan.lasting {
                Lasting::Nothing => {}
                Lasting::Down => {
                    self.stop(node, Crash::LoseAll);
                    if let Some(slot) = self.slots().get_mut(&node) {
                        slot.held = true;
                    }
                }
                Lasting::Mute => well.iter().for_each(|other| self.wire.cut(node, *other)),
                Lasting::Deaf => well.iter().for_each(|other| self.wire.cut(*other, node)),
            }
        }
        // Only those of the minority lose their disks, so that a majority is left.
        well.retain(|node| !self.slots()[node].is_lost());
        well
    }

    /// Calls a node until it has acknowledged a write.
    async fn serves(self: &Arc<Self>, node: u64, by: Duration) {
        let mut rng = Rng::stream(self.setup.seed, &format!("last words {node}"));
        while time() < by {
            let mut calls = (0..CALLS).map(|_| self.workload.call(&mut rng, self.tick()));
            let Some(call) = calls.find(|call| matches!(call, Call::Write(_))) else {
                let what = format!(
                    "it has given no command in {CALLS} calls, and whether n{node} serves is seen by one"
                );
                return self.observer.accuse(oracle::WORKLOAD, what);
            };
            let called = self.call(None, node, call, Duration::from_secs(2)).await;
            if called.is_some_and(|called| matches!(called.outcome, Outcome::Answered(_))) {
                return;
            }
            SimSleep::exactly(Duration::from_millis(50)).await;
        }
        self.observer.accuse(
            oracle::LIVENESS,
            format!("n{node} acknowledges no write within {LIVENESS_LIMIT:?} of calm"),
        );
    }

    /// Reads the whole state at a node, for the history.
    async fn read_everything(self: &Arc<Self>, node: u64, by: Duration) {
        for probe in 0..self.workload.probes().len() {
            loop {
                let query = self.workload.probes().swap_remove(probe);
                let called = self.call(None, node, Call::Read(query), Duration::from_secs(2)).await;
                if called.is_some_and(|called| matches!(called.outcome, Outcome::Answered(_))) {
                    break;
                }
                if time() >= by {
                    self.observer.accuse(
                        oracle::LIVENESS,
                        format!("n{node} answers no read within {LIVENESS_LIMIT:?} of calm"),
                    );
                    return;
                }
                SimSleep::exactly(Duration::from_millis(50)).await;
            }
        }
    }

    /// Every node has applied everything, and its state is that of a machine which was told the same
    /// commands one after the other.
    async fn agree(self: &Arc<Self>, well: &[u64], by: Duration) {
        let last = self.observer.with_world(|world| world.applied.keys().next_back().copied());
        let Some(last) = last else { return };
        for node in well {
            let reached = self.reaches(*node, last.index, by).await;
            if !reached {
                let what = format!("n{node} has not applied {last} within {LIVENESS_LIMIT:?} of calm");
                return self.observer.accuse(oracle::LIVENESS, what);
            }
        }
        for node in well {
            self.compare(*node).await;
        }
    }

    async fn reaches(&self, node: u64, index: LogIndex, by: Duration) -> bool {
        loop {
            let status = self.slots()[&node].up.as_ref().and_then(|up| up.status.clone());
            let applied = status.and_then(|status| status.get().applied);
            if applied.is_some_and(|applied| applied.index >= index) {
                return true;
            }
            if time() >= by {
                return false;
            }
            SimSleep::exactly(Duration::from_millis(20)).await;
        }
    }

    /// A machine that is told everything that was applied before `end`.
    fn replay(&self, end: u64) -> Result<W::Machine, String> {
        let cluster = self.cluster();
        let mut machine = self.workload.machine();
        for applied in self.log().into_iter().filter(|applied| applied.position.index.get() < end) {
            let position = applied.position;
            let command = <W::Machine as StateMachine>::Command::decode(&applied.command)
                .map_err(|error| format!("the command at {position} does not come back: {error}"))?;
            let term = Term(applied.term);
            let mut ctx = ApplyContext::new(cluster, GroupId::MAIN, term, position, applied.time);
            let response = self.workload.response(&machine.apply(&mut ctx, command));
            if response != applied.response {
                return Err(format!("the command at {position} has another response when it is told again"));
            }
        }
        Ok(machine)
    }

    async fn compare(&self, node: u64) {
        let Some(up) = self.slots()[&node].up.as_ref().map(|up| (up.process.clone(), up.client.clone()))
        else {
            return self
                .observer
                .accuse(oracle::LIVENESS, format!("n{node} is down after {LIVENESS_LIMIT:?} of calm"));
        };
        let (process, Some(client)) = up else { return };
        let client = client.with_consistency(Consistency::Local);
        let workload = self.workload.clone();
        let asked = process.spawn(async move {
            let mut answers = Vec::new();
            for probe in workload.probes() {
                let read = client.read(&probe).await.ok();
                answers.push(read.map(|read| (read.applied, read.time, workload.answer(&read.answer))));
            }
            answers
        });
        let Ok(answers) = asked.await else { return };
        let mut known: Option<(u64, W::Machine)> = None;
        for (probe, (query, read)) in self.workload.probes().into_iter().zip(answers).enumerate() {
            // What is under way still may be applied at any time, so each answer says of which state
            // it is. Its place is the node's: what comes after the last command, a tick say, moves
            // that on and changes no state.
            let applied = read.as_ref().and_then(|(applied, ..)| *applied);
            let end = applied.map_or(0, |applied| applied.index.get() + 1);
            let machine = match known.take().filter(|(at, _)| *at == end) {
                Some((_, machine)) => machine,
                None => match self.replay(end) {
                    Ok(machine) => machine,
                    Err(what) => return self.observer.accuse(oracle::DETERMINISM, what),
                },
            };
            let expected = read.as_ref().map(|(applied, time, _)| {
                self.workload.answer(&machine.query(&QueryContext::new(*applied, *time), query))
            });
            known = Some((end, machine));
            let answer = read.map(|(_, _, answer)| answer);
            if answer.is_none() || answer != expected {
                let what = format!(
                    "n{node} answers probe {probe} with {answer:?}, and its history with {expected:?}"
                );
                return self.observer.accuse(StateMachineSafety.name(), what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_states_the_limit() {
        let readme = include_str!("../../README.md");
        let stated = format!("within {} simulated seconds", super::LIVENESS_LIMIT.as_secs());
        assert!(readme.contains(&stated), "`{stated}` is not in the README");
    }
}
