//! Cases about many groups on one storage.

use std::collections::BTreeMap;

use super::model::Model;
use super::store::{G, Store, entries};
use super::{StorageHarness, run};
use crate::storage::{GroupState, Write};
use crate::types::{GroupId, LogIndex};

/// A group that was never written to is empty, however often the storage is opened.
pub fn fresh_group_is_empty<H: StorageHarness>() {
    run::<H, _>("fresh_group_is_empty", || async {
        let store = Store::<H>::fresh().await;
        assert_eq!(store.open(G).await, GroupState::default(), "a fresh group");
        assert!(store.read(G, 0..10, 1000).await.is_empty(), "a fresh group has entries");
        assert!(store.read_snapshot(G).await.is_none(), "a fresh group has a snapshot");
        let store = store.reopen().await;
        assert_eq!(store.open(G).await, GroupState::default(), "after a reopen");
    });
}

/// What is written to one group shows in no other, and a restart keeps them apart.
pub fn groups_do_not_mix<H: StorageHarness>() {
    run::<H, _>("groups_do_not_mix", || async {
        // Neighbours in any byte order, and the ends of the range.
        let groups = [0, 1, 2, 0x100, 0x0100_0000_0000_0000, u64::MAX].map(GroupId);
        let untouched = [GroupId(3), GroupId(0x101), GroupId(u64::MAX - 1)];
        let store = Store::<H>::fresh().await;
        let mut models = BTreeMap::new();
        for group in groups {
            assert_eq!(store.open(group).await, GroupState::default(), "{group} is fresh");
            models.insert(group, Model::new());
        }
        for round in 0..3 {
            for group in groups {
                let model = models.get_mut(&group).expect("made above");
                let append = Write::Append {
                    first: LogIndex(model.end()),
                    entries: entries(&format!("{group} round {round}"), model.end(), 1 + group.0 % 3),
                };
                let writes = [append, Write::Vote(format!("vote of {group} in {round}").into())];
                for write in writes {
                    model.apply(&write);
                    store.write(group, write).await;
                }
            }
        }
        let purge = Write::Purge { upto: LogIndex(0), marker: "purged".into() };
        let truncate = Write::Truncate { from: LogIndex(1) };
        for (group, write) in [(groups[1], purge), (groups[2], truncate)] {
            models.get_mut(&group).expect("made above").apply(&write);
            store.write(group, write).await;
        }
        for (group, model) in &models {
            model.check_entries(&store, *group, "before a reopen").await;
        }
        let store = store.reopen().await;
        for (group, model) in &mut models {
            model.check(&store, *group, "after a reopen").await;
        }
        for group in untouched {
            assert_eq!(store.open(group).await, GroupState::default(), "{group} was never written to");
        }
    });
}

/// Writes to many groups that are queued together are all flushed, each in its own group.
pub fn many_groups_interleave<H: StorageHarness>() {
    run::<H, _>("many_groups_interleave", || async {
        const GROUPS: u64 = 64;
        let store = Store::<H>::fresh().await;
        let mut models: Vec<Model> = Vec::new();
        for group in 0..GROUPS {
            store.open(GroupId(group)).await;
            models.push(Model::new());
        }
        let mut receipts = Vec::new();
        for round in 0..20 {
            for (group, model) in (0..GROUPS).map(GroupId).zip(&mut models) {
                let write = match (round + group.0) % 5 {
                    0 => Write::Vote(format!("{group} {round}").into()),
                    1 if model.end() > 3 => Write::Truncate { from: LogIndex(model.end() - 1) },
                    _ => Write::Append {
                        first: LogIndex(model.end()),
                        entries: entries(&format!("{group} {round}"), model.end(), 2),
                    },
                };
                model.apply(&write);
                receipts.push(store.queue(group, write));
            }
        }
        for receipt in receipts {
            receipt.await.expect("the write is flushed");
        }
        let store = store.reopen().await;
        for (group, model) in (0..GROUPS).map(GroupId).zip(&mut models) {
            model.check(&store, group, "after a reopen").await;
        }
    });
}

/// Everything of a group is there after a restart, and a second restart changes nothing.
pub fn reopen_shows_what_was_flushed<H: StorageHarness>() {
    run::<H, _>("reopen_shows_what_was_flushed", || async {
        let mut store = Store::<H>::with_group().await;
        let writes = [
            Write::Append { first: LogIndex(0), entries: entries("first", 0, 6) },
            Write::Vote("vote".into()),
            Write::Truncate { from: LogIndex(5) },
            Write::Purge { upto: LogIndex(1), marker: "purged".into() },
            Write::Committed("committed".into()),
            Write::Append { first: LogIndex(5), entries: entries("second", 5, 2) },
        ];
        let mut model = Model::new();
        for write in writes {
            model.apply(&write);
            store.write(G, write).await;
        }
        for _ in 0..2 {
            store = store.reopen().await;
            let state = GroupState {
                log: 2..7,
                vote: Some("vote".into()),
                committed: Some("committed".into()),
                purged: Some("purged".into()),
            };
            assert_eq!(store.open(G).await, state, "the group after a reopen");
            model.check_entries(&store, G, "after a reopen").await;
        }
    });
}
