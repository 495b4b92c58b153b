//! Disks that are lost, and ids that are given again.

use std::time::Duration;

use quorate::error::{BootstrapError, JoinError, NotChanged, StartError};
use quorate::node::status::{Phase, Role};
use quorate::types::NodeId;
use quorate_tests::cluster::Cluster;
use quorate_tests::rig::Rig;

use super::{not_applied, others};

quorate_tests::over_both_rigs!(
    a_wiped_voter_comes_back_under_a_new_id,
    a_wiped_learner_is_refused_by_all,
    an_id_that_is_given_again_is_another_node,
    who_was_away_hears_whoever_has_an_id_again,
);

/// On a busy machine nobody has answered a wiped node when it has started: it stops once somebody has.
async fn stops<R: Rig>(cluster: &mut Cluster<R>, node: u64) {
    let status = cluster.until(node, "stops", |status| status.stopped().is_some()).await;
    assert!(status.stopped().is_some_and(|why| why.contains("under a new node id")), "{status:?}");
    cluster.stop_hard(node).await;
}

async fn a_wiped_voter_comes_back_under_a_new_id<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(3, 1);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let wiped = leader % 3 + 1;
    cluster.client(leader).record(0, 0).await.expect("a healthy cluster");
    cluster.stop_hard(wiped).await;
    cluster.rig.wipe(wiped);
    match cluster.try_start(wiped).await {
        Err(StartError::Bootstrap(BootstrapError::DiskReplaced { .. })) => {}
        Err(error) => panic!("{error}"),
        Ok(()) => stops(&mut cluster, wiped).await,
    }
    // The way out that the error says. Its directory is still empty, its key a new one.
    cluster.members(leader).remove(wiped).await.expect("two of three are alive");
    cluster.join(leader, 4).await;
    cluster.members(leader).promote(4).await.expect("it catches up");
    assert_eq!(cluster.client(4).times(0, 0).await, Ok(1));
    assert_eq!(cluster.voters_and_learners(leader).await, (others(&[1, 2, 3, 4], wiped), vec![]));
}

async fn a_wiped_learner_is_refused_by_all<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(3, 1);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    cluster.join(leader, 4).await;
    cluster.until(4, "takes part", |status| status.phase == Phase::Running).await;
    cluster.stop_hard(4).await;
    cluster.rig.wipe(4);
    match cluster.try_start(4).await {
        Err(StartError::Join(error @ JoinError::DiskReplaced { node_id, recorded, found })) => {
            assert_eq!(node_id.get(), 4);
            assert_ne!(recorded, found);
            assert!(error.to_string().contains("under a new node id"), "the way out: {error}");
        }
        Err(error) => panic!("{error}"),
        Ok(()) => stops(&mut cluster, 4).await,
    }
    let soon = cluster.members(leader).with_timeout(Duration::from_secs(1));
    let refused = not_applied(soon.promote(4).await);
    assert_eq!(refused, NotChanged::Silent { node_id: NodeId(4) }, "however far it had come");
}

async fn an_id_that_is_given_again_is_another_node<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(1, 1);
    cluster.start_all().await;
    cluster.leader().await;
    // More than is sent at once: what a joiner hears of first is the time when node 1 was alone.
    for note in 0..48 {
        cluster.client(1).note(format!("{note}"), "text".repeat(16 << 10)).await.expect("it is alone");
    }
    cluster.join(1, 2).await;
    cluster.members(1).promote(2).await.expect("it catches up");
    cluster.members(1).remove(1).await.expect("one stays");
    cluster.leader_of(&[2]).await;
    cluster.stop_hard(1).await;
    cluster.rig.wipe(1);
    // Its key and its number, and another disk.
    cluster.join(2, 1).await;
    cluster.client(2).record(0, 0).await.expect("it leads");
    let status = cluster.until(1, "takes part", |status| status.phase == Phase::Running).await;
    assert_eq!(status.leader, Some(NodeId(2)));
    assert_eq!(cluster.client(1).times(0, 0).await, Ok(1));
    assert_eq!(cluster.voters_and_learners(2).await, (vec![2], vec![1]));
    let term = cluster.node(2).status().get().term;
    cluster.members(2).promote(1).await.expect("it has caught up");
    assert_eq!(cluster.client(1).record(0, 1).await, Ok(1));
    assert_eq!(cluster.node(2).status().get().term, term, "nobody stood for election");
}

async fn who_was_away_hears_whoever_has_an_id_again<R: Rig>() {
    let mut cluster = Cluster::<R>::started(5).await;
    let leader = cluster.leader().await;
    let [wiped, away, near, late] = others(&[1, 2, 3, 4, 5], leader)[..] else { unreachable!("five") };
    cluster.stop_hard(away).await;
    cluster.stop_hard(wiped).await;
    cluster.rig.wipe(wiped);
    cluster.members(leader).remove(wiped).await.expect("three of four are alive");
    // The same key and number, and an empty disk.
    cluster.join(leader, wiped).await;
    cluster.members(leader).promote(wiped).await.expect("it catches up");
    cluster
        .until(late, "knows it", |status| {
            status.membership.voters.len() == 1 && status.membership.kind(NodeId(wiped)).is_some()
        })
        .await;
    // Of those that are left then, only the one that came again has all that was acknowledged.
    cluster.isolate(late);
    cluster.client(leader).record(0, 0).await.expect("three of five");
    cluster.until(wiped, "has it", |status| status.role == Role::Follower).await;
    cluster.members(leader).list().await.expect("three of five");
    assert_eq!(cluster.client(wiped).times(0, 0).await, Ok(1));
    cluster.stop_hard(leader).await;
    cluster.stop_hard(near).await;
    cluster.heal();
    // Whoever was away knows the old one, with the old disk.
    cluster.start(away).await;
    assert_eq!(cluster.client(away).record(0, 1).await, Ok(1), "three of five");
    assert_eq!(cluster.client(late).times(0, 0).await, Ok(1));
}
