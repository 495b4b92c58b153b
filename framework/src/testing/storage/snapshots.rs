//! Cases about snapshots.

use bytes::Bytes;

use super::store::{G, Store, entries};
use super::{StorageHarness, run};
use crate::storage::Storage;
use crate::testing::Seeded;
use crate::types::{GroupId, LogId};

const OLD: LogId = LogId::new(1, 5);
const NEW: LogId = LogId::new(2, 9);

fn chunks(name: &'static str) -> Vec<Bytes> {
    entries(name, 0, 20)
}

/// What [`Store::read_snapshot`] shows of a snapshot made of [`chunks`].
#[allow(clippy::unnecessary_wraps, reason = "it is compared with one that may be absent")]
fn snapshot(covers: LogId, name: &'static str) -> Option<(LogId, Bytes)> {
    Some((covers, chunks(name).concat().into()))
}

/// A snapshot shows only once it is committed; until then the older one does.
pub fn snapshot_is_invisible_before_commit<H: StorageHarness>() {
    run::<H, _>("snapshot_is_invisible_before_commit", || async {
        let store = Store::<H>::with_group().await;
        for (covers, name, before) in [(OLD, "old", None), (NEW, "new", snapshot(OLD, "old"))] {
            let mut writer = store.storage.snapshot_writer(G).await.expect("a snapshot begins");
            assert_eq!(store.read_snapshot(G).await, before, "begun");
            for chunk in chunks(name) {
                writer.write(chunk).await.expect("a chunk is written");
            }
            assert_eq!(store.read_snapshot(G).await, before, "written");
            writer.commit(covers).await.expect("committed");
            assert_eq!(store.read_snapshot(G).await, snapshot(covers, name), "committed");
        }
    });
}

/// A writer dropped without a commit leaves nothing, now and after a restart.
pub fn snapshot_dropped_uncommitted_leaves_nothing<H: StorageHarness>() {
    run::<H, _>("snapshot_dropped_uncommitted_leaves_nothing", || async {
        let mut store = Store::<H>::with_group().await;
        for before in [None, snapshot(OLD, "old")] {
            let mut writer = store.storage.snapshot_writer(G).await.expect("a snapshot begins");
            writer.write("abandoned".into()).await.expect("a chunk is written");
            drop(writer);
            assert_eq!(store.read_snapshot(G).await, before, "after a writer was dropped");
            store = store.reopen().await;
            store.open(G).await;
            assert_eq!(store.read_snapshot(G).await, before, "after a reopen");
            store.write_snapshot(G, OLD, &chunks("old")).await;
        }
    });
}

/// A snapshot that covers more replaces the older one.
pub fn snapshot_replaces_the_older<H: StorageHarness>() {
    run::<H, _>("snapshot_replaces_the_older", || async {
        let store = Store::<H>::with_group().await;
        store.write_snapshot(G, OLD, &chunks("a much longer old one")).await;
        store.write_snapshot(G, NEW, &chunks("new")).await;
        assert_eq!(store.read_snapshot(G).await, snapshot(NEW, "new"), "the snapshot");
        let store = store.reopen().await;
        store.open(G).await;
        assert_eq!(store.read_snapshot(G).await, snapshot(NEW, "new"), "after a reopen");
    });
}

/// A snapshot that covers less never replaces a newer one, also when it was begun first or after a
/// restart; its commit succeeds and changes nothing.
pub fn snapshot_never_replaces_a_newer<H: StorageHarness>() {
    run::<H, _>("snapshot_never_replaces_a_newer", || async {
        let store = Store::<H>::with_group().await;
        let mut older = store.storage.snapshot_writer(G).await.expect("a snapshot begins");
        older.write("older".into()).await.expect("a chunk is written");
        store.write_snapshot(G, NEW, &chunks("new")).await;
        older.write(", slower".into()).await.expect("a chunk is written");
        older.commit(OLD).await.expect("succeeds without an effect");
        assert_eq!(store.read_snapshot(G).await, snapshot(NEW, "new"), "the snapshot");
        let store = store.reopen().await;
        store.open(G).await;
        assert_eq!(store.read_snapshot(G).await, snapshot(NEW, "new"), "after a reopen");
        store.write_snapshot(G, OLD, &chunks("old")).await;
        assert_eq!(store.read_snapshot(G).await, snapshot(NEW, "new"), "older after a reopen");
        let store = store.reopen().await;
        store.open(G).await;
        assert_eq!(store.read_snapshot(G).await, snapshot(NEW, "new"), "after another reopen");
    });
}

/// A snapshot that covers the same replaces the one there is.
pub fn snapshot_of_the_same_log_id_replaces<H: StorageHarness>() {
    run::<H, _>("snapshot_of_the_same_log_id_replaces", || async {
        let store = Store::<H>::with_group().await;
        store.write_snapshot(G, OLD, &chunks("one")).await;
        store.write_snapshot(G, OLD, &chunks("two")).await;
        assert_eq!(store.read_snapshot(G).await, snapshot(OLD, "two"), "the snapshot");
        let store = store.reopen().await;
        store.open(G).await;
        assert_eq!(store.read_snapshot(G).await, snapshot(OLD, "two"), "after a reopen");
    });
}

/// A committed snapshot is there after a restart, beside a log that it does not touch.
pub fn snapshot_survives_reopen<H: StorageHarness>() {
    run::<H, _>("snapshot_survives_reopen", || async {
        let store = Store::<H>::with_group().await;
        store.append(0, &entries("entry", 0, 3)).await;
        store.write_snapshot(G, NEW, &chunks("new")).await;
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.log, 0..3, "the log after a reopen");
        assert_eq!(store.read_snapshot(G).await, snapshot(NEW, "new"), "the snapshot");
    });
}

/// A snapshot that is being read stays whole when a newer one is committed.
pub fn snapshot_stays_readable_when_replaced<H: StorageHarness>() {
    run::<H, _>("snapshot_stays_readable_when_replaced", || async {
        let mut rng = Seeded::announced();
        let store = Store::<H>::with_group().await;
        let old = [rng.bytes(3_000_000..3_000_001), rng.bytes(1000..1001)];
        store.write_snapshot(G, OLD, &old).await;
        let mut stored = store.storage.snapshot(G).await.expect("opens").expect("committed");
        let mut bytes = stored.reader.next().await.expect("can be read").expect("not the end").to_vec();
        store.write_snapshot(G, NEW, &chunks("new")).await;
        while let Some(chunk) = stored.reader.next().await.expect("can be read") {
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(stored.covers, OLD, "what a snapshot covers that is being read");
        assert!(bytes == old.concat(), "the bytes of the old snapshot changed under its reader");
        assert_eq!(store.read_snapshot(G).await, snapshot(NEW, "new"), "the snapshot");
    });
}

/// The snapshot of one group is not that of another.
pub fn snapshots_of_groups_do_not_mix<H: StorageHarness>() {
    run::<H, _>("snapshots_of_groups_do_not_mix", || async {
        let (other, none) = (GroupId(u64::MAX), GroupId(0));
        let store = Store::<H>::fresh().await;
        for group in [G, other, none] {
            store.open(group).await;
        }
        store.write_snapshot(G, NEW, &chunks("of one")).await;
        store.write_snapshot(other, OLD, &chunks("of the other")).await;
        let store = store.reopen().await;
        for group in [G, other, none] {
            store.open(group).await;
        }
        assert_eq!(store.read_snapshot(G).await, snapshot(NEW, "of one"), "the snapshot of {G}");
        assert_eq!(
            store.read_snapshot(other).await,
            snapshot(OLD, "of the other"),
            "the snapshot of {other}"
        );
        assert_eq!(store.read_snapshot(none).await, None, "the snapshot of {none}");
    });
}

/// A storage that says how much room a snapshot has never says less than one then takes: to one that did
/// the next would come late after one that found no room. It may be asked while one is written.
pub fn room_for_a_snapshot_is_what_one_may_take<H: StorageHarness>() {
    run::<H, _>("room_for_a_snapshot_is_what_one_may_take", || async {
        const CHUNK: u64 = 256 << 10;
        let mut store = Store::<H>::with_group().await;
        for (index, when) in [(1, "with no snapshot before"), (2, "after another"), (3, "after a reopen")] {
            let mut writer = store.storage.snapshot_writer(G).await.expect("a snapshot begins");
            // What was said, and how much was written after it.
            let mut said: Vec<(u64, u64)> = Vec::new();
            for _ in 0..8 {
                said.extend(store.storage.snapshot_room().map(|room| (room, 0)));
                writer.write(Bytes::from(vec![7; CHUNK as usize])).await.expect("a chunk is written");
                for (_, written) in &mut said {
                    *written += CHUNK;
                }
            }
            writer.commit(LogId::new(1, index)).await.expect("committed");
            for (room, written) in said {
                assert!(
                    room >= written,
                    "{when}: there was room for {room} bytes of a snapshot, and it took {written} more"
                );
            }
            if index == 2 {
                store = store.reopen().await;
                store.open(G).await;
            }
        }
    });
}

/// A snapshot of many megabytes, in chunks of any size, comes back as written.
pub fn large_snapshot_comes_back<H: StorageHarness>() {
    run::<H, _>("large_snapshot_comes_back", || async {
        let mut rng = Seeded::announced();
        let store = Store::<H>::with_group().await;
        let lens = [4 << 20, 1, 256 << 10, 65_537, 8 << 20, 3];
        let chunks: Vec<Bytes> = lens.into_iter().map(|len| rng.bytes(len..len + 1)).collect();
        store.write_snapshot(G, NEW, &chunks).await;
        let store = store.reopen().await;
        store.open(G).await;
        let (covers, bytes) = store.read_snapshot(G).await.expect("committed");
        assert_eq!(
            (covers, bytes.len()),
            (NEW, lens.into_iter().sum::<u64>() as usize),
            "what it covers, and its length"
        );
        assert!(bytes == chunks.concat(), "the bytes are not the ones written");
    });
}
