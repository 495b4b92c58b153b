//! Nodes whose disk runs full, or does not flush.

use quorate::client::Consistency;
use quorate::error::{NotApplied, WriteError};
use quorate::node::config::ConfigBuilder;
use quorate::node::status::Status;
use quorate::storage::Health;
use quorate_tests::cluster::Cluster;
use quorate_tests::rig::{MemoryRig, Rig};
use quorate_tests::small_disk::SmallDiskRig;

const MIB: u64 = 1 << 20;
const NOTE: usize = 100 << 10;

/// Compacts by itself only after `log_bytes`, and keeps little of what a snapshot covers.
fn cluster(nodes: u64, log_bytes: u64) -> Cluster<SmallDiskRig> {
    let mut cluster = Cluster::<SmallDiskRig>::new(nodes);
    let config = ConfigBuilder::from(cluster.config.clone());
    let config = config.snapshot_log_bytes(log_bytes).snapshot_keep_entries(2);
    cluster.config = config.build().expect("a good configuration");
    cluster
}

fn text(note: u64) -> String {
    format!("{note} ").repeat(NOTE / 4)
}

/// Writes notes until one is refused, and returns how many were taken.
async fn fill(cluster: &Cluster<SmallDiskRig>, node: u64, mut note: u64) -> (u64, WriteError) {
    loop {
        match cluster.client(node).note(note.to_string(), text(note)).await {
            Ok(()) => note += 1,
            Err(error) => return (note, error),
        }
        assert!(note < 2000, "it was never refused");
    }
}

#[track_caller]
fn assert_refused(error: &WriteError) {
    assert!(matches!(error, WriteError::NotApplied(NotApplied::DiskFull)), "{error}");
}

/// Whether a node stopped because of that. One that is slow to stop is told by its storage first, which
/// does not know the cause.
fn says(why: &str, what: &str) -> bool {
    why.contains(what) || why.contains("the storage says that it has failed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_storage_says_that_it_has_failed_makes_way_for_another() {
    let cluster = Cluster::<MemoryRig>::started(3).await;
    let leader = cluster.leader().await;
    // Nobody writes meanwhile, who would hear of it.
    cluster.rig.storage(leader).set_health(Health::Failed);
    let status = cluster.until(leader, "stops", |status| status.stopped().is_some()).await;
    assert_eq!(status.stopped(), Some("the storage says that it has failed"));
    let others: Vec<u64> = cluster.all().into_iter().filter(|node| *node != leader).collect();
    let next = cluster.leader_of(&others).await;
    cluster.client(next).record(0, 0).await.expect("a majority");
    let error = cluster.client(leader).record(0, 1).await.expect_err("it is down");
    assert!(matches!(error, WriteError::NotApplied(NotApplied::Stopped)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_serves_reads_and_resumes_when_space_returns() {
    let mut cluster = cluster(1, 1 << 30);
    cluster.rig.disk(1).set_capacity(24 * MIB);
    cluster.start_all().await;
    cluster.leader().await;
    // The state is as large as the log: no snapshot of it makes room, or even has room.
    let (notes, error) = fill(&cluster, 1, 0).await;
    assert_refused(&error);
    assert!(notes > 20, "only {notes} were taken");
    let status = cluster.until(1, "says that space is short", |status| status.health != Health::Ok).await;
    assert!(status.stopped().is_none());
    for consistency in [Consistency::Local, Consistency::Linearizable] {
        let client = cluster.client(1).with_consistency(consistency);
        for note in [0, notes - 1] {
            let found = client.text(note.to_string()).await.expect("reads go on");
            assert!(found == Some(text(note)), "{consistency:?}: note {note}");
        }
        assert_eq!(
            client.text(notes.to_string()).await.expect("reads go on"),
            None,
            "refused is not applied"
        );
    }
    let (still, error) = fill(&cluster, 1, notes).await;
    assert_eq!(still, notes, "{error}");
    assert_refused(&error);
    cluster.rig.disk(1).set_capacity(400 * MIB);
    cluster.until(1, "has room again", |status| status.health == Health::Ok).await;
    cluster.client(1).note("after".to_owned(), "room".to_owned()).await.expect("it serves again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_short_of_space_compacts_its_log_and_goes_on_by_itself() {
    let mut cluster = cluster(1, 1 << 30);
    cluster.rig.disk(1).set_capacity(24 * MIB);
    cluster.start_all().await;
    cluster.leader().await;
    // The same note again and again: a small state, and a log that would need 100 MiB.
    let (mut taken, mut refused) = (0, 0);
    while taken < 1000 {
        match cluster.client(1).note("one".to_owned(), text(taken)).await {
            Ok(()) => taken += 1,
            Err(error) => {
                assert_refused(&error);
                refused += 1;
                cluster.until(1, "makes room", |status| status.health == Health::Ok).await;
            }
        }
    }
    assert!(refused > 0, "the disk never ran short");
    let status = cluster.node(1).status().get();
    assert!(status.purged.is_some(), "{status:?}");
    assert_eq!(cluster.client(1).text("one".to_owned()).await, Ok(Some(text(999))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_reserve_a_full_disk_stops_the_node_and_loses_nothing() {
    let mut cluster = cluster(1, 1 << 30);
    (cluster.rig.low_water, cluster.rig.ballast) = (0, 0);
    cluster.rig.disk(1).set_capacity(16 * MIB);
    cluster.start_all().await;
    cluster.leader().await;
    let (notes, error) = fill(&cluster, 1, 0).await;
    assert!(!error.is_definite(), "nobody knows what became of the last: {error}");
    let failed = |status: &Status| status.stopped().is_some() && status.health == Health::Failed;
    let status = cluster.until(1, "stops and says so", failed).await;
    assert!(status.stopped().is_some_and(|why| says(why, "space")), "{status:?}");
    cluster.shut_down(1).await;
    cluster.rig.disk(1).set_capacity(400 * MIB);
    cluster.start(1).await;
    cluster.leader().await;
    for note in 0..notes {
        let found = cluster.client(1).text(note.to_string()).await.expect("it serves");
        assert!(found == Some(text(note)), "note {note} of {notes} was acknowledged");
    }
    cluster.client(1).note("after".to_owned(), "room".to_owned()).await.expect("it serves again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_flush_stops_the_node_and_acknowledges_nothing() {
    let mut cluster = cluster(1, 1 << 30);
    cluster.start_all().await;
    cluster.leader().await;
    cluster.client(1).record(0, 0).await.expect("a sound disk");
    cluster.rig.disk(1).fail_flushes(true);
    let error = cluster.client(1).record(0, 1).await.expect_err("it is not on the disk");
    assert!(!error.is_definite(), "it may be on the disk after all: {error}");
    let failed = |status: &Status| status.stopped().is_some() && status.health == Health::Failed;
    let status = cluster.until(1, "stops and says so", failed).await;
    assert!(status.stopped().is_some_and(|why| says(why, "flush")), "{status:?}");
    cluster.client(1).record(0, 2).await.expect_err("nothing is tried again");
    cluster.shut_down(1).await;
    cluster.rig.disk(1).fail_flushes(false);
    cluster.start(1).await;
    cluster.leader().await;
    assert_eq!(cluster.client(1).times(0, 0).await, Ok(1));
    assert!(cluster.client(1).times(0, 1).await.expect("it serves") <= 1);
    assert_eq!(cluster.client(1).times(0, 2).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_on_while_the_disk_of_a_follower_is_full() {
    let mut cluster = cluster(3, 1 << 30);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    cluster.client(leader).record(0, 0).await.expect("a healthy cluster");
    cluster.settle().await;
    cluster.rig.disk(follower).set_capacity(cluster.rig.disk(follower).used() + 9 * MIB);
    for note in 0..60 {
        cluster.client(leader).note(note.to_string(), text(note)).await.expect("a majority has room");
    }
    let status = cluster.until(follower, "is short of space", |status| status.health != Health::Ok).await;
    assert!(status.stopped().is_none());
    cluster.rig.disk(follower).set_capacity(400 * MIB);
    cluster.settle().await;
    let client = cluster.client(follower).with_consistency(Consistency::Local);
    assert_eq!(client.text("59".to_owned()).await, Ok(Some(text(59))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_elected_and_serves_reads_while_every_disk_is_nearly_full() {
    let mut cluster = cluster(3, 1 << 30);
    cluster.start_all().await;
    cluster.leader().await;
    cluster.client(1).record(0, 0).await.expect("a healthy cluster");
    cluster.settle().await;
    for node in 1..=3 {
        cluster.shut_down(node).await;
        let disk = cluster.rig.disk(node);
        disk.set_capacity(disk.used() + 5 * MIB);
    }
    cluster.start_all().await;
    let leader = cluster.leader().await;
    for node in 1..=3 {
        cluster.until(node, "is short of space", |status| status.health == Health::Low).await;
    }
    // Not before an entry of its own term is committed: what a new leader appends first.
    let client = cluster.client(leader).with_consistency(Consistency::Linearizable);
    assert_eq!(client.times(0, 0).await, Ok(1));
    assert_refused(&client.record(0, 1).await.expect_err("no disk has room"));
    for node in 1..=3 {
        cluster.rig.disk(node).set_capacity(400 * MIB);
        cluster.until(node, "has room again", |status| status.health == Health::Ok).await;
    }
    client.record(0, 2).await.expect("there is room");
}
