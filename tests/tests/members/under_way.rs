//! Changes that are not finished when something else happens.

use quorate::error::{MembersError, NotChanged};
use quorate::node::status::{Phase, Status};
use quorate::types::NodeId;
use quorate_tests::cluster::{Cluster, within};
use quorate_tests::rig::{MemoryRig, Rig};

use super::{not_applied, others};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_changes_at_once_one_is_refused() {
    let cluster = {
        let mut cluster = Cluster::<MemoryRig>::with_spares(3, 2);
        cluster.start_all().await;
        cluster
    };
    let leader = cluster.leader().await;
    let followers = others(&[1, 2, 3], leader);
    cluster.client(leader).record(0, 0).await.expect("a healthy cluster");
    // The first change cannot be committed for as long as no follower can flush.
    let storages: Vec<_> = followers.iter().map(|node| cluster.rig.storage(*node)).collect();
    storages.iter().for_each(quorate::storage::MemoryStorage::hold_flushes);
    let (first, second) = (cluster.member(4), cluster.member(5));
    let members = cluster.members(leader);
    let changing = tokio::spawn(async move { members.add_learner(first).await });
    cluster
        .until(leader, "has appended the first", |status| status.membership.kind(NodeId(4)).is_some())
        .await;
    for node in cluster.running() {
        let refused = not_applied(cluster.members(node).add_learner(second.clone()).await);
        assert_eq!(refused, NotChanged::ChangeUnderWay, "n{node}");
    }
    storages.iter().for_each(quorate::storage::MemoryStorage::release);
    within("the first is finished", changing).await.expect("no panic").expect("nothing is in its way");
    assert_eq!(cluster.voters_and_learners(leader).await, (vec![1, 2, 3], vec![4]));
    cluster.members(leader).add_learner(second).await.expect("none is under way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_leader_dies_in_the_joint_state_is_finished_by_the_next() {
    let mut cluster = Cluster::<MemoryRig>::with_spares(3, 1);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    cluster.join(leader, 4).await;
    let removed = leader % 3 + 1;
    let stay = others(&[1, 2, 3], removed);
    let survivors = [others(&stay, leader)[0], 4];
    // Both sets of voters are without a majority for as long as nobody but the leader can flush.
    cluster.members(leader).list().await.expect("a healthy cluster");
    cluster.until(4, "has caught up", |status| status.phase == Phase::Running).await;
    let held: Vec<_> = others(&[1, 2, 3, 4], leader).iter().map(|node| cluster.rig.storage(*node)).collect();
    let members = cluster.members(leader);
    cluster.settle().await;
    held.iter().for_each(quorate::storage::MemoryStorage::hold_flushes);
    let new = cluster.member(4);
    let changing = tokio::spawn(async move { members.replace(removed, new).await });
    for node in survivors {
        cluster.until(node, "has appended the joint membership", |status| status.membership.is_joint()).await;
    }
    cluster.stop_hard(leader).await;
    held.iter().for_each(quorate::storage::MemoryStorage::release);
    let outcome = within("the caller is told", changing).await.expect("no panic");
    assert!(matches!(outcome, Err(MembersError::OutcomeUnknown { .. })), "{outcome:?}");
    let settled = |status: &Status| {
        let voters = &status.membership.voters;
        voters.len() == 1 && voters[0].contains(&NodeId(4)) && !voters[0].contains(&NodeId(removed))
    };
    for node in survivors {
        cluster.until(node, "has the new voters", settled).await;
    }
    cluster.until(removed, "shows that it was removed", |status| status.phase == Phase::Removed).await;
    assert_eq!(cluster.client(4).record(0, 0).await, Ok(1));
}
