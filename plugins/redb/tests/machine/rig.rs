//! Nodes with a machine in tables, over redb and a network in memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::{FutureExt, future};
use quorate::client::Consistency;
use quorate::error::{StartError, WriteError};
use quorate::node::config::{Config, ConfigBuilder};
use quorate::node::status::{Role, Status};
use quorate::transport::MemoryNetwork;
use quorate::types::{Member, PeerId};
use quorate::{Cluster, Node};
use quorate_redb::{Builder, MachineBuilder, RedbStorage};
use tempfile::TempDir;

use crate::common::*;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);
pub(crate) const MIB: u64 = 1 << 20;

/// What outlives the nodes of a cluster.
pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) network: MemoryNetwork,
    pub(crate) members: Vec<Member>,
    pub(crate) config: Config,
    pub(crate) name: &'static str,
}

pub(crate) struct Running {
    pub(crate) node: Node<Machine>,
    /// How many commands were applied since this start.
    pub(crate) applied: Arc<AtomicU64>,
}

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let output = tokio::time::timeout(LIMIT, future).await;
    output.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"))
}

impl Rig {
    pub(crate) fn new(name: &'static str, nodes: u64) -> Self {
        let member = |node| {
            let key = PeerId::new(format!("n{node}")).expect("a short name");
            Member::new(node, key, format!("n{node}"))
        };
        // Compacts early, and keeps next to nothing of what is flushed.
        let config =
            ConfigBuilder::from(Config::testing()).snapshot_log_bytes(64 << 10).snapshot_keep_entries(10);
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            network: MemoryNetwork::new(),
            members: (1..=nodes).map(member).collect(),
            config: config.build().expect("a good configuration"),
            name,
        }
    }

    pub(crate) fn home(&self, node: u64) -> PathBuf {
        self.dir.path().join(format!("n{node}"))
    }

    pub(crate) fn file(&self, node: u64) -> PathBuf {
        self.home(node).join("totals.redb")
    }

    pub(crate) async fn start(&self, node: u64) -> Running {
        self.try_start(node, Machine::builder(self.file(node))).await.expect("the node starts")
    }

    pub(crate) async fn try_start(&self, node: u64, machine: MachineBuilder) -> Result<Running, StartError> {
        let storage = RedbStorage::builder(self.home(node)).preallocate_bytes(1 << 20).ballast_bytes(1 << 20);
        self.start_with(node, machine, storage).await
    }

    pub(crate) async fn start_with(
        &self,
        node: u64,
        machine: MachineBuilder,
        storage: Builder,
    ) -> Result<Running, StartError> {
        let totals = Totals::default();
        let applied = totals.applied.clone();
        let node = Node::builder(machine.cache_bytes(1 << 20).open(totals)?)
            .storage(storage.open()?)
            .transport(self.network.endpoint(&format!("n{node}")))
            .cluster(Cluster::bootstrap(self.members.clone()).named(self.name))
            .config(self.config.clone())
            .start()
            .await?;
        Ok(Running { node, applied })
    }

    pub(crate) async fn start_all(&self) -> Vec<Running> {
        let starting = self.members.iter().map(|member| self.start(member.node_id.get()));
        futures::future::join_all(starting).await
    }
}

impl Running {
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut status = self.node.status();
        within(what, status.until(wanted)).await.expect("the node lives")
    }

    pub(crate) async fn add(&self, name: &str, bytes: usize) -> u64 {
        let client = self.node.client().with_timeout(LIMIT);
        client.add(format!("{name} {}", "long".repeat(bytes / 4)), 1).await.expect("a majority")
    }

    pub(crate) async fn commands_here(&self) -> u64 {
        let client = self.node.client().with_consistency(Consistency::Local);
        client.commands().await.expect("it is served from here")
    }

    /// Lets go of a node that has failed, and waits until its files are closed.
    pub(crate) async fn bury(self) {
        // In what order it went down is no matter any more.
        drop(within("the node is down", self.node.shutdown()).await);
    }

    /// Stops at once, without a word to anybody.
    pub(crate) async fn stop_hard(self) {
        let mut status = self.node.status();
        drop(self.node);
        within("the node is down", status.until(|status| status.stopped().is_some())).await;
    }
}

/// Every node has applied every write that was acknowledged.
pub(crate) async fn settle(nodes: &[Running]) {
    for running in nodes {
        // A linearizable read is answered from here, once as much is applied here.
        running.node.client().with_timeout(LIMIT).commands().await.expect("a majority");
    }
}

/// Which of the nodes leads, once one says so.
pub(crate) async fn leader_of(nodes: &[Running]) -> usize {
    let leads = |(at, running): (usize, &'_ Running)| {
        let mut status = running.node.status();
        async move {
            status.until(|status| status.role == Role::Leader).await.expect("the node lives");
            at
        }
        .boxed()
    };
    within("one leads", future::select_all(nodes.iter().enumerate().map(leads))).await.0
}

/// Adds until that is refused; how often it was not, and why it was.
pub(crate) async fn add_until_refused(running: &Running, mut acknowledged: u64) -> (u64, WriteError) {
    let client = running.node.client().with_timeout(LIMIT);
    loop {
        match client.add("long".repeat(4 << 10), 1).await {
            Ok(_) => acknowledged += 1,
            Err(error) => return (acknowledged, error),
        }
        assert!(acknowledged < 5000, "it was never refused");
    }
}
