//! A cluster of the framework's nodes, started as a user starts it.

use std::path::Path;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use quorate::node::config::Config;
use quorate::node::status::{Phase, Status};
use quorate::{Cluster, Node};

use crate::machine::{Register, RegisterClient};
use crate::plugins::{Pair, Rig};

/// How long a cluster may take to elect a leader before the bench is given up.
const LIMIT: Duration = Duration::from_secs(30);

/// Three nodes in this process.
pub struct Ours {
    nodes: Vec<Node<Register>>,
    leader: usize,
    _rig: Rig,
}

impl Ours {
    /// Starts a fresh cluster with the default configuration, and waits until all know a leader.
    pub async fn start(pair: Pair, scratch: &Path) -> Self {
        let rig = Rig::new(pair, scratch).await;
        let members = rig.members();
        // All at once: a first start waits for the other members.
        let starting = rig.nodes.iter().map(|plugins| {
            Node::builder(Register::default())
                .storage(plugins.storage.clone())
                .transport(plugins.transport.clone())
                .cluster(Cluster::bootstrap(members.clone()))
                .config(Config::production())
                .start()
        });
        let nodes = try_join_all(starting).await.expect("fresh nodes start");
        let known = join_all(nodes.iter().map(knows_a_leader)).await;
        let leader = known[0].leader.expect("waited for");
        let leader = nodes.iter().position(|node| node.id() == leader).expect("it is one of them");
        Self { nodes, leader, _rig: rig }
    }

    /// A client at the node that leads.
    pub fn at_leader(&self) -> RegisterClient {
        self.nodes[self.leader].client()
    }

    /// A client at a node that follows.
    pub fn at_follower(&self) -> RegisterClient {
        self.nodes[(self.leader + 1) % self.nodes.len()].client()
    }

    /// Stops every node in good order.
    pub async fn stop(self) {
        for stopped in join_all(self.nodes.iter().map(Node::shutdown)).await {
            stopped.expect("in good order");
        }
    }
}

async fn knows_a_leader(node: &Node<Register>) -> Status {
    let mut status = node.status();
    let known = status.until(|status| status.phase == Phase::Running && status.leader.is_some());
    tokio::time::timeout(LIMIT, known).await.expect("a leader in time").expect("the node runs")
}
