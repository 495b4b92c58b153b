//! Cases about append, truncate and purge.

use super::store::{G, Store, assert_entries, entries};
use super::{StorageHarness, run};
use crate::storage::Write;
use crate::types::LogIndex;

const ALL: usize = usize::MAX;

fn truncate(from: u64) -> Write {
    Write::Truncate { from: LogIndex(from) }
}

fn purge(upto: u64) -> Write {
    Write::Purge { upto: LogIndex(upto), marker: format!("purged {upto}").into() }
}

/// Entries that were flushed can be read, in one call, from the first append on.
pub fn append_then_read<H: StorageHarness>() {
    run::<H, _>("append_then_read", || async {
        let store = Store::<H>::with_group().await;
        let all = entries("entry", 0, 10);
        store.append(0, &all[..1]).await;
        assert_entries(&store.read(G, 0..1, ALL).await, &all[..1], "the first entry");
        store.append(1, &all[1..4]).await;
        store.append(4, &all[4..]).await;
        assert_entries(&store.read(G, 0..10, ALL).await, &all, "the whole log");
        assert_entries(&store.read(G, 3..7, ALL).await, &all[3..7], "a part across appends");
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.log, 0..10, "the log after a reopen");
        assert_entries(&store.read(G, 0..10, ALL).await, &all, "the whole log after a reopen");
    });
}

/// A log goes on where it was when the storage is opened again.
pub fn append_goes_on_after_reopen<H: StorageHarness>() {
    run::<H, _>("append_goes_on_after_reopen", || async {
        let mut store = Store::<H>::with_group().await;
        let all = entries("entry", 0, 9);
        for part in 0..3 {
            store.append(part as u64 * 3, &all[part * 3..part * 3 + 3]).await;
            store = store.reopen().await;
            assert_eq!(store.open(G).await.log, 0..part as u64 * 3 + 3, "the log after a reopen");
        }
        assert_entries(&store.read(G, 0..9, ALL).await, &all, "the whole log");
    });
}

/// A truncation removes its index and every later one, and no other, now and after a restart.
pub fn truncate_removes_the_tail<H: StorageHarness>() {
    run::<H, _>("truncate_removes_the_tail", || async {
        let all = entries("entry", 0, 10);
        for from in [9, 7, 5, 1] {
            let store = Store::<H>::with_group().await;
            store.append(0, &all[..5]).await;
            store.append(5, &all[5..]).await;
            store.write(G, truncate(from as u64)).await;
            let what = format!("truncated from {from}");
            assert_entries(&store.read(G, 0..10, ALL).await, &all[..from], &what);
            assert!(store.read(G, from as u64..10, ALL).await.is_empty(), "{what}: the tail can be read");
            let store = store.reopen().await;
            assert_eq!(store.open(G).await.log, 0..from as u64, "{what}, after a reopen");
            assert_entries(&store.read(G, 0..10, ALL).await, &all[..from], &what);
        }
    });
}

/// A truncation at or past the end removes nothing.
pub fn truncate_past_the_end_does_nothing<H: StorageHarness>() {
    run::<H, _>("truncate_past_the_end_does_nothing", || async {
        let store = Store::<H>::with_group().await;
        let all = entries("entry", 0, 4);
        store.write(G, truncate(0)).await;
        store.append(0, &all[..3]).await;
        store.write(G, truncate(3)).await;
        store.write(G, truncate(1000)).await;
        store.append(3, &all[3..]).await;
        assert_entries(&store.read(G, 0..9, ALL).await, &all, "the log");
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.log, 0..4, "the log after a reopen");
        assert_entries(&store.read(G, 0..9, ALL).await, &all, "the log after a reopen");
    });
}

/// A truncation from the first index leaves an empty log that goes on there.
pub fn truncate_of_everything_empties_the_log<H: StorageHarness>() {
    run::<H, _>("truncate_of_everything_empties_the_log", || async {
        let store = Store::<H>::with_group().await;
        store.append(0, &entries("old", 0, 5)).await;
        store.write(G, purge(1)).await;
        store.write(G, truncate(2)).await;
        assert!(store.read(G, 0..9, ALL).await.is_empty(), "what was truncated can be read");
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.log, 2..2, "the log after a reopen");
        let new = entries("new", 2, 2);
        store.append(2, &new).await;
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.log, 2..4, "the log after a reopen");
        assert_entries(&store.read(G, 2..9, ALL).await, &new, "the log");
    });
}

/// Entries appended after a truncation are there instead of the old ones, and nothing of the old
/// tail shows behind them.
pub fn append_after_truncate_replaces_the_tail<H: StorageHarness>() {
    run::<H, _>("append_after_truncate_replaces_the_tail", || async {
        let store = Store::<H>::with_group().await;
        let (old, new, newest) = (entries("old", 0, 10), entries("new", 4, 2), entries("newest", 5, 2));
        store.append(0, &old[..6]).await;
        store.append(6, &old[6..]).await;
        store.write(G, truncate(4)).await;
        store.append(4, &new).await;
        store.write(G, truncate(5)).await;
        store.append(5, &newest).await;
        let expected = [&old[..4], &new[..1], &newest[..]].concat();
        assert_entries(&store.read(G, 0..10, ALL).await, &expected, "the log");
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.log, 0..7, "the log after a reopen");
        assert_entries(&store.read(G, 0..10, ALL).await, &expected, "the log after a reopen");
    });
}

/// A purge removes its index and every earlier one, keeps the rest and the newest marker, and the
/// log goes on at its end.
pub fn purge_removes_the_head_and_keeps_the_marker<H: StorageHarness>() {
    run::<H, _>("purge_removes_the_head_and_keeps_the_marker", || async {
        let mut store = Store::<H>::with_group().await;
        let all = entries("entry", 0, 12);
        store.append(0, &all[..10]).await;
        for upto in [0_u64, 4, 8] {
            let first = upto + 1;
            store.write(G, purge(upto)).await;
            assert!(store.read(G, 0..10, ALL).await.is_empty(), "what is purged ends a read");
            assert_entries(&store.read(G, first..10, ALL).await, &all[first as usize..10], "the rest");
            store = store.reopen().await;
            let state = store.open(G).await;
            assert_eq!(state.log, first..10, "purged up to {upto}");
            assert_eq!(state.purged, Some(format!("purged {upto}").into()), "the marker after a reopen");
            assert_entries(&store.read(G, first..10, ALL).await, &all[first as usize..10], "the rest");
        }
        store.append(10, &all[10..]).await;
        assert_entries(&store.read(G, 9..12, ALL).await, &all[9..], "the log goes on");
    });
}

/// A purge past the end, as after a snapshot from a leader, leaves an empty log that goes on behind
/// it.
pub fn purge_past_the_end_empties_the_log<H: StorageHarness>() {
    run::<H, _>("purge_past_the_end_empties_the_log", || async {
        let store = Store::<H>::with_group().await;
        store.append(0, &entries("old", 0, 5)).await;
        store.write(G, purge(99)).await;
        assert!(store.read(G, 0..200, ALL).await.is_empty(), "what was purged can be read");
        let store = store.reopen().await;
        let state = store.open(G).await;
        assert_eq!(
            (state.log, state.purged),
            (100..100, Some("purged 99".into())),
            "log and marker after a reopen"
        );
        let new = entries("new", 100, 3);
        store.append(100, &new).await;
        assert_entries(&store.read(G, 100..200, ALL).await, &new, "the log goes on");
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.log, 100..103, "the log after a reopen");
        assert_entries(&store.read(G, 100..200, ALL).await, &new, "the log after a reopen");
    });
}

/// A group whose first write is a purge begins behind it.
pub fn purge_of_a_fresh_group_moves_its_start<H: StorageHarness>() {
    run::<H, _>("purge_of_a_fresh_group_moves_its_start", || async {
        let store = Store::<H>::with_group().await;
        store.write(G, purge(0)).await;
        store.write(G, purge(41)).await;
        let store = store.reopen().await;
        let state = store.open(G).await;
        assert_eq!(
            (state.log, state.purged),
            (42..42, Some("purged 41".into())),
            "log and marker after a reopen"
        );
        let new = entries("new", 42, 1);
        store.append(42, &new).await;
        assert_entries(&store.read(G, 42..43, ALL).await, &new, "the first entry");
    });
}
