//! Calls that begin while the leader is gone and nobody has noticed yet.

use quorate_tests::cluster::Cluster;
use quorate_tests::rig::MemoryRig;

/// A leader whose machine is gone: whoever dials it waits. A dial may take far longer here than any
/// call, so a call that ends well was not held up by one.
async fn without_its_leader() -> (Cluster<MemoryRig>, u64) {
    let mut cluster = Cluster::<MemoryRig>::new(3);
    cluster.config.timeouts.connect_ms = 60_000;
    cluster.start_all().await;
    let leader = cluster.leader().await;
    cluster.rig.network().around(&format!("n{leader}")).stall();
    (cluster, leader % 3 + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_follows_the_leader_and_does_not_wait_for_the_old_one() {
    let (cluster, follower) = without_its_leader().await;
    assert_eq!(cluster.client(follower).record(0, 0).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_follows_the_leader_and_does_not_wait_for_the_old_one() {
    let (cluster, follower) = without_its_leader().await;
    assert_eq!(cluster.client(follower).times(0, 0).await, Ok(0));
}
