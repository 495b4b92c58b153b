//! Doing what the plan says, as far as the mix goes.

use std::sync::Arc;
use std::time::Duration;

use madsim::task::JoinHandle;
use quorate_sim::disk::Crash;
use quorate_sim::plan::{Fault, Planned};

use super::cluster::{Cluster, sleep};

impl Cluster {
    /// A task for every fault of the plan.
    pub(super) fn begin_faults(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let begin = |Planned { at, fault }: &Planned| {
            let (cluster, at, fault) = (self.clone(), *at, *fault);
            madsim::task::spawn(async move {
                sleep(at).await;
                cluster.done().faults += 1;
                cluster.happen(fault).await;
            })
        };
        self.setup.plan.faults.iter().map(begin).collect()
    }

    async fn happen(self: &Arc<Self>, fault: Fault) {
        match fault {
            Fault::Crash { node, crash, down, .. } => self.crash(node, crash, down).await,
            Fault::CrashLeader { crash, down } => {
                if let Some(node) = self.leader() {
                    self.crash(node, crash, down).await;
                }
            }
            Fault::Isolate { node, time, .. } => self.split(1 << node, time).await,
            Fault::IsolateLeader { time } => {
                if let Some(node) = self.leader() {
                    self.split(1 << node, time).await;
                }
            }
            Fault::CutLink { a, b, time } => self.cut(&[(a, b), (b, a)], time).await,
            Fault::Split { half, time } => self.split(half, time).await,
            other => unreachable!("not in the mix: {other:?}"),
        }
    }

    async fn crash(self: &Arc<Self>, node: u64, crash: Crash, down: Duration) {
        if self.stop(node, crash) {
            sleep(down).await;
            self.start(node);
        }
    }

    /// Cuts every link between the nodes of a half, node n as bit n, and the others.
    async fn split(&self, half: u64, time: Duration) {
        let (one, other): (Vec<u64>, Vec<u64>) = self.all().partition(|node| half & (1 << node) != 0);
        let links = one.iter().flat_map(|a| other.iter().flat_map(|b| [(*a, *b), (*b, *a)]));
        self.cut(&links.collect::<Vec<_>>(), time).await;
    }

    async fn cut(&self, links: &[(u64, u64)], time: Duration) {
        for (from, to) in links {
            self.wire.cut(*from, *to);
        }
        sleep(time).await;
        for (from, to) in links {
            self.wire.heal(*from, *to);
        }
    }

    /// Ends everything that goes wrong.
    pub(super) fn calm(self: &Arc<Self>) {
        for from in self.all() {
            for to in self.all().filter(|to| *to != from) {
                self.wire.heal(from, to);
            }
        }
        for node in self.all() {
            self.start(node);
        }
    }
}
