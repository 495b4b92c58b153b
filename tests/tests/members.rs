//! Changing the members of a running cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate::error::{BootstrapError, JoinError, MembersError, NotChanged, StartError, WriteError};
use quorate::node::config::ConfigBuilder;
use quorate::node::status::{Phase, Role, Status};
use quorate::types::{Member, MembershipKind, NodeId};
use quorate::{Cluster as Membership, Node, Ticket};
use quorate_tests::cluster::{Cluster, LIMIT, within};
use quorate_tests::ledger::{Ledger, LedgerCommand};
use quorate_tests::load::write;
use quorate_tests::rig::{MemoryRig, Rig};

quorate_tests::over_both_rigs!(
    a_node_joins_with_an_empty_disk_and_serves_reads,
    a_node_that_joined_starts_again_from_its_own_disk,
    a_learner_that_is_not_there_or_behind_is_not_promoted,
    a_cluster_grows_under_writes_and_shrinks_again,
    a_dead_voter_is_replaced,
    a_wiped_voter_comes_back_under_a_new_id,
    a_wiped_learner_is_refused_by_all,
    an_id_that_is_given_again_is_another_node,
    the_leader_is_removed_under_writes,
    a_removed_node_is_told_and_disturbs_nobody,
    a_removed_learner_is_told,
    a_change_that_leaves_no_majority_alive_is_refused,
    what_cannot_be_is_refused_from_any_node,
    a_ticket_that_does_not_fit_is_refused,
);

fn not_applied(result: Result<(), MembersError>) -> NotChanged {
    match result {
        Err(MembersError::NotApplied(reason)) => reason,
        other => panic!("expected a refusal: {other:?}"),
    }
}

/// The nodes but this one.
fn others(nodes: &[u64], but: u64) -> Vec<u64> {
    nodes.iter().copied().filter(|node| *node != but).collect()
}

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

async fn a_learner_that_is_not_there_or_behind_is_not_promoted<R: Rig>() {
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

const WRITERS: u64 = 4;

type Outcomes = Vec<(Vec<u64>, Vec<u64>)>;

/// Writers that write through `nodes` until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<(Vec<u64>, Vec<u64>)>>,
}

impl Load {
    fn on<R: Rig>(cluster: &Cluster<R>, nodes: &[u64]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = || nodes.iter().map(|node| cluster.client(*node)).collect();
        let writer = |writer| tokio::spawn(write(writer, clients(), stop.clone()));
        let writers = (0..WRITERS).map(writer).collect();
        Self { stop, writers }
    }

    async fn stop(self) -> Outcomes {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcomes = Vec::new();
        for writer in self.writers {
            outcomes.push(writer.await.expect("the writer saw no write twice"));
        }
        outcomes
    }
}

fn applied(status: &Status) -> u64 {
    status.applied.map_or(0, |applied| applied.index.get())
}

/// Waits until `node` has applied a number of entries more than now.
async fn more<R: Rig>(cluster: &Cluster<R>, node: u64) {
    let now = applied(&cluster.node(node).status().get());
    cluster.until(node, "serves writes", |status| applied(status) >= now + 20).await;
}

async fn nothing_is_lost<R: Rig>(cluster: &Cluster<R>, node: u64, outcomes: &Outcomes) {
    let ledger = cluster.client(node).all().await.expect("a healthy cluster");
    for (writer, (acknowledged, unknown)) in (0..).zip(outcomes) {
        assert!(!acknowledged.is_empty(), "writer {writer} got nothing through");
        for serial in acknowledged {
            assert_eq!(ledger.times(writer, *serial), 1, "n{node}, record {serial} of {writer}");
        }
        for serial in unknown {
            assert!(ledger.times(writer, *serial) <= 1, "n{node}, record {serial} of {writer}");
        }
    }
}

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
    let other = others(&[1, 2, 3], leader).into_iter().find(|node| *node != dead).expect("three");
    cluster.stop_hard(other).await;
    assert_eq!(cluster.client(4).record(0, 1).await, Ok(1), "the new one is part of the majority");
    assert_eq!(cluster.client(4).times(0, 0).await, Ok(1));
}

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
    let alone = Cluster::<R>::started(1).await;
    let last = NotChanged::LastVoter { node_id: NodeId(1) };
    assert_eq!(not_applied(alone.members(1).remove(1).await), last);
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
