//! A cluster of bare openraft.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::{ReadPolicy, SnapshotPolicy};
use quorate::types::Member;
use tokio::task::JoinHandle;

use super::glue::types::{Raft, TypeConfig};
use super::glue::{Factory, Log, Machine, serve};
use super::host::Command;
use crate::machine::Register;
use crate::plugins::{NODES, Pair, Plugins, Rig};

/// How long a cluster may take to elect a leader before the bench is given up.
const LIMIT: Duration = Duration::from_secs(30);

/// After how many entries a snapshot is built: about as often as ours, which counts bytes.
const SNAPSHOT_ENTRIES: u64 = 200_000;

/// Three nodes in this process.
pub struct Bare {
    nodes: Vec<Node>,
    leader: usize,
    rig: Rig,
}

struct Node {
    raft: Raft,
    machine: Machine,
    serving: JoinHandle<()>,
}

/// Writes and reads at the leader.
#[derive(Clone)]
pub struct Client {
    raft: Raft,
    machine: Machine,
}

impl Bare {
    /// Starts a fresh cluster with the timing of our default configuration, and waits until all know
    /// a leader.
    pub async fn start(pair: Pair, scratch: &Path) -> Self {
        let rig = Rig::new(pair, scratch).await;
        let members = rig.members().into_iter().map(|member| (member.node_id.get(), member)).collect();
        let members: Arc<BTreeMap<u64, Member>> = Arc::new(members);
        let nodes = join_all(rig.nodes.iter().map(|plugins| start(plugins, &members))).await;
        let voters: BTreeSet<u64> = (1..=NODES).collect();
        nodes[0].raft.initialize(voters).await.expect("fresh nodes have no members yet");
        let waiting = nodes.iter().map(|node| {
            let wait = node.raft.wait(Some(LIMIT));
            async move { wait.metrics(|metrics| metrics.current_leader.is_some(), "a leader").await }
        });
        let known = try_join_all(waiting).await.expect("a leader in time");
        let leader = known[0].current_leader.expect("waited for");
        let leader = usize::try_from(leader - 1).expect("one of three");
        Self { nodes, leader, rig }
    }

    /// A client at the node that leads.
    pub fn at_leader(&self) -> Client {
        let node = &self.nodes[self.leader];
        Client { raft: node.raft.clone(), machine: node.machine.clone() }
    }

    /// Stops every node.
    pub async fn stop(self) {
        for node in &self.nodes {
            node.raft.shutdown().await.expect("nothing panicked");
        }
        for (node, plugins) in self.nodes.into_iter().zip(&self.rig.nodes) {
            plugins.transport.close().await;
            node.serving.await.expect("nothing panicked");
            plugins.storage.close().await;
        }
    }
}

async fn start(plugins: &Plugins, members: &Arc<BTreeMap<u64, Member>>) -> Node {
    let timing = quorate::node::config::Config::production().election;
    let config = openraft::Config {
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: timing.timeout_min_ms,
        election_timeout_max: timing.timeout_max_ms,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_ENTRIES),
        enable_pre_vote: Some(true),
        ..openraft::Config::default()
    };
    let log = Log::open(plugins.storage.clone()).await.expect("a fresh storage");
    let machine = Machine::new(plugins.storage.clone());
    let factory = Factory { transport: plugins.transport.clone(), members: members.clone() };
    let node = plugins.member.node_id.get();
    let started = Raft::new(node, Arc::new(config), factory, log, machine.clone()).await;
    let raft = started.expect("a fresh node starts");
    let serving = tokio::spawn(serve(plugins.transport.clone(), raft.clone()));
    Node { raft, machine, serving }
}

impl Client {
    /// Replaces the value; says how many there were.
    pub async fn put(&self, value: Bytes) -> u64 {
        loop {
            match self.raft.client_write(Command::Put { value: value.clone() }).await {
                Ok(written) => return written.data,
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                    self.until_it_leads(to).await;
                }
                Err(error) => panic!("a healthy cluster: {error}"),
            }
        }
    }

    /// How many values were put, linearizably.
    pub async fn puts(&self) -> u64 {
        loop {
            match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
                Ok(linearizer) => {
                    linearizer.await_ready(&self.raft).await.expect("it runs");
                    return self.machine.look(Register::puts);
                }
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                    self.until_it_leads(to).await;
                }
                Err(error) => panic!("a healthy cluster: {error}"),
            }
        }
    }

    /// Waits for a sign of life. A leader refuses calls, with nothing appended, as long as no quorum
    /// has answered it recently: at the start of its term, and on a machine that stalls.
    #[cold]
    async fn until_it_leads(&self, to: ForwardToLeader<TypeConfig>) {
        assert_eq!(to.leader_id, None, "leadership moved while it was measured");
        let mut metrics = self.raft.metrics();
        let changed = tokio::time::timeout(LIMIT, metrics.changed()).await;
        changed.expect("a leader in time").expect("it runs");
    }
}
