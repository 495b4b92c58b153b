//! Cases about the vote and the committed marker.

use super::store::{G, Store, entries};
use super::{StorageHarness, run};
use crate::storage::Write;
use crate::types::LogIndex;

/// A vote is there after a restart, also in a group without entries.
pub fn vote_survives_reopen<H: StorageHarness>() {
    run::<H, _>("vote_survives_reopen", || async {
        let store = Store::<H>::with_group().await;
        store.write(G, Write::Vote("T1 for n2".into())).await;
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.vote, Some("T1 for n2".into()), "the vote after a reopen");
    });
}

/// The last vote counts, whatever is written around it, and other writes leave it alone.
pub fn vote_is_replaced<H: StorageHarness>() {
    run::<H, _>("vote_is_replaced", || async {
        let store = Store::<H>::with_group().await;
        store.write(G, Write::Vote("a vote that is longer than the next".into())).await;
        store.append(0, &entries("entry", 0, 3)).await;
        store.write(G, Write::Vote("short".into())).await;
        store.write(G, Write::Truncate { from: LogIndex(1) }).await;
        store.write(G, Write::Purge { upto: LogIndex(0), marker: "purged".into() }).await;
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.vote, Some("short".into()), "the vote after a reopen");
        store.write(G, Write::Vote("after the reopen".into())).await;
        let store = store.reopen().await;
        let state = store.open(G).await;
        assert_eq!(
            (state.vote, state.log),
            (Some("after the reopen".into()), 1..1),
            "vote and log after a reopen"
        );
    });
}

/// The last committed marker replaces those before it.
pub fn committed_is_replaced<H: StorageHarness>() {
    run::<H, _>("committed_is_replaced", || async {
        let store = Store::<H>::with_group().await;
        for marker in ["a longer marker", "b", "c"] {
            store.write(G, Write::Committed(marker.into())).await;
        }
        store.append(0, &entries("entry", 0, 1)).await;
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.committed, Some("c".into()), "the committed marker after a reopen");
        store.write(G, Write::Committed("d".into())).await;
        store.write(G, Write::Vote("vote".into())).await;
        let store = store.reopen().await;
        assert_eq!(store.open(G).await.committed, Some("d".into()), "the committed marker after a reopen");
    });
}

/// A committed marker is on the disk with the next write that is flushed, of whatever kind. Without
/// one, an older marker may be found, and never anything else.
pub fn committed_rides_with_the_next_write<H: StorageHarness>() {
    run::<H, _>("committed_rides_with_the_next_write", || async {
        let mut store = Store::<H>::with_group().await;
        let riders = [
            Write::Append { first: LogIndex(0), entries: entries("entry", 0, 4) },
            Write::Vote("vote".into()),
            Write::Truncate { from: LogIndex(2) },
            Write::Purge { upto: LogIndex(0), marker: "purged".into() },
        ];
        for (number, rider) in riders.into_iter().enumerate() {
            let marker = format!("committed {number}");
            store.write(G, Write::Committed(marker.clone().into())).await;
            store.write(G, rider).await;
            store = store.reopen().await;
            assert_eq!(
                store.open(G).await.committed,
                Some(marker.into()),
                "the committed marker after a reopen"
            );
        }
        store.write(G, Write::Committed("alone".into())).await;
        let store = store.reopen().await;
        let found = store.open(G).await.committed;
        assert!(
            found == Some("alone".into()) || found == Some("committed 3".into()),
            "the committed marker is {found:?}"
        );
    });
}
