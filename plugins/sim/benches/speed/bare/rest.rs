//! The end of a run: every node must acknowledge a write, answer reads, and have the same state.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use quorate_sim::rng::Rng;
use quorate_sim::runtime::time;
use quorate_sim::workload::{Call, RegistersCommand, RegistersQuery, Workload};

use super::cluster::{Cluster, sleep};
use crate::mix::WORKLOAD;

/// How long the cluster may take until all serve.
const LIMIT: Duration = Duration::from_secs(30);

impl Cluster {
    /// Calms everything down, and sees that all serve and agree.
    pub(super) async fn settle(self: &Arc<Self>) -> Result<(), String> {
        self.calm();
        let by = time() + LIMIT;
        for node in self.all() {
            self.serves(node, by).await?;
        }
        for node in self.all() {
            for query in WORKLOAD.probes() {
                self.does(node, Call::Read(query), by).await?;
            }
        }
        self.agree(by).await
    }

    async fn serves(&self, node: u64, by: Duration) -> Result<(), String> {
        let mut rng = Rng::stream(self.setup.seed, &format!("last words {node}"));
        loop {
            let call = WORKLOAD.call(&mut rng, self.tick());
            if matches!(call, Call::Write(_)) {
                return self.does(node, call, by).await;
            }
        }
    }

    async fn does(
        &self,
        node: u64,
        call: Call<RegistersCommand, RegistersQuery>,
        by: Duration,
    ) -> Result<(), String> {
        while !self.call(node, call.clone().into(), Duration::from_secs(2)).await {
            if time() >= by {
                return Err(format!("n{node} has not served {call:?} within {LIMIT:?} of calm"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn agree(&self, by: Duration) -> Result<(), String> {
        loop {
            let found: Vec<_> = self
                .all()
                .map(|node| {
                    let node = self.up(node)?;
                    let applied = node.raft.metrics().borrow_watched().last_applied;
                    Some((applied, node.machine.look(Clone::clone)))
                })
                .collect();
            if found.iter().all(|node| node.is_some() && *node == found[0]) {
                return Ok(());
            }
            if time() >= by {
                return Err(format!("the nodes have not come to one state within {LIMIT:?}: {found:?}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}
