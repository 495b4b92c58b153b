//! Nodes that stop, one or all, under load: no acknowledged write is lost, none is applied twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate_tests::cluster::Cluster;
use quorate_tests::load::write;
use quorate_tests::rig::Rig;

quorate_tests::over_both_rigs!(
    a_leader_stopped_under_load_loses_nothing_and_repeats_nothing,
    all_nodes_stopped_hard_keep_every_acknowledged_write,
    a_node_in_good_order_hands_leadership_on,
    a_follower_that_stopped_catches_up,
);

const WRITERS: u64 = 8;

async fn a_leader_stopped_under_load_loses_nothing_and_repeats_nothing<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    let survivors: Vec<u64> = cluster.all().into_iter().filter(|node| *node != leader).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let clients = || survivors.iter().map(|node| cluster.client(*node)).collect();
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(writer, clients(), stop.clone()))).collect();
    let progress = |status: &quorate::node::status::Status, by: u64| {
        status.applied.is_some_and(|applied| applied.index.get() >= by)
    };
    cluster.until(survivors[0], "is under load", |status| progress(status, 100)).await;
    cluster.stop_hard(leader).await;
    cluster.leader_of(&survivors).await;
    let now = cluster.node(survivors[0]).status().get().applied.map_or(0, |applied| applied.index.get());
    cluster.until(survivors[0], "serves after the failover", |status| progress(status, now + 100)).await;
    stop.store(true, Ordering::Relaxed);
    let mut outcomes = Vec::new();
    for writer in writers {
        outcomes.push(writer.await.expect("the writer saw no write twice"));
    }
    cluster.start(leader).await;
    for (writer, (acknowledged, unknown)) in (0..).zip(outcomes) {
        assert!(!acknowledged.is_empty(), "writer {writer} got nothing through");
        for node in cluster.all() {
            let ledger = cluster.client(node).all().await.expect("a healthy cluster");
            for serial in &acknowledged {
                assert_eq!(ledger.times(writer, *serial), 1, "n{node}, record {serial} of {writer}");
            }
            for serial in &unknown {
                let times = ledger.times(writer, *serial);
                assert!(times <= 1, "n{node}, record {serial} of {writer} was applied {times} times");
            }
        }
    }
}

async fn all_nodes_stopped_hard_keep_every_acknowledged_write<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    for round in 0..3 {
        for serial in 0..20 {
            let node = serial % 3 + 1;
            cluster.client(node).record(round, serial).await.expect("a healthy cluster");
        }
        for node in cluster.all() {
            cluster.stop_hard(node).await;
        }
        cluster.start_all().await;
        cluster.leader().await;
        for node in cluster.all() {
            let client = cluster.client(node);
            assert_eq!(client.len().await, Ok((round + 1) * 20), "n{node} after round {round}");
        }
    }
}

async fn a_node_in_good_order_hands_leadership_on<R: Rig>() {
    let mut cluster = Cluster::<R>::new(3);
    // Nobody but the first would stand for election by itself for as long as anything is waited for.
    let election = &mut cluster.config.election;
    (election.heartbeat_ms, election.timeout_min_ms, election.timeout_max_ms) = (250, 2_000, 3_000);
    cluster.start(1).await;
    let election = &mut cluster.config.election;
    (election.timeout_min_ms, election.timeout_max_ms) = (59_000, 60_000);
    cluster.start_all().await;
    assert_eq!(cluster.leader().await, 1);
    cluster.shut_down(1).await;
    let next = cluster.leader().await;
    cluster.client(next).record(0, 0).await.expect("a majority");
}

async fn a_follower_that_stopped_catches_up<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    cluster.stop_hard(follower).await;
    for serial in 0..50 {
        cluster.client(leader).record(0, serial).await.expect("a majority");
    }
    cluster.start(follower).await;
    cluster.settle().await;
    let client = cluster.client(follower).with_consistency(quorate::client::Consistency::Local);
    assert_eq!(client.len().await, Ok(50), "applied here, and not only elsewhere");
}
