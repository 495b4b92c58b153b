//! A node that comes: with its ticket, as a learner, and as a voter once it has caught up.

use std::time::Duration;

use quorate::error::{JoinError, NotChanged, StartError};
use quorate::node::config::ConfigBuilder;
use quorate::node::status::{Phase, Role};
use quorate::types::{MembershipKind, NodeId};
use quorate::{Cluster as Membership, Node, Ticket};
use quorate_tests::cluster::{Cluster, LIMIT, within};
use quorate_tests::ledger::{Ledger, LedgerCommand};
use quorate_tests::rig::{MemoryRig, Rig};

use super::not_applied;

quorate_tests::over_both_rigs!(
    a_node_joins_with_an_empty_disk_and_serves_reads,
    a_node_that_joined_starts_again_from_its_own_disk,
    a_learner_that_is_not_there_or_silent_is_not_promoted,
    a_ticket_that_does_not_fit_is_refused,
);

async fn a_node_joins_with_an_empty_disk_and_serves_reads<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(3, 1);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    cluster.client(leader).record(0, 0).await.expect("a healthy cluster");
    cluster.join(follower, 4).await;
    cluster.until(4, "takes part", |status| status.phase == Phase::Running).await;
    assert_eq!(cluster.client(4).times(0, 0).await, Ok(1), "what was written before it came");
    assert_eq!(cluster.client(4).record(0, 1).await, Ok(1), "forwarded to the leader");
    assert_eq!(cluster.client(4).times(0, 1).await, Ok(1));
    let status = cluster.until(4, "learns", |status| status.role == Role::Learner).await;
    assert_eq!(status.membership.kind(NodeId(4)), Some(MembershipKind::Learner));
    assert_eq!(cluster.voters_and_learners(follower).await, (vec![1, 2, 3], vec![4]));
    let list = cluster.members(follower).list().await.expect("a healthy cluster");
    assert!(list.iter().all(|info| info.member.disk_id.is_some()), "every disk is recorded: {list:?}");

    cluster.members(follower).promote(4).await.expect("it has caught up");
    cluster.members(4).promote(4).await.expect("as it is already");
    assert_eq!(cluster.voters_and_learners(4).await, (vec![1, 2, 3, 4], vec![]));
    cluster.until(4, "votes", |status| status.role == Role::Follower).await;
}

async fn a_node_that_joined_starts_again_from_its_own_disk<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(3, 1);
    cluster.start_all().await;
    cluster.leader().await;
    cluster.join(1, 4).await;
    cluster.client(4).record(0, 0).await.expect("a healthy cluster");
    cluster.members(1).promote(4).await.expect("it has caught up");
    cluster.stop_hard(4).await;
    cluster.start(4).await;
    assert_eq!(cluster.client(4).times(0, 0).await, Ok(1), "with its ticket");
    cluster.stop_hard(4).await;
    let storage = cluster.rig.storage(4);
    let transport = cluster.rig.transport(4).await;
    let builder = Node::builder(Ledger::default()).storage(storage).transport(transport);
    let node = builder.cluster(Membership::recorded()).config(cluster.config.clone()).start().await;
    let node = node.expect("its disk says who it is");
    assert_eq!(node.client().with_timeout(LIMIT).times(0, 0).await, Ok(1));
    within("it shuts down", node.shutdown()).await.expect("in good order");
}

async fn a_learner_that_is_not_there_or_silent_is_not_promoted<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(3, 1);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    cluster.invite(leader, 4).await;
    let soon = |cluster: &Cluster<R>| cluster.members(leader).with_timeout(Duration::from_secs(1));
    let refused = not_applied(soon(&cluster).promote(4).await);
    assert_eq!(refused, NotChanged::NotJoined { node_id: NodeId(4) }, "nobody has seen its disk");
    cluster.start(4).await;
    cluster.until(4, "takes part", |status| status.phase == Phase::Running).await;
    cluster.isolate(4);
    cluster.write_shown(leader, LedgerCommand::Record { writer: 0, serial: 0 }).await;
    let refused = not_applied(soon(&cluster).promote(4).await);
    assert_eq!(refused, NotChanged::Silent { node_id: NodeId(4) }, "it lacks what was written since");
    assert_eq!(cluster.voters_and_learners(leader).await, (vec![1, 2, 3], vec![4]));
    cluster.heal();
    cluster.members(leader).promote(4).await.expect("it catches up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_whose_disk_is_too_slow_is_told_how_far_it_has_come() {
    let mut cluster = Cluster::<MemoryRig>::with_spares(3, 1);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    cluster.join(leader, 4).await;
    cluster.until(4, "takes part", |status| status.phase == Phase::Running).await;
    let disk = cluster.rig.storage(4);
    disk.hold_flushes();
    let members = cluster.members(leader).with_timeout(Duration::from_secs(4));
    let mut promoting = tokio::spawn(async move { members.promote(4).await });
    // It answers, and flushes one append for every five that come.
    let mut serial = 0;
    let promoted = loop {
        for _ in 0..5 {
            cluster.client(leader).record(0, serial).await.expect("the voters flush");
            serial += 1;
        }
        match tokio::time::timeout(Duration::from_millis(200), &mut promoting).await {
            Ok(promoted) => break promoted.expect("no panic"),
            Err(_) => drop(disk.flush_held(1)),
        }
    };
    let refused = not_applied(promoted);
    let NotChanged::Behind { node_id: NodeId(4), matched, last } = refused else { panic!("{refused:?}") };
    assert!(matched < Some(last), "{matched:?} of {last}");
    assert_eq!(cluster.voters_and_learners(leader).await, (vec![1, 2, 3], vec![4]));
    disk.release();
    cluster.members(leader).promote(4).await.expect("it catches up");
}

/// Starts a node with a ticket, and says why it does not start.
async fn refused<R: Rig>(cluster: &Cluster<R>, storage: u64, key: u64, ticket: Ticket) -> JoinError {
    let builder = Node::builder(Ledger::default())
        .storage(cluster.rig.storage(storage))
        .transport(cluster.rig.transport(key).await)
        .cluster(Membership::join(ticket))
        .config(ConfigBuilder::from(cluster.config.clone()).build().expect("good"));
    match builder.start().await {
        Err(StartError::Join(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(node) => panic!("it started: {:?}", node.status().get()),
    }
}

async fn a_ticket_that_does_not_fit_is_refused<R: Rig>() {
    let mut cluster = Cluster::<R>::with_spares(3, 2);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    cluster.invite(leader, 4).await;
    let ticket = cluster.ticket(leader, 4).await;
    let text = ticket.to_string();
    assert_eq!(text.parse::<Ticket>(), Ok(ticket.clone()));
    // Another key than the one that was invited.
    let error = refused(&cluster, 5, 5, ticket.clone()).await;
    assert!(matches!(&error, JoinError::OtherKey { node_id: NodeId(4), .. }), "{error}");
    // The disk of another node of this cluster.
    cluster.stop_hard(leader % 3 + 1).await;
    let error = refused(&cluster, leader % 3 + 1, 4, ticket.clone()).await;
    assert!(matches!(&error, JoinError::OtherNode { offered: NodeId(4), .. }), "{error}");
    cluster.start(leader % 3 + 1).await;
    // The disk of another cluster.
    let other = Cluster::<R>::started(1).await;
    let storage = {
        let mut other = other;
        other.stop_hard(1).await;
        other
    };
    let builder = Node::builder(Ledger::default())
        .storage(storage.rig.storage(1))
        .transport(cluster.rig.transport(4).await)
        .cluster(Membership::join(ticket.clone()))
        .config(cluster.config.clone());
    let error = builder.start().await.expect_err("of another cluster");
    assert!(matches!(&error, StartError::Join(JoinError::OtherCluster { .. })), "{error}");
    assert!(error.to_string().contains("empty directory"), "the way out: {error}");
    // One that was removed before it came.
    cluster.members(leader).remove(4).await.expect("a healthy cluster");
    for node in 1..=3 {
        cluster.until(node, "has forgotten it", |status| status.membership.kind(NodeId(4)).is_none()).await;
    }
    match cluster.try_start(4).await {
        Err(StartError::Join(error @ JoinError::NotAdmitted { .. })) => {
            assert!(error.to_string().contains("under a new node id"), "the way out: {error}");
        }
        Err(error) => panic!("{error}"),
        // On a busy machine nobody has answered yet: then it shows who refuses.
        Ok(()) => {
            let told = |phase: &Phase| matches!(phase, Phase::Joining { unfit, .. } if !unfit.is_empty());
            cluster.until(4, "shows who does not know it", |status| told(&status.phase)).await;
        }
    }
}
