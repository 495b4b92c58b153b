//! Cases that compare a storage with a model.

use super::model::Model;
use super::store::{G, Store, entries};
use super::{StorageHarness, run};
use crate::storage::{Receipt, Write};
use crate::testing::Seeded;
use crate::types::{GroupId, LogIndex};

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

/// Random writes to three groups, random reads and restarts: the storage shows what a model does.
pub fn random_operations_match_a_model<H: StorageHarness>() {
    run::<H, _>("random_operations_match_a_model", || async {
        let mut rng = Seeded::announced();
        let mut groups = [GroupId(0), GroupId(7), GroupId(u64::MAX)].map(|group| (group, Model::new()));
        let mut store = Store::<H>::fresh().await;
        for (group, model) in &mut groups {
            model.check(&store, *group, "fresh").await;
        }
        let mut receipts: Vec<Receipt> = Vec::new();
        for step in 0..600 {
            let (group, model) = &mut groups[rng.draw(0..3) as usize];
            match rng.draw(0..30) {
                0 => {
                    store = store.reopen().await;
                    for (group, model) in &mut groups {
                        model.check(&store, *group, &format!("reopened at step {step}")).await;
                    }
                }
                1..=4 => {
                    // Only what is flushed need be seen.
                    for receipt in receipts.drain(..) {
                        receipt.await.expect("the write is flushed");
                    }
                    model.check_read(&store, *group, &mut rng).await;
                }
                _ => {
                    let write = model.draw_write(&mut rng);
                    model.apply(&write);
                    receipts.push(store.queue(*group, write));
                }
            }
        }
        store = store.reopen().await;
        for receipt in receipts {
            receipt.await.expect("the write is flushed");
        }
        for (group, model) in &mut groups {
            model.check(&store, *group, "at the end").await;
        }
    });
}
