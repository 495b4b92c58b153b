//! Cases about a storage that is used by many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::join_all;

use super::store::{G, Store, entries};
use super::{StorageHarness, run};
use crate::storage::{Flushed, Storage, Write};
use crate::testing::Seeded;
use crate::testing::run::doing;
use crate::types::{GroupId, LogIndex};

/// A write only queues: a thousand are taken, in a group and in others, while the storage is held up
/// in the use of a receipt, and all of them are flushed afterwards.
pub fn write_only_queues<H: StorageHarness>() {
    run::<H, _>("write_only_queues", || async {
        const WRITES: u64 = 1000;
        let other = GroupId(2);
        let store = Store::<H>::with_group().await;
        store.open(other).await;
        let caller = thread::current().id();
        let (all_queued, wait_for_all) = mpsc::channel::<()>();
        let blocked = Arc::new(AtomicBool::new(false));
        let (first, first_receipt) = Flushed::pair();
        let noted = blocked.clone();
        let holding_up = Flushed::new(move |result| {
            // A storage that flushes before `write` returns is not held up: it would wait for itself.
            if thread::current().id() != caller {
                let waited = wait_for_all.recv_timeout(H::LIMIT / 8);
                noted.store(waited.is_err(), Ordering::SeqCst);
            }
            match result {
                Ok(()) => first.durable(),
                Err(error) => first.failed(error),
            }
        });
        doing(format!("queue {WRITES} writes while a receipt is in use"));
        store.storage.write(G, Write::Vote("held up".into()), holding_up);
        let mut receipts = vec![first_receipt];
        for number in 0..WRITES {
            let group = if number % 4 == 0 { other } else { G };
            let index = if number % 4 == 0 { number / 4 } else { number - number / 4 - 1 };
            let append = Write::Append { first: LogIndex(index), entries: entries("entry", index, 1) };
            receipts.push(store.queue(group, append));
        }
        // Nobody receives it where the receipt was used before `write` returned.
        let _ = all_queued.send(());
        doing("wait for the receipts");
        for receipt in receipts {
            receipt.await.expect("a write that was queued is flushed, however many there are");
        }
        assert!(
            !blocked.load(Ordering::SeqCst),
            "`write` waited until a receipt was used: it must only queue"
        );
        for (group, len) in [(G, WRITES / 4 * 3), (other, WRITES / 4)] {
            assert_eq!(store.entries(group, 0..WRITES).await, entries("entry", 0, len), "the log of {group}");
        }
    });
}

/// What readers and the writer share: indexes that only grow.
#[derive(Default)]
struct Bounds {
    /// Entries before it are flushed.
    flushed: AtomicU64,
    /// Entries before it may be purged.
    purging: AtomicU64,
    /// Reads so far, of all threads.
    reads: AtomicU64,
    ended: AtomicBool,
}

fn entry(index: u64) -> Bytes {
    format!("entry {index} {}", "x".repeat((index % 90) as usize)).into()
}

/// Reads until the writer ends. Each must return what is flushed, from its start on.
async fn read_along(storage: &impl Storage, bounds: &Bounds, mut rng: Seeded) -> Result<(), String> {
    while !bounds.ended.load(Ordering::SeqCst) {
        let (start, end) = (bounds.purging.load(Ordering::SeqCst), bounds.flushed.load(Ordering::SeqCst));
        if start < end {
            let range = rng.draw(start..end)..end;
            let max_bytes = rng.draw(0..3000) as usize;
            let read = storage.read(G, LogIndex(range.start)..LogIndex(range.end), max_bytes).await;
            let read = read.map_err(|error| format!("a read of {range:?} failed: {error:?}"))?;
            let purged = bounds.purging.load(Ordering::SeqCst) > range.start;
            if read.is_empty() && !purged {
                return Err(format!("a read of {range:?} returned nothing, and all of it is flushed"));
            }
            if !read.iter().cloned().eq((range.start..end).map(entry).take(read.len())) {
                return Err(format!("a read of {range:?} returned {} entries, and not those", read.len()));
            }
            bounds.reads.fetch_add(1, Ordering::SeqCst);
        }
    }
    Ok(())
}

/// Many threads read while one writes: each read returns flushed entries from its start on, all of
/// them whole, and never nothing where there are some.
pub fn many_threads_read_beside_writes<H: StorageHarness>() {
    run::<H, _>("many_threads_read_beside_writes", || async {
        const READERS: u64 = 3;
        let mut rng = Seeded::announced();
        let Store { place, storage } = Store::<H>::with_group().await;
        let storage = Arc::new(storage);
        let bounds = Arc::new(Bounds::default());
        let readers = (0..READERS).map(|_| {
            let (storage, bounds, rng) = (storage.clone(), bounds.clone(), Seeded::new(rng.next_u64()));
            let (done, result) = oneshot::channel();
            #[allow(clippy::disallowed_methods, reason = "the case is about reads from many threads")]
            let thread = thread::spawn(move || {
                let read = H::block_on(read_along(&storage, &bounds, rng));
                if read.is_err() {
                    bounds.ended.store(true, Ordering::SeqCst);
                }
                // Another thread may be the last to let go of the storage, and not this one.
                drop(storage);
                // The case may have failed and gone.
                let _ = done.send(read);
            });
            (thread, result)
        });
        let readers: Vec<_> = readers.collect();
        for round in 0_u64.. {
            // Until there was enough of both, or a reader has found something.
            let enough = round >= 150 && bounds.reads.load(Ordering::SeqCst) >= 300;
            if enough || bounds.ended.load(Ordering::SeqCst) {
                break;
            }
            doing(format!("write beside threads that read, round {round}"));
            let first = bounds.flushed.load(Ordering::SeqCst);
            let end = first + 1 + round % 4;
            let (flushed, receipt) = Flushed::pair();
            let append = Write::Append { first: LogIndex(first), entries: (first..end).map(entry).collect() };
            storage.write(G, append, flushed);
            receipt.await.expect("the write is flushed");
            bounds.flushed.store(end, Ordering::SeqCst);
            if round % 10 == 9 {
                let upto = end - 5;
                bounds.purging.store(upto + 1, Ordering::SeqCst);
                let (flushed, receipt) = Flushed::pair();
                storage.write(G, Write::Purge { upto: LogIndex(upto), marker: "purged".into() }, flushed);
                receipt.await.expect("the write is flushed");
            }
        }
        bounds.ended.store(true, Ordering::SeqCst);
        doing("wait for the threads that read");
        let (threads, results): (Vec<_>, Vec<_>) = readers.into_iter().unzip();
        for result in join_all(results).await {
            let read = result.expect("a thread that reads does not panic");
            read.unwrap_or_else(|wrong| panic!("{wrong}"));
        }
        for thread in threads {
            thread.join().expect("it has answered");
        }
        drop((storage, place));
    });
}
