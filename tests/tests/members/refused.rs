//! Changes that are refused as not applied.

use std::time::Duration;

use quorate::error::NotChanged;
use quorate::types::{Member, NodeId};
use quorate_tests::cluster::Cluster;
use quorate_tests::rig::Rig;

use super::{not_applied, others};

quorate_tests::over_both_rigs!(
    a_change_that_leaves_no_majority_alive_is_refused,
    what_cannot_be_is_refused_from_any_node,
    a_leader_that_was_cut_off_says_nothing_of_the_members,
);

async fn a_change_that_leaves_no_majority_alive_is_refused<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    let (dead, alive) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.stop_hard(dead).await;
    for node in [alive, leader] {
        let refused = not_applied(cluster.members(leader).remove(node).await);
        assert_eq!(refused, NotChanged::NoQuorum { voters: 2, live: 1 }, "n{node}");
    }
    assert_eq!(cluster.voters_and_learners(alive).await, (vec![1, 2, 3], vec![]));
    cluster.members(alive).remove(dead).await.expect("the two that stay are alive");
    assert_eq!(cluster.client(alive).record(0, 0).await, Ok(1));
}

async fn what_cannot_be_is_refused_from_any_node<R: Rig>() {
    let cluster = Cluster::<R>::started(3).await;
    let (stranger, second) = (cluster.rig.rogue(99).await, cluster.member(2));
    let key = quorate::transport::Transport::identity(&stranger);
    let member = |node: u64| Member::new(node, key.clone(), "127.0.0.1:1");
    for node in cluster.all() {
        let members = cluster.members(node);
        let refused = |result| not_applied(result);
        assert_eq!(refused(members.add_learner(member(0)).await), NotChanged::NodeZero);
        let taken = NotChanged::NodeTaken {
            node_id: NodeId(2),
            identity: second.identity.clone(),
            address: second.address.clone(),
        };
        assert_eq!(refused(members.add_learner(member(2)).await), taken);
        let other = Member { node_id: NodeId(9), ..second.clone() };
        let taken = NotChanged::IdentityTaken { identity: second.identity.clone(), node_id: NodeId(2) };
        assert_eq!(refused(members.add_learner(other).await), taken);
        let nowhere = Member::new(9, key.clone(), "");
        let empty = NotChanged::Address { node_id: NodeId(9), found: 0 };
        assert_eq!(refused(members.add_learner(nowhere).await), empty);
        members.add_learner(second.clone()).await.expect("as it is already");
        let unknown = NotChanged::UnknownNode { node_id: NodeId(9) };
        assert_eq!(refused(members.promote(9).await), unknown);
        assert_eq!(refused(members.remove(9).await), unknown);
        assert_eq!(refused(members.ticket(9).await.map(drop)), unknown);
    }
    let list = cluster.voters_and_learners(1).await;
    let unknown = NotChanged::UnknownNode { node_id: NodeId(9) };
    assert_eq!(not_applied(cluster.members(1).replace(9, member(8)).await), unknown);
    assert_eq!(cluster.voters_and_learners(1).await, list, "nobody was added for that");
    let alone = Cluster::<R>::started(1).await;
    let last = NotChanged::LastVoter { node_id: NodeId(1) };
    assert_eq!(not_applied(alone.members(1).remove(1).await), last);
}

async fn a_leader_that_was_cut_off_says_nothing_of_the_members<R: Rig>() {
    let cluster = {
        let mut cluster = Cluster::<R>::with_spares(3, 1);
        cluster.start_all().await;
        cluster
    };
    let old = cluster.leader().await;
    let rest = others(&[1, 2, 3], old);
    cluster.isolate(old);
    let new = cluster.leader_of(&rest).await;
    cluster.members(new).add_learner(cluster.member(4)).await.expect("two of three");
    // It never heard of node 4, and has every reason to take itself for the leader.
    let alone = cluster.members(old).with_timeout(Duration::from_secs(1));
    let nobody = |reason: &NotChanged| matches!(reason, NotChanged::NoLeader { .. } | NotChanged::Deadline);
    let told = [
        ("a removal", not_applied(alone.remove(4).await)),
        ("a promotion", not_applied(alone.promote(4).await)),
        ("one that is there", not_applied(alone.add_learner(cluster.member(new)).await)),
        ("a voter", not_applied(alone.promote(new).await)),
        ("a list", not_applied(alone.list().await.map(drop))),
    ];
    for (what, reason) in told {
        assert!(nobody(&reason), "{what}: {reason}");
    }
    cluster.heal();
    assert_eq!(cluster.voters_and_learners(old).await, (vec![1, 2, 3], vec![4]));
    cluster.members(old).remove(4).await.expect("it hears the leader again");
}
