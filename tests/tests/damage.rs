//! Bytes that changed on a disk: found before they are applied, and named.

use quorate::client::Consistency;
use quorate::error::StartError;
use quorate::storage::StoredBytes;
use quorate::types::GroupId;
use quorate_tests::cluster::{Cluster, within};
use quorate_tests::cut::GARBLED_BYTES;
use quorate_tests::ledger::LedgerCommand;
use quorate_tests::rig::{MemoryRig, Rig};

quorate_tests::over_both_rigs!(
    a_flipped_bit_in_a_stored_entry_stops_the_node_and_is_named,
    a_flipped_byte_in_a_received_entry_is_never_applied,
);

async fn a_flipped_bit_in_a_stored_entry_stops_the_node_and_is_named<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    let text = |note: u64| format!("the text of note {note}");
    let mut positions = Vec::new();
    for note in 0..10 {
        let command = LedgerCommand::Note { name: note.to_string(), text: text(note) };
        let applied = cluster.node(1).plain_client().write(&command).await.expect("a healthy cluster");
        positions.push(applied.position.index);
    }
    cluster.settle().await;
    cluster.stop_hard(1).await;
    let damaged = positions[8];
    cluster.rig.flip(1, damaged, &text(8));
    // At once, when it is read again before the node serves; else when it is sent or applied.
    let error = if let Err(error) = cluster.try_start(1).await {
        error.to_string()
    } else {
        let status = cluster.until(1, "finds the damage", |status| status.stopped().is_some()).await;
        assert!(status.applied.is_none_or(|applied| applied.index < damaged), "applied: {status:?}");
        status.stopped().expect("it has stopped").to_owned()
    };
    assert!(error.contains(&format!("entry {}", damaged.get())), "the entry is named: {error}");
    for node in [2, 3] {
        assert_eq!(cluster.client(node).text("8".into()).await, Ok(Some(text(8))), "the others go on");
    }
    cluster.client(2).note("8".into(), "another".into()).await.expect("two of three are a quorum");
}

async fn a_flipped_byte_in_a_received_entry_is_never_applied<R: Rig>() {
    let cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    cluster.garble(follower, leader, 5);
    let mut written = 0_u64;
    let text = |note: u64| note.to_string().repeat(GARBLED_BYTES);
    let writing = async {
        while cluster.to_garble(follower, leader) > 0 {
            let written_now = cluster.client(leader).note(written.to_string(), text(written)).await;
            written_now.expect("two of three are a quorum");
            written += 1;
        }
    };
    within("five frames with entries are garbled", writing).await;
    cluster.client(leader).note("last".into(), text(written)).await.expect("a healthy cluster");
    cluster.settle().await;
    let here = async |node| cluster.client(node).with_consistency(Consistency::Local).all().await;
    assert_eq!(here(follower).await, here(leader).await, "what came whole is there, and nothing else");
    assert!(cluster.takes_part(follower), "the node is unharmed");
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
