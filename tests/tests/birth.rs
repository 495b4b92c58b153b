//! How a cluster comes to be, and who must never vote in it.

use std::time::Duration;

use quorate::error::{BootstrapError, NotApplied, ReadError, StartError, WriteError};
use quorate::node::config::{Config, ConfigBuilder};
use quorate::node::status::Phase;
use quorate::transport::Transport;
use quorate::types::{Member, NodeId};
use quorate::{Cluster as Membership, Node};
use quorate_tests::cluster::{Cluster, within};
use quorate_tests::ledger::Ledger;
use quorate_tests::rig::Rig;

quorate_tests::over_both_rigs!(
    nothing_is_served_before_the_last_first_member_has_come,
    a_wiped_voter_is_refused_by_all_and_votes_for_nobody,
    a_wiped_voter_cannot_make_up_a_quorum_that_lost_what_it_acknowledged,
    the_directory_of_another_node_is_refused,
    the_directory_of_another_cluster_is_refused,
    a_node_that_the_list_does_not_name_is_refused,
    a_member_with_another_list_is_refused,
    a_new_key_beside_a_cluster_that_exists_is_told_that_nobody_knows_it,
    a_node_that_waits_shows_who_does_not_know_it,
    every_wrong_field_of_a_configuration_is_named,
    a_cluster_of_one_serves_at_once,
);

async fn nothing_is_served_before_the_last_first_member_has_come<R: Rig>() {
    let mut cluster = Cluster::<R>::new(3);
    cluster.start(1).await;
    cluster.start(2).await;
    let waits_for_3 = |phase: &Phase| matches!(phase, Phase::Joining { waiting_for, unfit } if *waiting_for == [NodeId(3)] && unfit.is_empty());
    for node in [1, 2] {
        cluster.until(node, "waits for n3 alone", |status| waits_for_3(&status.phase)).await;
        let client = cluster.client(node).with_timeout(Duration::from_millis(500));
        assert_eq!(client.record(0, 0).await, Err(WriteError::NotApplied(NotApplied::NotReady)));
        assert_eq!(client.times(0, 0).await, Err(ReadError::NotReady));
        let status = cluster.node(node).status().get();
        assert_eq!((status.leader, status.last_log), (None, None), "n{node} has voted or appended");
    }
    cluster.start(3).await;
    cluster.leader().await;
    for node in cluster.all() {
        assert_eq!(cluster.client(node).record(0, node).await, Ok(1));
    }
}

async fn a_wiped_voter_is_refused_by_all_and_votes_for_nobody<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    let wiped = leader % 3 + 1;
    cluster.client(leader).record(0, 0).await.expect("a healthy cluster");
    cluster.stop_hard(wiped).await;
    cluster.rig.wipe(wiped);
    if let Err(error) = cluster.try_start(wiped).await {
        let StartError::Bootstrap(BootstrapError::DiskReplaced { node_id, recorded, found }) = &error else {
            panic!("{error}")
        };
        assert_eq!(node_id.get(), wiped);
        assert_ne!(recorded, found);
        assert!(error.to_string().contains("under a new node id"), "the way out: {error}");
    } else {
        // On a busy machine nobody has answered yet: then it stops once somebody has.
        let status = cluster.until(wiped, "stops", |status| status.stopped().is_some()).await;
        assert!(status.stopped().is_some_and(|why| why.contains("under a new node id")), "{status:?}");
    }
    cluster.client(leader).record(0, 1).await.expect("a majority without it");
}

async fn a_wiped_voter_cannot_make_up_a_quorum_that_lost_what_it_acknowledged<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    let (wiped, behind) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.stop_hard(behind).await;
    // On the disks of the leader and of the one that will be wiped, and nowhere else.
    cluster.client(leader).record(0, 0).await.expect("a majority");
    cluster.stop_hard(wiped).await;
    cluster.stop_hard(leader).await;
    cluster.rig.wipe(wiped);
    cluster.start(behind).await;
    // Its vote with that of the one behind would be a quorum that never heard of the record.
    let refused = cluster.try_start(wiped).await;
    assert!(
        matches!(refused, Err(StartError::Bootstrap(BootstrapError::DiskReplaced { .. }))),
        "{refused:?}"
    );
    let client = cluster.client(behind).with_timeout(Duration::from_secs(2));
    assert!(client.record(0, 1).await.is_err(), "one of three voters alone");
    cluster.start(leader).await;
    cluster.leader().await;
    assert_eq!(cluster.client(behind).times(0, 0).await, Ok(1));
}

/// Starts a node from parts that do not fit, and says why it does not start.
async fn refused<R: Rig>(rig: &R, storage: u64, key: u64, cluster: Membership, config: Config) -> StartError {
    let started = Node::builder(Ledger::default())
        .storage(rig.storage(storage))
        .transport(rig.transport(key).await)
        .cluster(cluster)
        .config(config)
        .start()
        .await;
    started.expect_err("the parts do not fit")
}

async fn the_directory_of_another_node_is_refused<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    cluster.stop_hard(1).await;
    cluster.stop_hard(2).await;
    let list = Membership::bootstrap(cluster.rig.members());
    let error = refused(&cluster.rig, 1, 2, list.clone(), Config::testing()).await;
    let expected = BootstrapError::OtherNode { recorded: NodeId(1), offered: NodeId(2) };
    assert!(matches!(&error, StartError::Bootstrap(found) if *found == expected), "{error}");
    let config = ConfigBuilder::from(Config::testing()).node_id(2).build().expect("good");
    let error = refused(&cluster.rig, 1, 1, list, config).await;
    assert!(matches!(&error, StartError::Bootstrap(found) if *found == expected), "{error}");
    // Without a list there is the membership on the disk.
    let error = refused(&cluster.rig, 1, 2, Membership::recorded(), Config::testing()).await;
    assert!(matches!(&error, StartError::Bootstrap(BootstrapError::OtherKey { .. })), "{error}");
    cluster.start(1).await;
    cluster.leader().await;
}

async fn the_directory_of_another_cluster_is_refused<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    cluster.stop_hard(1).await;
    let other = Membership::bootstrap(cluster.rig.members()).named("other");
    let error = refused(&cluster.rig, 1, 1, other, Config::testing()).await;
    assert!(matches!(&error, StartError::Bootstrap(BootstrapError::OtherCluster { .. })), "{error}");
    assert!(error.to_string().contains("empty directory"), "the way out: {error}");
}

async fn a_node_that_the_list_does_not_name_is_refused<R: Rig>() {
    let rig = R::new(3);
    let mut list = rig.members();
    list.remove(0);
    let error = refused(&rig, 1, 1, Membership::bootstrap(list), Config::testing()).await;
    assert!(matches!(&error, StartError::Bootstrap(BootstrapError::NotListed { .. })), "{error}");
    let config = ConfigBuilder::from(Config::testing()).node_id(2).build().expect("good");
    let error = refused(&rig, 1, 1, Membership::bootstrap(rig.members()), config).await;
    let expected = BootstrapError::OtherNodeId { configured: NodeId(2), listed: NodeId(1) };
    assert!(matches!(&error, StartError::Bootstrap(found) if *found == expected), "{error}");
    let error = refused(&rig, 1, 1, Membership::recorded(), Config::testing()).await;
    assert!(matches!(&error, StartError::Bootstrap(BootstrapError::NothingRecorded)), "{error}");
}

async fn a_member_with_another_list_is_refused<R: Rig>() {
    let mut cluster = Cluster::<R>::new(3);
    cluster.start(1).await;
    let mut list: Vec<Member> = cluster.rig.members();
    list.pop();
    let error = refused(&cluster.rig, 2, 2, Membership::bootstrap(list), Config::testing()).await;
    let StartError::Bootstrap(BootstrapError::PeerInOtherCluster { peer, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(*peer, NodeId(1));
}

/// A stranger that calls itself node 3, and the list with its key in the place of node 3's.
async fn replacement<R: Rig>(rig: &R) -> (R::Transport, Membership) {
    let stranger = rig.rogue(99).await;
    let mut list: Vec<Member> = rig.members();
    list[2] = Member::new(3, stranger.identity(), stranger.address());
    (stranger, Membership::bootstrap(list))
}

async fn a_new_key_beside_a_cluster_that_exists_is_told_that_nobody_knows_it<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    cluster.stop_hard(3).await;
    let (stranger, list) = replacement(&cluster.rig).await;
    let key = stranger.identity();
    let storage = cluster.rig.storage(99);
    let started = Node::builder(Ledger::default()).storage(storage).transport(stranger).cluster(list);
    match started.config(Config::testing()).start().await {
        Err(StartError::Bootstrap(error @ BootstrapError::NotAdmitted { .. })) => {
            assert!(error.to_string().contains(&key.to_string()), "its key: {error}");
            assert!(error.to_string().contains("added to it under a new node id"), "the way out: {error}");
        }
        Err(error) => panic!("{error}"),
        // On a busy machine nobody has answered yet: then it shows who refuses.
        Ok(node) => {
            let mut status = node.status();
            let told = status
                .until(|status| matches!(&status.phase, Phase::Joining { unfit, .. } if !unfit.is_empty()));
            within("it shows who does not know it", told).await.expect("it waits");
        }
    }
}

async fn a_node_that_waits_shows_who_does_not_know_it<R: Rig>() {
    let mut cluster = Cluster::<R>::new(3);
    let (stranger, list) = replacement(&cluster.rig).await;
    let storage = cluster.rig.storage(99);
    let started = Node::builder(Ledger::default()).storage(storage).transport(stranger).cluster(list);
    let node = started.config(Config::testing()).start().await.expect("nobody is there who could refuse");
    cluster.start(1).await;
    let mut status = node.status();
    let told =
        status.until(|status| matches!(&status.phase, Phase::Joining { unfit, .. } if *unfit == [NodeId(1)]));
    within("it shows that node 1 does not know it", told).await.expect("it goes on waiting");
    assert_eq!(status.get().stopped(), None, "node 1 may yet be started with the same list");
}

async fn every_wrong_field_of_a_configuration_is_named<R: Rig>() {
    let rig = R::new(1);
    let mut config = Config::testing();
    config.election.heartbeat_ms = 0;
    config.limits.batches_in_flight = 0;
    config.snapshot.chunk_bytes = 1;
    let error = refused(&rig, 1, 1, Membership::bootstrap(rig.members()), config).await.to_string();
    for field in ["election.heartbeat_ms", "limits.batches_in_flight", "snapshot.chunk_bytes"] {
        assert!(error.contains(field), "{field} is not named: {error}");
    }
}

async fn a_cluster_of_one_serves_at_once<R: Rig>() {
    let mut cluster = Cluster::<R>::started(1).await;
    assert_eq!(cluster.client(1).record(0, 0).await, Ok(1));
    cluster.stop_hard(1).await;
    cluster.start(1).await;
    assert_eq!(cluster.client(1).times(0, 0).await, Ok(1));
}
