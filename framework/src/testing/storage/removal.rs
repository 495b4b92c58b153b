//! Cases about what goes: snapshots that are of no more use, and space.

use bytes::Bytes;

use super::store::{G, Store, assert_entries, entries};
use super::{CrashHarness, StorageHarness, run};
use crate::storage::{Storage, Write};
use crate::testing::Seeded;
use crate::types::{GroupId, LogId, LogIndex};

const OLD: LogId = LogId::new(1, 5);
const NEW: LogId = LogId::new(2, 9);

fn chunks(name: &'static str) -> Vec<Bytes> {
    entries(name, 0, 20)
}

fn whole(covers: LogId, name: &'static str) -> (LogId, Bytes) {
    (covers, chunks(name).concat().into())
}

async fn remove<H: StorageHarness>(store: &Store<H>, upto: LogId) {
    store.storage.remove_snapshot(G, upto).await.expect("it is removed, or kept");
}

/// Fails unless the snapshot is gone or as it was.
async fn assert_gone_or<H: StorageHarness>(store: &Store<H>, covers: LogId, name: &'static str, when: &str) {
    if let Some(found) = store.read_snapshot(G).await {
        let len = found.1.len();
        assert!(found == whole(covers, name), "{when}: {len} bytes are there that cover {}", found.0);
    }
}

/// A snapshot that is removed is gone or whole, and the next one takes its place.
pub fn removed_snapshot_is_gone_or_whole<H: StorageHarness>() {
    run::<H, _>("removed_snapshot_is_gone_or_whole", || async {
        let mut store = Store::<H>::with_group().await;
        remove(&store, NEW).await;
        assert_eq!(store.read_snapshot(G).await, None, "there was none");
        for (upto, name) in [(OLD, "exactly"), (NEW, "as one that covers less")] {
            store.write_snapshot(G, OLD, &chunks(name)).await;
            remove(&store, upto).await;
            assert_gone_or(&store, OLD, name, "removed").await;
            store = store.reopen().await;
            store.open(G).await;
            assert_gone_or(&store, OLD, name, "after a reopen").await;
        }
        store.write_snapshot(G, NEW, &chunks("new")).await;
        assert_eq!(store.read_snapshot(G).await, Some(whole(NEW, "new")), "the next one");
    });
}

/// A snapshot that covers more than what is to be removed stays.
pub fn removing_a_snapshot_spares_a_newer<H: StorageHarness>() {
    run::<H, _>("removing_a_snapshot_spares_a_newer", || async {
        let store = Store::<H>::with_group().await;
        store.write_snapshot(G, NEW, &chunks("new")).await;
        for upto in [OLD, LogId::new(1, 99), LogId::new(2, 8)] {
            remove(&store, upto).await;
            assert_eq!(store.read_snapshot(G).await, Some(whole(NEW, "new")), "removed up to {upto}");
        }
        let store = store.reopen().await;
        store.open(G).await;
        assert_eq!(store.read_snapshot(G).await, Some(whole(NEW, "new")), "after a reopen");
    });
}

/// The snapshot of another group stays.
pub fn removing_a_snapshot_spares_other_groups<H: StorageHarness>() {
    run::<H, _>("removing_a_snapshot_spares_other_groups", || async {
        let others = [GroupId(0), GroupId(2), GroupId(u64::MAX)];
        let store = Store::<H>::with_group().await;
        for group in others {
            store.open(group).await;
            store.write_snapshot(group, OLD, &chunks("of another")).await;
        }
        store.write_snapshot(G, OLD, &chunks("of one")).await;
        remove(&store, NEW).await;
        for group in others {
            let found = store.read_snapshot(group).await;
            assert_eq!(found, Some(whole(OLD, "of another")), "the snapshot of {group}");
        }
    });
}

/// A snapshot that is being read stays whole when it is removed.
pub fn snapshot_stays_readable_when_removed<H: StorageHarness>() {
    run::<H, _>("snapshot_stays_readable_when_removed", || async {
        let mut rng = Seeded::announced();
        let store = Store::<H>::with_group().await;
        let written = [rng.bytes(3_000_000..3_000_001), rng.bytes(1000..1001)];
        store.write_snapshot(G, OLD, &written).await;
        let mut stored = store.storage.snapshot(G).await.expect("opens").expect("committed");
        let mut bytes = stored.reader.next().await.expect("can be read").expect("not the end").to_vec();
        remove(&store, OLD).await;
        while let Some(chunk) = stored.reader.next().await.expect("can be read") {
            bytes.extend_from_slice(&chunk);
        }
        assert!(bytes == written.concat(), "the bytes of the removed snapshot changed under its reader");
    });
}

/// After a power cut a snapshot that was removed is gone or whole.
pub fn removed_snapshot_is_gone_or_whole_after_crash<H: CrashHarness>() {
    run::<H, _>("removed_snapshot_is_gone_or_whole_after_crash", || async {
        let mut store = Store::<H>::with_group().await;
        for _ in 0..3 {
            store.write_snapshot(G, OLD, &chunks("old")).await;
            remove(&store, NEW).await;
            store = store.crash().await;
            store.open(G).await;
            assert_gone_or(&store, OLD, "old", "after a crash").await;
        }
    });
}

/// Whatever is asked for, and whenever: entries, markers, votes and snapshots stay.
pub fn making_room_loses_nothing<H: StorageHarness>() {
    run::<H, _>("making_room_loses_nothing", || async {
        let mut rng = Seeded::announced();
        let store = Store::<H>::with_group().await;
        store.write(G, Write::Vote("T7".into())).await;
        store.write_snapshot(G, OLD, &chunks("kept")).await;
        let all: Vec<Bytes> = (0..200).map(|_| rng.bytes(100..20_000)).collect();
        let (mut first, mut next) = (0, 0);
        for (round, wanted) in [true, true, false, true, true].into_iter().enumerate() {
            store.storage.make_room(wanted);
            let end = next + 40;
            store.append(next, &all[next as usize..end as usize]).await;
            next = end;
            store.storage.make_room(wanted);
            let upto = first + rng.draw(0..20);
            let purged = format!("purged {upto}");
            store.write(G, Write::Purge { upto: LogIndex(upto), marker: purged.clone().into() }).await;
            first = upto + 1;
            // One write after the other, so that there is time for what was asked for.
            for _ in 0..10 {
                store.write(G, Write::Vote(format!("T{round}").into())).await;
            }
            let found = store.entries(G, first..next).await;
            assert_entries(&found, &all[first as usize..next as usize], "while room is made");
        }
        let store = store.reopen().await;
        let state = store.open(G).await;
        let kept = (state.log, state.vote, state.purged);
        let purged = format!("purged {}", first - 1);
        assert_eq!(kept, (first..next, Some("T4".into()), Some(purged.into())), "after a reopen");
        let found = store.entries(G, first..next).await;
        assert_entries(&found, &all[first as usize..next as usize], "after a reopen");
        assert_eq!(store.read_snapshot(G).await, Some(whole(OLD, "kept")), "the snapshot");
    });
}
