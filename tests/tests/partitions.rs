//! Nodes that cannot reach each other: the minority refuses, and heals by itself.

use std::time::Duration;

use quorate::client::Consistency;
use quorate::error::{ReadError, WriteError};
use quorate::node::status::Role;
use quorate::types::NodeId;
use quorate_tests::cluster::Cluster;
use quorate_tests::rig::{MemoryRig, Rig};

quorate_tests::over_both_rigs!(
    a_node_says_whether_it_is_connected,
    a_minority_refuses_writes_and_fresh_reads_and_heals_by_itself,
    a_follower_that_was_cut_off_does_not_unseat_the_leader,
    a_leader_that_reaches_some_and_no_majority_makes_way_for_one_that_does,
);

async fn a_minority_refuses_writes_and_fresh_reads_and_heals_by_itself<R: Rig>() {
    let cluster = Cluster::<R>::started(3).await;
    let old = cluster.leader().await;
    cluster.client(old).record(0, 0).await.expect("a healthy cluster");
    cluster.isolate(old);
    let majority: Vec<u64> = cluster.all().into_iter().filter(|node| *node != old).collect();
    cluster.leader_of(&majority).await;
    cluster.client(majority[0]).record(0, 1).await.expect("a majority");

    let alone = cluster.client(old).with_timeout(Duration::from_secs(2));
    let read = alone.times(0, 1).await.expect_err("no quorum");
    assert!(matches!(read, ReadError::NoLeader { .. }), "{read}");
    // By now its lease is long over: it appends nothing, and says so whatever the deadline.
    for (serial, millis) in [(2, 113), (4, 300), (5, 777)] {
        let write = alone.clone().with_timeout(Duration::from_millis(millis)).record(0, serial).await;
        assert!(matches!(write, Err(WriteError::NotApplied(_))), "with {millis} ms: {write:?}");
    }
    let at_most = Duration::from_millis(100);
    let stale = alone.clone().with_consistency(Consistency::Stale { at_most });
    assert_eq!(stale.times(0, 1).await, Err(ReadError::TooStale { at_most }));
    let local = alone.with_consistency(Consistency::Local);
    assert_eq!(local.times(0, 0).await, Ok(1), "what it has applied is still there");

    cluster.heal();
    cluster.leader().await;
    assert_eq!(cluster.client(old).times(0, 1).await, Ok(1));
    cluster.client(old).record(0, 3).await.expect("healed");
    for node in cluster.all() {
        for serial in [2, 4, 5] {
            assert_eq!(cluster.client(node).times(0, serial).await, Ok(0), "n{node}, record {serial}");
        }
    }
}

async fn a_follower_that_was_cut_off_does_not_unseat_the_leader<R: Rig>() {
    let cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    let term = cluster.node(leader).status().get().term;
    let follower = leader % 3 + 1;
    cluster.isolate(follower);
    // Longer than any election timeout: it stands for election all the while.
    let alone = cluster.client(follower).with_timeout(Duration::from_millis(1_500));
    assert!(matches!(alone.times(0, 0).await, Err(ReadError::NoLeader { .. })));
    for serial in 0..20 {
        cluster.client(leader).record(0, serial).await.expect("a majority");
    }
    cluster.heal();
    cluster.client(follower).record(0, 20).await.expect("healed");
    cluster.settle().await;
    let status = cluster.node(leader).status().get();
    assert_eq!((cluster.leader().await, status.term), (leader, term), "pre-vote keeps it from a new term");
}

async fn a_leader_that_reaches_some_and_no_majority_makes_way_for_one_that_does<R: Rig>() {
    let mut cluster = Cluster::<R>::started(4).await;
    let leader = cluster.leader().await;
    let rest: Vec<u64> = cluster.all().into_iter().filter(|node| *node != leader).collect();
    let [dead, near, far] = rest[..] else { unreachable!("four nodes") };
    cluster.client(leader).record(0, 0).await.expect("a healthy cluster");
    cluster.stop_hard(dead).await;
    // Three of four are a majority, and only `near` reaches all three. It hears the leader all the while.
    cluster.cut(leader, far);
    // Also while somebody asks it all the time whether it still leads.
    let reading = [leader, near].map(|node| {
        let client = cluster.client(node).with_timeout(Duration::from_secs(1));
        tokio::spawn(async move {
            loop {
                drop(client.times(0, 0).await);
            }
        })
    });
    assert_eq!(cluster.client(near).record(0, 1).await, Ok(1));
    reading.iter().for_each(tokio::task::JoinHandle::abort);
    cluster.until(near, "leads", |status| status.leader == Some(NodeId(near))).await;
    for node in [far, leader] {
        assert_eq!(cluster.client(node).record(1, node).await, Ok(1), "n{node}");
        assert_eq!(cluster.client(node).times(0, 0).await, Ok(1), "n{node}");
    }
}

async fn a_node_says_whether_it_is_connected<R: Rig>() {
    let cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    for alone in [leader, follower] {
        for node in cluster.all() {
            cluster.until(node, "is connected", |status| status.connected).await;
        }
        cluster.isolate(alone);
        cluster.until(alone, "says that it is alone", |status| !status.connected).await;
        cluster.heal();
    }
    for node in cluster.all() {
        cluster.until(node, "is connected again", |status| status.connected).await;
        // With no writes to bring news, heartbeats alone keep it so: several times what it takes to
        // show the loss.
        let mut status = cluster.node(node).status();
        let lost = status.until(|status| !status.connected);
        assert!(tokio::time::timeout(Duration::from_secs(2), lost).await.is_err(), "n{node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_majority_whose_disks_stall_for_a_while_keeps_its_leader() {
    let cluster = Cluster::<MemoryRig>::started(3).await;
    let leader = cluster.leader().await;
    cluster.client(leader).record(0, 0).await.expect("a healthy cluster");
    let term = cluster.node(leader).status().get().term;
    let followers: Vec<u64> = cluster.all().into_iter().filter(|node| *node != leader).collect();
    for node in &followers {
        cluster.rig.storage(*node).hold_flushes();
    }
    let client = cluster.client(leader);
    let writing = tokio::spawn(async move { client.record(0, 1).await });
    // For several times what an election takes.
    let mut status = cluster.node(leader).status();
    let lost = status.until(|status| status.term != term || status.role != Role::Leader);
    let lost = tokio::time::timeout(Duration::from_millis(1_600), lost).await;
    assert!(lost.is_err(), "it leads no more: {lost:?}");
    for node in &followers {
        cluster.rig.storage(*node).release();
    }
    assert_eq!(writing.await.expect("no panic"), Ok(1), "it was late, and no more");
    let status = cluster.node(leader).status().get();
    assert_eq!((cluster.leader().await, status.term), (leader, term));
}
