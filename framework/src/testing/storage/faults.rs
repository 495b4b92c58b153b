//! Cases about a disk that refuses.

use super::expected::Expected;
use super::store::{G, Store, entries};
use super::{FaultHarness, run};
use crate::storage::Write;
use crate::testing::run::doing;
use crate::types::LogIndex;

/// Once a write has failed every later one of its group fails too, although the disk is well again:
/// what a failed flush has left behind is not known. A restart shows the writes in order, up to some
/// point, and those that were flushed before the failure.
pub fn after_a_failed_write_every_later_one_fails<H: FaultHarness>() {
    run::<H, _>("after_a_failed_write_every_later_one_fails", || async {
        let append = |first| Write::Append { first: LogIndex(first), entries: entries("entry", first, 3) };
        let fails = [
            append(3),
            Write::Vote("T2".into()),
            Write::Truncate { from: LogIndex(1) },
            Write::Purge { upto: LogIndex(0), marker: "purged".into() },
        ];
        for fails in fails {
            let store = Store::<H>::with_group().await;
            let mut group = Expected::new(G);
            group.queue(&store, Write::Vote("T1".into()));
            group.queue(&store, append(0));
            group.flushed().await.expect("nothing fails yet");

            let kind = format!("{fails:?}").chars().take_while(char::is_ascii_alphabetic).collect::<String>();
            H::fail_flushes(&store.place, &store.storage, true);
            group.queue(&store, fails);
            // That it fails is seen before the disk is well again.
            let known = group.known().await;
            H::fail_flushes(&store.place, &store.storage, false);
            assert_eq!(known, Ok(0), "the receipt of a {kind} whose flush failed was used with success");

            let end = group.now().end();
            for write in [append(end), Write::Vote("T3".into()), append(end + 3)] {
                group.queue(&store, write);
            }
            group.queue(&store, Write::Purge { upto: LogIndex(end), marker: "later".into() });
            doing("wait for the receipts of writes after a failed one");
            let known = group.known().await.unwrap_or_else(|wrong| panic!("after a failed {kind}, {wrong}"));
            assert_eq!(known, 0, "after a failed {kind}, a later write was acknowledged");
            let store = store.reopen().await;
            group.reopened(&store, 0).await.unwrap_or_else(|wrong| panic!("after a failed {kind}, {wrong}"));
        }
    });
}
