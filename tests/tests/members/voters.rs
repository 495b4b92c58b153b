//! Voters that come and go, and members that are removed.

use std::time::Duration;

use quorate::error::{NotChanged, WriteError};
use quorate::node::status::{Phase, Role};
use quorate::types::{Member, NodeId};
use quorate_tests::cluster::Cluster;
use quorate_tests::rig::Rig;

use super::load::{Load, more, nothing_is_lost};
use super::{not_applied, others};

quorate_tests::over_both_rigs!(
    a_cluster_grows_under_writes_and_shrinks_again,
    one_that_was_alone_for_long_grows_at_once,
    a_dead_voter_is_replaced,
    the_leader_is_removed_under_writes,
    a_removed_node_is_told_and_disturbs_nobody,
    a_removed_learner_is_told,
);

async fn a_cluster_grows_under_writes_and_shrinks_again<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(3, 2);
    cluster.start_all().await;
    cluster.leader().await;
    let load = Load::on(&cluster, &[1, 2, 3]);
    more(&cluster, 1).await;
    for node in [4, 5] {
        cluster.join(1, node).await;
        cluster.members(2).promote(node).await.expect("it catches up");
        more(&cluster, node).await;
    }
    assert_eq!(cluster.voters_and_learners(3).await, (vec![1, 2, 3, 4, 5], vec![]));
    let leader = cluster.leader().await;
    // Two of the first ones go; whoever leads stays, and one of the first with it.
    let leave: Vec<u64> = others(&[1, 2, 3], leader).into_iter().take(2).collect();
    let outcomes = load.stop().await;
    for node in &leave {
        cluster.members(leader).remove(*node).await.expect("three of four are alive");
    }
    let stay = others(&others(&[1, 2, 3, 4, 5], leave[0]), leave[1]);
    assert_eq!(cluster.voters_and_learners(leader).await, (stay.clone(), vec![]));
    for node in &leave {
        cluster.shut_down(*node).await;
    }
    let dead = *others(&stay, leader).first().expect("three stay");
    cluster.stop_hard(dead).await;
    let left = others(&stay, dead);
    cluster.leader_of(&left).await;
    for node in &left {
        assert_eq!(cluster.client(*node).record(90, *node).await, Ok(1), "two of three are a majority");
        nothing_is_lost(&cluster, *node, &outcomes).await;
    }
}

async fn one_that_was_alone_for_long_grows_at_once<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(1, 1);
    cluster.start_all().await;
    cluster.leader().await;
    // For several times what it would take another leader to think that it is cut off.
    let mut status = cluster.node(1).status();
    let lost = status.until(|status| status.role != Role::Leader);
    assert!(tokio::time::timeout(Duration::from_millis(2_500), lost).await.is_err(), "nobody else votes");
    cluster.join(1, 2).await;
    cluster.members(1).promote(2).await.expect("it catches up");
    assert_eq!(cluster.client(2).record(0, 0).await, Ok(1));
}

async fn a_dead_voter_is_replaced<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(3, 1);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let dead = leader % 3 + 1;
    cluster.client(leader).record(0, 0).await.expect("a healthy cluster");
    cluster.stop_hard(dead).await;
    let soon = cluster.members(leader).with_timeout(Duration::from_secs(1));
    let refused = not_applied(soon.replace(dead, cluster.member(4)).await);
    assert_eq!(refused, NotChanged::NotJoined { node_id: NodeId(4) });
    // The member was added, and may come now; then the same call goes through.
    cluster.ticket(leader, 4).await;
    cluster.start(4).await;
    cluster.members(leader).replace(dead, cluster.member(4)).await.expect("two of three are alive");
    let expected = others(&[1, 2, 3, 4], dead);
    assert_eq!(cluster.voters_and_learners(4).await, (expected.clone(), vec![]));
    cluster.members(4).replace(dead, cluster.member(4)).await.expect("as it is already");
    let other_key = Member { node_id: NodeId(4), ..cluster.member(dead) };
    let refused = not_applied(cluster.members(4).replace(dead, other_key).await);
    assert!(matches!(refused, NotChanged::NodeTaken { node_id: NodeId(4), .. }), "{refused}");
    let other = others(&[1, 2, 3], leader).into_iter().find(|node| *node != dead).expect("three");
    cluster.stop_hard(other).await;
    assert_eq!(cluster.client(4).record(0, 1).await, Ok(1), "the new one is part of the majority");
    assert_eq!(cluster.client(4).times(0, 0).await, Ok(1));
}

async fn the_leader_is_removed_under_writes<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(3, 1);
    cluster.start_all().await;
    cluster.leader().await;
    cluster.join(1, 4).await;
    cluster.members(1).promote(4).await.expect("it catches up");
    let all = cluster.running();
    let leader = cluster.leader().await;
    let stay = others(&all, leader);
    let load = Load::on(&cluster, &stay);
    more(&cluster, stay[0]).await;
    // By itself, and while it is written to.
    cluster.members(leader).remove(leader).await.expect("three of four stay");
    cluster.until(leader, "shows that it was removed", |status| status.phase == Phase::Removed).await;
    cluster.leader_of(&stay).await;
    more(&cluster, stay[0]).await;
    let outcomes = load.stop().await;
    assert_eq!(cluster.voters_and_learners(stay[0]).await, (stay.clone(), vec![]));
    for node in &stay {
        nothing_is_lost(&cluster, *node, &outcomes).await;
    }
}

async fn a_removed_node_is_told_and_disturbs_nobody<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    let removed = leader % 3 + 1;
    cluster.members(leader).remove(removed).await.expect("two of three stay");
    cluster.until(removed, "shows that it was removed", |status| status.phase == Phase::Removed).await;
    let term = cluster.node(leader).status().get().term;
    // For many election timeouts.
    let mut status = cluster.node(leader).status();
    let disturbed = status.until(|status| status.term != term || status.role != Role::Leader);
    let disturbed = tokio::time::timeout(Duration::from_secs(3), disturbed).await;
    assert!(disturbed.is_err(), "it disturbed the leader: {disturbed:?}");
    cluster.client(leader).record(0, 0).await.expect("two of two");
    let client = cluster.client(removed).with_timeout(Duration::from_secs(1));
    let error = client.record(0, 1).await.expect_err("nobody admits it");
    assert!(matches!(error, WriteError::NotApplied(_)), "{error}");
    // With its old disk it is refused as well.
    cluster.stop_hard(removed).await;
    cluster.start(removed).await;
    cluster.until(removed, "shows that it was removed", |status| status.phase == Phase::Removed).await;
}

async fn a_removed_learner_is_told<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(3, 1);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    cluster.join(leader, 4).await;
    cluster.until(4, "takes part", |status| status.phase == Phase::Running).await;
    cluster.members(leader).remove(4).await.expect("a healthy cluster");
    assert_eq!(cluster.voters_and_learners(leader).await, (vec![1, 2, 3], vec![]));
    cluster.until(4, "shows that it was removed", |status| status.phase == Phase::Removed).await;
    let unknown = NotChanged::UnknownNode { node_id: NodeId(4) };
    assert_eq!(not_applied(cluster.members(leader).remove(4).await), unknown);
}
