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
    let mut notes = Vec::new();
    for serial in 0_u32.. {
        let (name, text) = (serial.to_string(), format!("the text of note {serial}"));
        let command = LedgerCommand::Note { name: name.clone(), text: text.clone() };
        // On a busy machine leadership may move meanwhile: what then is unknown does not count.
        if let Ok(applied) = cluster.node(1).plain_client().write(&command).await {
            notes.push((applied.position.index, name, text));
        }
        if notes.len() == 10 {
            break;
        }
    }
    let (damaged, name, text) = notes.swap_remove(8);
    cluster.settle().await;
    cluster.stop_hard(1).await;
    cluster.rig.flip(1, damaged, &text);
    // At once, when it is read again before the node serves; else when it is sent or applied.
    let error = if let Err(error) = cluster.try_start(1).await {
        chain(&error)
    } else {
        let status = cluster.until(1, "finds the damage", |status| status.stopped().is_some()).await;
        assert!(status.applied.is_none_or(|applied| applied.index < damaged), "applied: {status:?}");
        status.stopped().expect("it has stopped").to_owned()
    };
    assert!(error.contains(&format!("entry {}", damaged.get())), "the entry is named: {error}");
    for node in [2, 3] {
        let found = cluster.client(node).text(name.clone()).await;
        assert_eq!(found, Ok(Some(text.clone())), "the others go on");
    }
}

/// An error and what it came from.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn a_flipped_byte_in_a_received_entry_is_never_applied<R: Rig>() {
    let cluster = Cluster::<R>::started(3).await;
    cluster.garble(5);
    let mut serial = 0_u64;
    let writing = async {
        loop {
            let last = cluster.has_garbled();
            let (name, text) = (serial.to_string(), serial.to_string().repeat(GARBLED_BYTES));
            let written = cluster.client(1).note(name, text).await;
            // On a busy machine leadership may move meanwhile; what is acknowledged comes after all
            // of which it is unknown.
            if last && written.is_ok() {
                return;
            }
            serial += 1;
        }
    };
    within("five frames with entries are garbled, and a note is written then", writing).await;
    cluster.settle().await;
    let here = async |node| cluster.client(node).with_consistency(Consistency::Local).all().await;
    let one = here(1).await;
    for node in 1..=3 {
        assert_eq!(here(node).await, one, "what came whole is there, and nothing else");
        assert!(cluster.takes_part(node), "n{node} is unharmed");
    }
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
