//! Compaction: a follower that is too far behind for the log gets a snapshot.

use quorate::client::Consistency;
use quorate::node::config::ConfigBuilder;
use quorate_tests::cluster::Cluster;
use quorate_tests::rig::Rig;

quorate_tests::over_both_rigs!(
    a_follower_far_behind_is_caught_up_by_a_snapshot,
    a_restart_begins_at_the_snapshot,
    a_snapshot_of_many_chunks_arrives_whole,
);

/// Compacts early, and keeps next to nothing of what a snapshot covers.
fn compacting<R: Rig>() -> Cluster<R> {
    let mut cluster = Cluster::<R>::new(3);
    let config =
        ConfigBuilder::from(cluster.config.clone()).snapshot_log_bytes(64 << 10).snapshot_keep_entries(10);
    cluster.config = config.build().expect("a good configuration");
    cluster
}

async fn write_notes<R: Rig>(cluster: &Cluster<R>, node: u64, notes: u64, bytes: usize) {
    for note in 0..notes {
        let text = format!("{note} ").repeat(bytes / 4);
        cluster.client(node).note(note.to_string(), text).await.expect("a majority");
    }
}

async fn a_follower_far_behind_is_caught_up_by_a_snapshot<R: Rig>() {
    let mut cluster = compacting::<R>();
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    cluster.client(leader).record(0, 0).await.expect("a healthy cluster");
    cluster.settle().await;
    cluster.stop_hard(follower).await;
    write_notes(&cluster, leader, 64, 4 << 10).await;
    let purged = cluster.until(leader, "purges its log", |status| status.purged.is_some()).await.purged;
    cluster.start(follower).await;
    cluster.settle().await;
    cluster.until(follower, "has a snapshot", |status| status.snapshot >= purged).await;
    // What was purged elsewhere cannot have come as entries.
    cluster.until(follower, "has none of what was purged", |status| status.purged >= purged).await;
    let client = cluster.client(follower).with_consistency(Consistency::Local);
    assert_eq!(client.times(0, 0).await, Ok(1));
    assert_eq!(client.all().await, cluster.client(leader).all().await);
}

async fn a_restart_begins_at_the_snapshot<R: Rig>() {
    let mut cluster = compacting::<R>();
    cluster.start_all().await;
    let leader = cluster.leader().await;
    write_notes(&cluster, leader, 64, 4 << 10).await;
    for node in cluster.all() {
        cluster.until(node, "purges its log", |status| status.purged.is_some()).await;
    }
    let all = cluster.client(leader).all().await.expect("a healthy cluster");
    for node in cluster.all() {
        cluster.stop_hard(node).await;
    }
    cluster.start_all().await;
    for node in cluster.all() {
        assert_eq!(cluster.client(node).all().await.as_ref(), Ok(&all), "n{node}");
    }
}

async fn a_snapshot_of_many_chunks_arrives_whole<R: Rig>() {
    let mut cluster = compacting::<R>();
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    cluster.stop_hard(follower).await;
    // 8 MiB of state: several chunks, and more than one frame could carry.
    write_notes(&cluster, leader, 16, 512 << 10).await;
    cluster.until(leader, "purges its log", |status| status.purged.is_some()).await;
    cluster.start(follower).await;
    cluster.settle().await;
    let client = cluster.client(follower).with_consistency(Consistency::Local);
    assert_eq!(client.all().await, cluster.client(leader).all().await);
}
