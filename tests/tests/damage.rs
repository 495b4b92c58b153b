//! Bytes that changed on a disk: found before they are applied, and named.

use quorate::error::StartError;
use quorate::storage::StoredBytes;
use quorate::types::{GroupId, LogIndex};
use quorate_tests::cluster::Cluster;
use quorate_tests::rig::{MemoryRig, Rig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_a_stored_entry_stops_the_node_and_is_named() {
    let mut cluster = Cluster::<MemoryRig>::started(3).await;
    for serial in 0..10 {
        cluster.client(1).record(0, serial).await.expect("a healthy cluster");
    }
    cluster.settle().await;
    let index = cluster.node(1).status().get().last_log.expect("there are entries");
    cluster.stop_hard(1).await;
    let damaged = LogIndex(index.get() - 1);
    let flipped = cluster.rig.storage(1).flip_bit(GroupId::MAIN, StoredBytes::Entry(damaged), 8 * 45);
    assert!(flipped, "the entry is there");
    // At once, when it is read again before the node serves; else when it is sent or applied.
    let error = if let Err(error) = cluster.try_start(1).await {
        error.to_string()
    } else {
        let status = cluster.until(1, "finds the damage", |status| status.stopped().is_some()).await;
        status.stopped().expect("it has stopped").to_owned()
    };
    assert!(error.contains(&format!("entry {}", damaged.get())), "the entry is named: {error}");
    let ok = cluster.client(2).times(0, 9).await;
    assert_eq!(ok, Ok(1), "the others go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_the_vote_is_not_guessed_away() {
    let mut cluster = Cluster::<MemoryRig>::started(3).await;
    cluster.stop_hard(1).await;
    assert!(cluster.rig.storage(1).flip_bit(GroupId::MAIN, StoredBytes::Vote, 30), "there is a vote");
    let error = cluster.try_start(1).await.expect_err("the vote is damaged");
    assert!(
        matches!(&error, StartError::Storage(quorate::error::StorageError::Corrupt { what, .. }) if what.contains("vote")),
        "{error:?}"
    );
}
