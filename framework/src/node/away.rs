//! Tests: a node that was down while its peers were replaced.
//!
//! The logs are written as a leader would have left them.

use std::time::Duration;

use crate::engine::rig::{CLUSTER, member, write_membership};
use crate::engine::suite::Idle;
use crate::node::config::Config;
use crate::node::status::{Role, Status};
use crate::storage::{Identity, MemoryStorage, Storage};
use crate::transport::{MemoryNetwork, Transport};
use crate::types::{DiskId, LogId, NodeId};
use crate::{Cluster, Node};

const LIMIT: Duration = Duration::from_secs(20);

/// What is left of node 1, 2 and 3, of which the first was replaced by node 4. Node 3 was down and
/// knows nothing of it; node 2 votes no more. So no leader can be without node 3, and none can be
/// but node 4, whose log is longer.
async fn storage(node: u64, disk: u8) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let identity = Identity { cluster_id: CLUSTER, node_id: NodeId(node), disk_id: DiskId([disk; 16]) };
    storage.set_identity_once(&identity).await.expect("fresh");
    write_membership(&storage, LogId::new(0, 0), &[1, 2, 3], &[1, 2, 3]).await;
    if node != 3 {
        // Twice: of two memberships the library takes the older one to be committed, and lets its
        // voters stand for election too.
        for index in [1, 2] {
            write_membership(&storage, LogId::new(1, index), &[3, 4], &[2, 3, 4]).await;
        }
    }
    storage
}

async fn start(network: &MemoryNetwork, node: u64, disk: u8) -> Node<Idle> {
    let transport = network.endpoint(&format!("n{node}"));
    assert_eq!(transport.identity(), member(node).identity);
    let builder = Node::builder(Idle).storage(storage(node, disk).await).transport(transport);
    builder.cluster(Cluster::recorded()).config(Config::testing()).start().await.expect("a good log")
}

async fn until(node: &Node<Idle>, what: &str, wanted: impl Fn(&Status) -> bool) {
    let mut status = node.status();
    let reached = tokio::time::timeout(LIMIT, status.until(wanted)).await;
    assert!(matches!(reached, Ok(Some(_))), "{what}: not in time; it is at {:?}", status.get());
}

#[tokio::test(start_paused = true)]
async fn a_leader_it_does_not_know_is_admitted_when_a_member_it_knows_vouches() {
    let network = MemoryNetwork::new();
    let (two, three) = (start(&network, 2, 2).await, start(&network, 3, 3).await);
    let four = start(&network, 4, 4).await;
    until(&four, "node 4 leads", |status| status.role == Role::Leader).await;
    until(&three, "node 3 follows it", |status| {
        status.leader == Some(NodeId(4)) && status.membership.members.contains_key(&NodeId(4))
    })
    .await;
    until(&two, "node 2 learns", |status| status.leader == Some(NodeId(4))).await;
}

/// For many election timeouts node 3 hears nobody.
async fn assert_alone(three: &Node<Idle>, others: &[&Node<Idle>]) {
    let term = three.status().get().term;
    let mut status = three.status();
    let moved = status.until(|status| status.term != term || status.leader.is_some());
    assert!(tokio::time::timeout(LIMIT, moved).await.is_err(), "it has voted: {:?}", three.status().get());
    assert_eq!(three.status().get().stopped(), None);
    for other in others {
        let status = other.status().get();
        assert_eq!((status.leader, status.stopped()), (None, None), "nobody can lead without node 3");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_admitted_while_no_member_it_knows_can_be_asked() {
    let network = MemoryNetwork::new();
    let (three, four) = (start(&network, 3, 3).await, start(&network, 4, 4).await);
    assert_alone(&three, &[&four]).await;
    let two = start(&network, 2, 2).await;
    until(&three, "node 3 follows node 4", |status| status.leader == Some(NodeId(4))).await;
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn another_disk_than_the_one_vouched_for_is_not_let_in() {
    let network = MemoryNetwork::new();
    let (two, three) = (start(&network, 2, 2).await, start(&network, 3, 3).await);
    let wiped = start(&network, 4, 9).await;
    assert_alone(&three, &[&two, &wiped]).await;
}

/// Nodes 1 to 4 were the voters, and node 4 was removed: by an entry that node 1 appended last of all, and
/// that nobody but node 4 has.
async fn removed(node: u64) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let identity = Identity { cluster_id: CLUSTER, node_id: NodeId(node), disk_id: DiskId([node as u8; 16]) };
    storage.set_identity_once(&identity).await.expect("fresh");
    write_membership(&storage, LogId::new(0, 0), &[1, 2, 3, 4], &[1, 2, 3, 4]).await;
    if node == 4 {
        write_membership(&storage, LogId::new(1, 1), &[1, 2, 3], &[1, 2, 3]).await;
    }
    storage
}

#[tokio::test(start_paused = true)]
async fn whoever_alone_has_its_own_removal_finishes_it() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for node in [2, 3, 4] {
        let transport = network.endpoint(&format!("n{node}"));
        let builder = Node::builder(Idle).storage(removed(node).await).transport(transport);
        let node = builder.cluster(Cluster::recorded()).config(Config::testing()).start();
        nodes.push(node.await.expect("a good log"));
    }
    // Three of four are there, and no other of them can win: its log is the shorter one.
    for node in &nodes[..2] {
        until(node, "one of the others leads in the end", |status| {
            status.leader.is_some_and(|leader| leader != NodeId(4))
                && !status.membership.members.contains_key(&NodeId(4))
        })
        .await;
    }
}
