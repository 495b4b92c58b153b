//! Cases about a power cut.

use super::expected::Expected;
use super::identity::IDENTITY;
use super::model::Model;
use super::store::{G, Store, entries};
use super::{CrashHarness, run};
use crate::storage::{Storage, Write};
use crate::testing::Seeded;
use crate::types::{LogId, LogIndex};

/// Entries whose receipt was used are there after a power cut, whatever was queued behind them.
pub fn append_survives_crash_after_flush<H: CrashHarness>() {
    run::<H, _>("append_survives_crash_after_flush", || async {
        let mut store = Store::<H>::with_group().await;
        let mut model = Model::new();
        for round in 0..6_u64 {
            let append = |end: u64, count| Write::Append {
                first: LogIndex(end),
                entries: entries(&format!("round {round}"), end, count),
            };
            for count in 1..4 {
                let write = append(model.end(), count);
                model.apply(&write);
                store.write(G, write).await;
            }
            let unflushed = store.queue(G, append(model.end(), 1));
            store = store.crash().await;
            let state = store.open(G).await;
            assert!(
                state.log.start == 0 && state.log.end >= model.end(),
                "entries 0..{} were flushed, and after a crash the log is {:?}",
                model.end(),
                state.log
            );
            model.check_entries(&store, G, "after a crash").await;
            if unflushed.await.is_ok() {
                assert_eq!(state.log.end, model.end() + 1, "a receipt was used, and the entry is lost");
            }
            store.write(G, Write::Truncate { from: LogIndex(model.end()) }).await;
        }
    });
}

/// A vote whose receipt was used is there after a power cut.
pub fn vote_survives_crash_after_flush<H: CrashHarness>() {
    run::<H, _>("vote_survives_crash_after_flush", || async {
        let mut store = Store::<H>::with_group().await;
        for term in 1..6 {
            let vote = format!("T{term} for n{term}");
            store.write(G, Write::Vote(vote.clone().into())).await;
            store = store.crash().await;
            assert_eq!(store.open(G).await.vote, Some(vote.into()), "the vote after a crash");
        }
    });
}

/// A truncation and a purge whose receipts were used hold after a power cut: no entry comes back.
pub fn truncate_and_purge_survive_crash_after_flush<H: CrashHarness>() {
    run::<H, _>("truncate_and_purge_survive_crash_after_flush", || async {
        let mut store = Store::<H>::with_group().await;
        let mut model = Model::new();
        let writes = [
            Write::Append { first: LogIndex(0), entries: entries("entry", 0, 10) },
            Write::Truncate { from: LogIndex(8) },
            Write::Purge { upto: LogIndex(3), marker: "p3".into() },
            Write::Append { first: LogIndex(8), entries: entries("again", 8, 4) },
            Write::Truncate { from: LogIndex(9) },
            Write::Purge { upto: LogIndex(50), marker: "p50".into() },
        ];
        for (number, write) in writes.into_iter().enumerate() {
            model.apply(&write);
            store.write(G, write).await;
            store = store.crash().await;
            model.check(&store, G, &format!("after write {number} and a crash")).await;
        }
    });
}

/// An identity is durable before its call returns.
pub fn identity_survives_crash<H: CrashHarness>() {
    run::<H, _>("identity_survives_crash", || async {
        let store = Store::<H>::blank().await;
        store.storage.set_identity_once(&IDENTITY).await.expect("recorded");
        let store = store.crash().await;
        assert_eq!(store.storage.identity().await.expect("can be read"), Some(IDENTITY), "after a crash");
    });
}

/// A committed snapshot is there, whole, after a power cut.
pub fn snapshot_survives_crash_after_commit<H: CrashHarness>() {
    run::<H, _>("snapshot_survives_crash_after_commit", || async {
        let mut rng = Seeded::announced();
        let mut store = Store::<H>::with_group().await;
        for index in 1..4 {
            let chunks = [rng.bytes(1000..200_000), rng.bytes(1..1000)];
            let covers = LogId::new(1, index);
            store.write_snapshot(G, covers, &chunks).await;
            store = store.crash().await;
            store.open(G).await;
            let found = store.read_snapshot(G).await;
            assert!(found == Some((covers, chunks.concat().into())), "snapshot {index} after a crash");
        }
    });
}

/// A snapshot that was not committed is not there after a power cut; the older one is.
pub fn snapshot_not_committed_is_absent_after_crash<H: CrashHarness>() {
    run::<H, _>("snapshot_not_committed_is_absent_after_crash", || async {
        let mut store = Store::<H>::with_group().await;
        let old = LogId::new(1, 1);
        let mut before = None;
        for _ in 0..2 {
            let mut writer = store.storage.snapshot_writer(G).await.expect("a snapshot begins");
            writer.write("abandoned".into()).await.expect("a chunk is written");
            store = store.crash().await;
            drop(writer);
            store.open(G).await;
            assert_eq!(store.read_snapshot(G).await, before, "after a crash");
            store.write_snapshot(G, old, &["old".into()]).await;
            before = Some((old, "old".into()));
        }
    });
}

/// After a power cut the group is what some number of its writes made it: all whose receipts were
/// used, perhaps some more in order, each whole or not at all.
pub fn unflushed_is_absent_or_whole_after_crash<H: CrashHarness>() {
    run::<H, _>("unflushed_is_absent_or_whole_after_crash", || async {
        let mut rng = Seeded::announced();
        let mut store = Store::<H>::with_group().await;
        let mut group = Expected::new(G);
        for round in 0..12 {
            let count = rng.draw(1..40);
            for _ in 0..count {
                let write = group.now().draw_write(&mut rng);
                group.queue(&store, write);
            }
            group.wait_for(rng.draw(0..count + 1) as usize).await;
            store = store.crash().await;
            let known = group.known().await;
            let known = known.unwrap_or_else(|wrong| panic!("round {round}, after a power cut: {wrong}"));
            let checked = group.reopened(&store, known).await;
            checked.unwrap_or_else(|wrong| panic!("round {round}, after a power cut: {wrong}"));
        }
    });
}
