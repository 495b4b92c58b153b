//! Cases about reading entries.

use bytes::Bytes;

use super::store::{G, Store, assert_entries, entries};
use super::{StorageHarness, run};
use crate::storage::Write;
use crate::testing::Seeded;
use crate::transport::MAX_FRAME_BYTES;
use crate::types::LogIndex;

/// How far a read may go past its limit: a storage may keep entries in rows and return them whole.
const SLACK: usize = 64 << 10;

/// A read stops at about its limit, and returns at least one entry, however large.
pub fn read_is_bounded_and_never_empty<H: StorageHarness>() {
    run::<H, _>("read_is_bounded_and_never_empty", || async {
        const LEN: usize = 100 << 10;
        let mut rng = Seeded::announced();
        let store = Store::<H>::with_group().await;
        let all: Vec<Bytes> = (0..20).map(|_| rng.bytes(LEN as u64..LEN as u64 + 1)).collect();
        store.append(0, &all).await;
        for max_bytes in [0, 1, LEN - 1, LEN, 5 * LEN, 20 * LEN, usize::MAX] {
            let read = store.read(G, 0..20, max_bytes).await;
            assert!(!read.is_empty(), "a read of {max_bytes} bytes returned nothing");
            assert_entries(&read, &all[..read.len()], "a bounded read");
            let bytes: usize = read.iter().map(Bytes::len).sum();
            let most = max_bytes.saturating_add(LEN + SLACK);
            assert!(bytes <= most, "a read of at most {max_bytes} bytes returned {bytes}");
            if max_bytes >= 20 * LEN {
                assert_eq!(read.len(), 20, "a read stopped before its limit and its end");
            }
        }
        assert_entries(&store.read(G, 19..20, 0).await, &all[19..], "the last entry");
    });
}

/// An index that is not there ends a read: behind the log, in front of it, and in an empty range.
pub fn read_stops_at_the_end<H: StorageHarness>() {
    run::<H, _>("read_stops_at_the_end", || async {
        let store = Store::<H>::with_group().await;
        let all = entries("entry", 0, 5);
        store.append(0, &all).await;
        assert_entries(&store.read(G, 3..1000, 1 << 20).await, &all[3..], "a read past the end");
        assert_entries(&store.read(G, 0..u64::MAX, 1 << 20).await, &all, "a read without an end");
        for range in [5..6, 5..1000, 1000..2000, u64::MAX..u64::MAX, 2..2, 0..0] {
            assert!(store.read(G, range.clone(), 1 << 20).await.is_empty(), "a read of {range:?}");
        }
    });
}

/// A read beside writes that are not flushed yet returns the entries from its start, as many as are
/// there: never others, never with a hole, and once flushed all of them.
pub fn read_beside_writes_shows_no_hole<H: StorageHarness>() {
    run::<H, _>("read_beside_writes_shows_no_hole", || async {
        let store = Store::<H>::with_group().await;
        let all = entries("entry", 0, 400);
        let mut receipts = Vec::new();
        for (round, chunk) in all.chunks(4).enumerate() {
            let first = LogIndex(4 * round as u64);
            receipts.push(store.queue(G, Write::Append { first, entries: chunk.to_vec() }));
            for start in [0, first.0 / 2, first.0] {
                let read = store.read(G, start..400, 1 << 20).await;
                let expected = &all[start as usize..first.0 as usize + 4];
                assert!(read.len() <= expected.len(), "{} entries, and only {first} + 4 exist", read.len());
                assert_entries(&read, &expected[..read.len()], "a read beside writes");
            }
            if round % 10 == 0 {
                for receipt in receipts.drain(..) {
                    receipt.await.expect("the write is flushed");
                }
                let read = store.read(G, 0..400, 1 << 20).await;
                assert_entries(&read, &all[..first.0 as usize + 4], "a read of what is flushed");
            }
        }
    });
}

/// Entries of any length up to the longest frame come back whole, before and after a restart.
pub fn large_entries_come_back<H: StorageHarness>() {
    run::<H, _>("large_entries_come_back", || async {
        let mut rng = Seeded::announced();
        let lens = [1, 1 << 20, 100, 7 << 20, 60 << 10, MAX_FRAME_BYTES as u64, 65_536, 65_535];
        let all: Vec<Bytes> = lens.into_iter().map(|len| rng.bytes(len..len + 1)).collect();
        let store = Store::<H>::with_group().await;
        store.append(0, &all[..4]).await;
        for (place, entry) in all.iter().enumerate().skip(4) {
            store.append(place as u64, std::slice::from_ref(entry)).await;
        }
        let read = store.read(G, 0..8, usize::MAX).await;
        assert_entries(&read, &all, "large entries");
        assert_entries(&store.read(G, 3..4, 0).await, &all[3..4], "a large entry over the limit");
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.log, 0..8);
        assert_entries(&store.entries(G, 0..8).await, &all, "large entries after a reopen");
    });
}
