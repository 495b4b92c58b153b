//! The log of a group on real files.

use std::sync::mpsc;

use bytes::Bytes;
use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{Flushed, Storage, Write};
use quorate::types::{GroupId, LogIndex};
use quorate_redb::RedbStorage;
use tempfile::tempdir;

use crate::common::*;

#[test]
fn what_was_flushed_survives_a_reopen() {
    let dir = tempdir().expect("a directory");
    {
        let storage = open(dir.path());
        write(&storage, G0, append_of(G0, 0..10, 100));
        write(&storage, G0, vote_of("T1 n1"));
        write(&storage, G0, vote_of("T2 n1"));
        write(&storage, G0, append_of(G0, 10..12, 100));
        block_on(storage.close());
    }
    let storage = open(dir.path());
    assert_log(&storage, G0, 0..12, 100);
    assert_eq!(state(&storage, G0).vote.as_deref(), Some(&b"T2 n1"[..]));
    assert_eq!(state(&storage, G1), quorate::storage::GroupState::default());
}

#[test]
fn dropping_without_close_writes_what_is_queued_and_releases_the_directory() {
    let dir = tempdir().expect("a directory");
    for round in 0..5 {
        let storage = open(dir.path());
        assert_log(&storage, G0, 0..round * 50, 100);
        for index in round * 50..(round + 1) * 50 {
            storage.write(G0, append_of(G0, index..index + 1, 100), Flushed::ignored());
        }
    }
}

#[test]
fn a_storage_may_be_dropped_by_its_own_receipt() {
    let dir = tempdir().expect("a directory");
    let storage = std::sync::Arc::new(open(dir.path()));
    let last = storage.clone();
    let (told, tells) = mpsc::channel();
    let flushed = Flushed::new(move |result| {
        result.expect("a sound disk");
        // By now nobody else has it.
        tells_when_alone(last);
        told.send(()).expect("the test waits");
    });
    storage.write(G0, append_of(G0, 0..1, 10), flushed);
    drop(storage);
    tells.recv().expect("the receipt was used");
}

fn tells_when_alone(storage: std::sync::Arc<RedbStorage>) {
    while std::sync::Arc::strong_count(&storage) > 1 {
        std::thread::yield_now();
    }
    drop(storage);
}

#[test]
fn one_append_is_one_row_of_these_bytes() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let entries = vec![Bytes::from_static(b"ab"), Bytes::from_static(b""), Bytes::from_static(b"cde")];
    write(&storage, GroupId(9), Write::Append { first: LogIndex(0), entries });
    drop(storage);
    let golden = b"\x01\x03\0\0\0\x02\0\0\0\x02\0\0\0\x05\0\0\0abcde".to_vec();
    assert_eq!(rows(dir.path(), GroupId(9)), [(0, golden)]);
}

#[test]
fn appends_of_one_batch_share_rows_and_a_row_stays_within_its_pages() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    // One append is one job, so that all of it is in one batch.
    write(&storage, G0, append_of(G0, 0..1000, 200));
    write(&storage, G0, append_of(G0, 1000..1001, 70_000));
    write(&storage, G0, append_of(G0, 1001..1002, 1));
    drop(storage);
    let rows = rows(dir.path(), G0);
    let firsts: Vec<u64> = rows.iter().map(|(first, _)| *first).collect();
    assert_eq!(firsts, [0, 301, 602, 903, 982, 1000, 1001]);
    let longest = rows.iter().map(|(_, row)| row.len()).filter(|len| *len < 70_000).max();
    assert!(longest.is_some_and(|len| len <= 60 * 1024), "{longest:?}");
}

#[test]
fn entries_of_every_size_come_back() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let sizes = [0, 1, 4000, 60_000, 61_431, 61_432, 61_440, 65_536, 1 << 20, 8 << 20, 3, 0];
    for (index, len) in (0..).zip(sizes) {
        write(&storage, G0, append_of(G0, index..index + 1, len));
    }
    let check = |storage: &RedbStorage| {
        for (index, len) in (0..).zip(sizes) {
            assert!(read(storage, G0, index..index + 1) == [entry(G0, index, len)], "{len} bytes");
        }
        assert_eq!(read(storage, G0, 0..100).len(), sizes.len());
    };
    check(&storage);
    drop(storage);
    check(&open(dir.path()));
}

#[test]
fn a_read_is_bounded_and_never_empty() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    write(&storage, G0, append_of(G0, 0..500, 1000));
    write(&storage, G0, append_of(G0, 500..1000, 1000));
    let count = |from, max| try_read(&storage, G0, from..1000, max).expect("a sound log").len();
    assert_eq!((count(0, 0), count(0, 999), count(0, 1000), count(0, 1999)), (1, 1, 1, 1));
    assert_eq!((count(7, 2000), count(7, 100_000), count(499, 2000)), (2, 100, 2));
    assert_eq!(try_read(&storage, G0, 3..5, usize::MAX).expect("a sound log").len(), 2);
    assert_eq!(read(&storage, G0, 998..2000).len(), 2);
    assert!(read(&storage, G0, 1000..2000).is_empty());
    assert!(read(&storage, G0, 5..5).is_empty());
    assert!(read(&storage, G1, 0..5).is_empty());
}

#[test]
fn truncation_cuts_at_any_index_of_any_row() {
    let dir = tempdir().expect("a directory");
    let mut storage = open(dir.path());
    let mut end = 0;
    // Rows of 10 on the disk, several rows and one that is cut in the middle, and at their edges.
    for from in [95, 90, 89, 51, 50, 49, 10, 1, 0] {
        while end < 100 {
            write(&storage, G0, append_of(G0, end..end + 10, 50));
            end += 10;
        }
        write(&storage, G0, truncate_of(from));
        assert_log(&storage, G0, 0..from, 50);
        drop(storage);
        storage = open(dir.path());
        assert_log(&storage, G0, 0..from, 50);
        end = from;
    }
}

#[test]
fn truncation_within_a_batch_and_past_the_end() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let writes = [
        append_of(G0, 0..10, 50),
        truncate_of(10),
        truncate_of(400),
        truncate_of(4),
        append_of(G0, 4..6, 50),
        append_of(G0, 6..2000, 50),
        truncate_of(1500),
        append_of(G0, 1500..1501, 50),
        truncate_of(5),
        append_of(G0, 5..8, 50),
    ];
    let receipts: Vec<_> = writes.into_iter().map(|write| queue(&storage, G0, write)).collect();
    for receipt in receipts {
        block_on(receipt).expect("a sound disk");
    }
    assert_log(&storage, G0, 0..8, 50);
    drop(storage);
    assert_log(&open(dir.path()), G0, 0..8, 50);
}

#[test]
fn a_purge_in_the_middle_of_a_row_hides_the_head_and_keeps_the_marker() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    for first in [0, 10, 20] {
        write(&storage, G0, append_of(G0, first..first + 10, 50));
    }
    write(&storage, G0, purge_of(14));
    assert_log(&storage, G0, 15..30, 50);
    assert!(read(&storage, G0, 14..30).is_empty(), "an index that is not there ends the answer");
    assert!(read(&storage, G0, 0..30).is_empty());
    assert_eq!(state(&storage, G0).purged.as_deref(), Some(&b"upto 14"[..]));
    write(&storage, G0, truncate_of(16));
    assert_log(&storage, G0, 15..16, 50);
    write(&storage, G0, truncate_of(3));
    assert_log(&storage, G0, 15..15, 50);
    write(&storage, G0, append_of(G0, 15..18, 50));
    drop(storage);
    let storage = open(dir.path());
    assert_log(&storage, G0, 15..18, 50);
    assert_eq!(state(&storage, G0).purged.as_deref(), Some(&b"upto 14"[..]));
}

#[test]
fn a_purge_past_the_end_empties_the_log_which_goes_on_after_it() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    write(&storage, G0, append_of(G0, 0..10, 50));
    write(&storage, G0, purge_of(20));
    assert_log(&storage, G0, 21..21, 50);
    // On a fresh group, as after a snapshot was received, and in one batch with an append.
    let receipts = [append_of(G1, 0..3, 50), purge_of(1000), append_of(G1, 1001..1003, 50)]
        .map(|w| queue(&storage, G1, w));
    for receipt in receipts {
        block_on(receipt).expect("a sound disk");
    }
    write(&storage, G0, append_of(G0, 21..23, 50));
    let check = |storage: &RedbStorage| {
        assert_log(storage, G0, 21..23, 50);
        assert_log(storage, G1, 1001..1003, 50);
    };
    check(&storage);
    drop(storage);
    check(&open(dir.path()));
}

#[test]
fn groups_do_not_mix_and_share_transactions() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let groups: Vec<GroupId> = [0, 1, 2, 255, 256, u64::MAX].map(GroupId).to_vec();
    let mut receipts = Vec::new();
    for first in (0..100).step_by(5) {
        for group in &groups {
            receipts.push(queue(&storage, *group, append_of(*group, first..first + 5, 30)));
            receipts.push(queue(&storage, *group, vote_of(&format!("{group} {first}"))));
        }
    }
    for (index, group) in (0..).zip(&groups) {
        receipts.push(queue(&storage, *group, truncate_of(50 + index)));
        receipts.push(queue(&storage, *group, purge_of(index)));
    }
    for receipt in receipts {
        block_on(receipt).expect("a sound disk");
    }
    drop(storage);
    let storage = open(dir.path());
    for (index, group) in (0..).zip(&groups) {
        assert_log(&storage, *group, index + 1..50 + index, 30);
        assert_eq!(state(&storage, *group).vote, Some(format!("{group} 95").into()));
    }
}

#[test]
fn receipts_are_used_in_order_and_once() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let (tx, rx) = mpsc::channel();
    for index in 0..500 {
        let tx = tx.clone();
        let group = GroupId(index % 3);
        let flushed = Flushed::new(move |result| {
            result.expect("a sound disk");
            tx.send(index).expect("the test waits");
        });
        storage.write(group, append_of(group, index / 3..index / 3 + 1, 20), flushed);
    }
    drop(tx);
    assert_eq!(rx.iter().collect::<Vec<_>>(), (0..500).collect::<Vec<_>>());
}

#[test]
fn committed_is_lazy_and_on_the_disk_after_a_close() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    write(&storage, G0, Write::Committed(Bytes::from_static(b"c1")));
    write(&storage, G0, append_of(G0, 0..1, 10));
    assert_eq!(state(&storage, G0).committed.as_deref(), Some(&b"c1"[..]), "it rode with the append");
    write(&storage, G0, Write::Committed(Bytes::from_static(b"c2")));
    write(&storage, G1, Write::Committed(Bytes::from_static(b"c3")));
    assert_eq!(state(&storage, G0).committed.as_deref(), Some(&b"c1"[..]), "alone it makes no transaction");
    block_on(storage.close());
    let storage = open(dir.path());
    assert_eq!(state(&storage, G0).committed.as_deref(), Some(&b"c2"[..]));
    assert_eq!(state(&storage, G1).committed.as_deref(), Some(&b"c3"[..]));
}

#[test]
fn after_a_close_everything_is_refused() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let mut unfinished = block_on(storage.snapshot_writer(G0)).expect("open");
    block_on(unfinished.write(Bytes::from_static(b"half"))).expect("a sound disk");
    block_on(storage.close());
    block_on(storage.close());
    let other = open(dir.path());
    assert!(matches!(try_write(&storage, G0, vote_of("T1 n1")), Err(StorageError::Closed)));
    let committed = Write::Committed(Bytes::new());
    assert!(matches!(try_write(&storage, G0, committed), Err(StorageError::Closed)));
    assert!(matches!(try_read(&storage, G0, 0..1, 1), Err(StorageError::Closed)));
    assert!(matches!(block_on(storage.open(G0)), Err(StorageError::Closed)));
    assert!(matches!(block_on(storage.snapshot(G0)), Err(StorageError::Closed)));
    assert!(block_on(storage.snapshot_writer(G0)).is_err());
    let late = block_on(unfinished.commit(quorate::types::LogId::new(1, 1)));
    assert!(matches!(late, Err(StorageError::Closed)), "the directory is another's by now");
    assert_eq!(state(&other, G0).vote, None);
    assert!(read_snapshot(&other, G0).expect("sound").is_none());
}

#[test]
fn a_gap_is_refused_before_it_is_on_the_disk() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    write(&storage, G0, append_of(G0, 0..3, 10));
    try_write(&storage, G0, append_of(G0, 4..5, 10)).expect_err("3 is missing");
    assert_eq!(storage.health().get(), quorate::storage::Health::Failed);
    drop(storage);
    assert_log(&open(dir.path()), G0, 0..3, 10);
}
