//! The same machine on nodes in memory.

#![allow(clippy::disallowed_methods, reason = "tests run on tokio")]

use std::time::Duration;

use quorate::client::Consistency;
use quorate::node::config::Config;
use quorate::storage::MemoryStorage;
use quorate::transport::{MemoryNetwork, Transport};
use quorate::types::Member;
use quorate::{Cluster, Node};

use crate::{Leases, Look, Number, Take};

/// A name that is taken for an hour.
fn take(name: &str) -> Take {
    Take { name: name.to_owned(), micros: 3_600_000_000 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_stops_and_the_others_go_on() {
    let network = MemoryNetwork::new();
    let endpoints: Vec<_> = (1..=3).map(|n| network.endpoint(&format!("n{n}"))).collect();
    let members: Vec<Member> = (1_u64..)
        .zip(&endpoints)
        .map(|(node, transport)| Member::new(node, transport.identity(), transport.address()))
        .collect();
    let mut nodes = Vec::new();
    for transport in endpoints {
        let node = Node::builder(Leases::default())
            .storage(MemoryStorage::new())
            .transport(transport)
            .cluster(Cluster::bootstrap(members.clone()))
            .config(Config::testing())
            .start()
            .await
            .expect("a fresh node starts");
        nodes.push(node);
    }
    for (name, node) in ["a", "b", "c"].into_iter().zip(&nodes) {
        let applied = node.plain_client().write(&take(name)).await.expect("a healthy cluster");
        assert_eq!(applied.response, Number(None), "it was free");
    }
    let status = nodes[0].status().until(|status| status.leader.is_some()).await.expect("it lives");
    let leader = status.leader.expect("there is one");
    let at = usize::try_from(leader.get()).expect("small") - 1;
    nodes.remove(at).shutdown().await.expect("in good order");
    for (taken, name, node) in [(4, "d", &nodes[0]), (5, "e", &nodes[1])] {
        node.plain_client().write(&take(name)).await.expect("a majority");
        for consistency in [Consistency::Linearizable, Consistency::Stale { at_most: Duration::from_secs(1) }]
        {
            let client = node.plain_client().with_consistency(consistency);
            assert_eq!(client.read(&Look::Count).await.expect("a majority"), Number(Some(taken)));
        }
    }
    for node in nodes {
        node.shutdown().await.expect("in good order");
    }
}

/// Compiles only if every call of a node can be spawned.
#[tokio::test]
async fn every_call_of_a_node_can_be_spawned() {
    fn sent<F: Future + Send + 'static>(future: F) -> F {
        future
    }
    let transport = MemoryNetwork::new().endpoint("n1");
    let members = [Member::new(1, transport.identity(), transport.address())];
    let starting = Node::builder(Leases::default())
        .storage(MemoryStorage::new())
        .transport(transport)
        .cluster(Cluster::bootstrap(members))
        .config(Config::testing())
        .start();
    let node = sent(starting).await.expect("a cluster of one");
    let client = node.plain_client();
    let (writer, reader) = (client.clone(), client);
    let written = tokio::spawn(async move { writer.write(&take("a")).await }).await.expect("no panic");
    assert_eq!(written.expect("a cluster of one").response, Number(None));
    let read = tokio::spawn(async move { reader.read(&Look::Count).await }).await.expect("no panic");
    assert_eq!(read, Ok(Number(Some(1))));
    let stopped = sent(async move {
        node.transfer_leader(node.id()).await;
        node.shutdown().await
    });
    assert_eq!(tokio::spawn(stopped).await.expect("no panic"), Ok(()));
}
