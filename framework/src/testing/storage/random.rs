//! Cases that compare a storage with a model.

use super::model::Model;
use super::played::{Cut, NoPower, play};
use super::store::{G, Store, entries};
use super::{CrashHarness, StorageHarness, run, steps};
use crate::storage::Write;
use crate::testing::shrink;
use crate::types::LogIndex;

/// After each operation of a group, a restart shows the group as it was.
pub fn every_operation_survives_reopen<H: StorageHarness>() {
    run::<H, _>("every_operation_survives_reopen", || async {
        let append = |name, first, count| Write::Append {
            first: LogIndex(first),
            entries: entries(name, first, count),
        };
        let purge = |upto, marker: &'static str| Write::Purge { upto: LogIndex(upto), marker: marker.into() };
        let writes = [
            Write::Vote("T1".into()),
            append("a", 0, 5),
            Write::Committed("c1".into()),
            append("b", 5, 1),
            Write::Truncate { from: LogIndex(4) },
            Write::Vote("T2".into()),
            append("c", 4, 3),
            purge(2, "p2"),
            Write::Committed("c2".into()),
            Write::Truncate { from: LogIndex(6) },
            append("d", 6, 1),
            purge(6, "p6"),
            append("e", 7, 2),
            Write::Truncate { from: LogIndex(7) },
            Write::Truncate { from: LogIndex(20) },
            append("f", 7, 2),
            purge(30, "p30"),
            Write::Vote("T3".into()),
            append("g", 31, 4),
        ];
        let mut store = Store::<H>::with_group().await;
        let mut model = Model::new();
        for (number, write) in writes.into_iter().enumerate() {
            model.apply(&write);
            store.write(G, write).await;
            model.check_entries(&store, G, &format!("after write {number}")).await;
            store = store.reopen().await;
            model.check(&store, G, &format!("after write {number} and a reopen")).await;
        }
    });
}

/// The most steps of a random sequence.
const STEPS: usize = 80;

/// Random writes to three groups, reads, snapshots and restarts: the storage shows what a model does.
pub fn random_operations_match_a_model<H: StorageHarness>() {
    crate::testing::run::run("random_operations_match_a_model", H::LIMIT, || {
        shrink::sequences(H::SEQUENCES, &steps::sequences(STEPS, false), |steps, script| {
            H::block_on(play::<H, NoPower>(steps, script))
        });
    });
}

/// The same with power cuts: after each, every group is what some number of its writes made it, at
/// least those whose receipts were used, and its snapshot is the last one committed.
pub fn random_operations_and_crashes_match_a_model<H: CrashHarness>() {
    crate::testing::run::run("random_operations_and_crashes_match_a_model", H::LIMIT, || {
        shrink::sequences(H::SEQUENCES, &steps::sequences(STEPS, true), |steps, script| {
            H::block_on(play::<H, Cut>(steps, script))
        });
    });
}
