//! A leader whose disk fails.

use crate::common::*;
use crate::disk::Disk;
use crate::rig::*;

/// How many writes go well before the disk fails: by then the log was compacted and purged many times,
/// and is again every few writes.
const BEFORE: u64 = 60;

async fn start(rig: &Rig, node: u64, disk: &Disk) -> Running {
    let machine = Machine::builder(format!("/n{node}/totals.redb")).hooks(disk.hooks()).low_water_bytes(0);
    let storage = quorate_redb::RedbStorage::builder(format!("/n{node}")).hooks(disk.hooks());
    let storage = storage.preallocate_bytes(256 << 10).ballast_bytes(256 << 10);
    rig.start_with(node, machine, storage).await.expect("the node starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_can_flush_no_more_stops_and_the_others_have_what_was_acknowledged() {
    let rig = Rig::new("no flush", 3);
    let disks: Vec<Disk> = (0..3).map(|_| Disk::default()).collect();
    let starting = (1..).zip(&disks).map(|(node, disk)| start(&rig, node, disk));
    let mut nodes = futures::future::join_all(starting).await;
    settle(&nodes).await;
    let leads = leader_of(&nodes).await;
    for number in 0..BEFORE {
        nodes[leads].add(&format!("{number}"), 16 << 10).await;
    }
    nodes[leads].until("it purges its log", |status| status.purged.is_some()).await;
    disks[leads].fail_syncs(true);
    // The flushes of the others may have committed a few more.
    let (acknowledged, _) = add_until_refused(&nodes[leads], BEFORE).await;
    let failed = nodes.remove(leads);
    let status = failed.until("it stops", |status| status.stopped().is_some()).await;
    // One that is slow to stop is told by its storage first, which does not know the cause.
    let says = |why: &str| ["the flush failed", "the storage says"].iter().any(|text| why.contains(text));
    assert!(status.stopped().is_some_and(says), "{status:?}");
    failed.bury().await;
    let served = nodes[0].node.client().with_timeout(LIMIT).commands().await.expect("a majority");
    assert!((acknowledged..=acknowledged + 1).contains(&served), "{served} of {acknowledged}");
    settle(&nodes).await;
    for running in &nodes {
        assert_eq!(running.commands_here().await, served);
    }
    // Its disk is well again, and what it had not flushed is lost.
    disks[leads].crash(crate::disk::Crash::LoseAll);
    disks[leads].fail_syncs(false);
    let back = start(&rig, leads as u64 + 1, &disks[leads]).await;
    nodes[0].add("after", 16).await;
    nodes.push(back);
    settle(&nodes).await;
    for running in &nodes {
        assert_eq!(running.commands_here().await, served + 1);
    }
}
