//! Cases about when and how often a receipt is used.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::model::Model;
use super::store::{G, Store, entries};
use super::{StorageHarness, run};
use crate::storage::{Flushed, Receipt, Storage, Write};
use crate::types::{GroupId, LogIndex};

type Shared<T> = Arc<Mutex<T>>;

fn with<T, R>(shared: &Mutex<T>, use_it: impl FnOnce(&mut T) -> R) -> R {
    use_it(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A receipt that notes `number` in `used`, in the order of use, and resolves the other one.
fn noted(used: &Shared<Vec<u64>>, number: u64) -> (Flushed, Receipt) {
    let (flushed, receipt) = Flushed::pair();
    let used = used.clone();
    let noting = Flushed::new(move |result| {
        with(&used, |used| used.push(number));
        match result {
            Ok(()) => flushed.durable(),
            Err(error) => flushed.failed(error),
        }
    });
    (noting, receipt)
}

/// Fails unless receipts were used in the order of their writes, each once.
fn assert_in_order(used: &[u64], writes: u64, group: GroupId) {
    for (due, used) in (0..).zip(used) {
        assert!(
            due == *used,
            "{group}: the receipt of write {used} was used when that of write {due} was due"
        );
    }
    assert_eq!(used.len() as u64, writes, "{group}: how many receipts were used");
}

/// A write of a kind that depends on `number`, never a committed marker.
fn write(number: u64, model: &Model) -> Write {
    match number % 7 {
        0 => Write::Vote(format!("vote {number}").into()),
        1 if model.end() > 0 => Write::Truncate { from: LogIndex(model.end() - 1) },
        2 => Write::Purge { upto: LogIndex(model.end()), marker: format!("purged {number}").into() },
        _ => {
            Write::Append { first: LogIndex(model.end()), entries: entries("entry", number, 1 + number % 3) }
        }
    }
}

/// Receipts of a group are used in the order of the writes, whatever their kinds.
pub fn receipts_are_in_order<H: StorageHarness>() {
    run::<H, _>("receipts_are_in_order", || async {
        let store = Store::<H>::with_group().await;
        let used = Shared::default();
        let mut model = Model::new();
        let mut receipts = Vec::new();
        for number in 0..300 {
            let write = write(number, &model);
            model.apply(&write);
            let (flushed, receipt) = noted(&used, number);
            store.storage.write(G, write, flushed);
            receipts.push(receipt);
            if number % 50 == 0 {
                // Its receipt may come at once and so is not in the order.
                let committed = Write::Committed(format!("committed {number}").into());
                model.apply(&committed);
                store.write(G, committed).await;
            }
        }
        for receipt in receipts {
            receipt.await.expect("the write is flushed");
        }
        with(&used, |used| assert_in_order(used, 300, G));
        let store = store.reopen().await;
        model.check(&store, G, "after a reopen").await;
    });
}

/// Many threads write to many groups, one at a time in each group: in each, receipts keep the order
/// of the calls, and the log is what was written.
pub fn receipts_are_in_order_under_concurrency<H: StorageHarness>() {
    struct Group {
        model: Model,
        next: u64,
        receipts: Vec<Receipt>,
        used: Shared<Vec<u64>>,
    }

    run::<H, _>("receipts_are_in_order_under_concurrency", || async {
        const GROUPS: u64 = 8;
        const THREADS: u64 = 4;
        const WRITES: u64 = 250;
        let store = Store::<H>::fresh().await;
        let mut groups = Vec::new();
        for group in 0..GROUPS {
            store.open(GroupId(group)).await;
            let model = Model::new();
            groups.push(Mutex::new(Group { model, next: 0, receipts: Vec::new(), used: Shared::default() }));
        }
        let (storage, all) = (&store.storage, &groups);
        #[allow(clippy::disallowed_methods, reason = "the case is about writes from many threads")]
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for step in 0..WRITES {
                        let number = (thread * 3 + step * (thread + 1)) % GROUPS;
                        with(&all[number as usize], |group| {
                            let write = write(group.next, &group.model);
                            group.model.apply(&write);
                            let (flushed, receipt) = noted(&group.used, group.next);
                            group.next += 1;
                            group.receipts.push(receipt);
                            storage.write(GroupId(number), write, flushed);
                        });
                    }
                });
            }
        });
        let mut models = Vec::new();
        for (number, group) in (0..).zip(groups) {
            let group = group.into_inner().unwrap_or_else(PoisonError::into_inner);
            for receipt in group.receipts {
                receipt.await.expect("the write is flushed");
            }
            with(&group.used, |used| assert_in_order(used, group.next, GroupId(number)));
            models.push(group.model);
        }
        let store = store.reopen().await;
        for (group, model) in (0..GROUPS).map(GroupId).zip(&mut models) {
            model.check(&store, group, "after a reopen").await;
        }
    });
}

/// Every receipt is used, with success, also those of writes that change nothing. That none is used
/// twice its type sees to.
pub fn receipt_is_used_once<H: StorageHarness>() {
    run::<H, _>("receipt_is_used_once", || async {
        let store = Store::<H>::with_group().await;
        let writes = [
            Write::Truncate { from: LogIndex(0) },
            Write::Append { first: LogIndex(0), entries: entries("entry", 0, 5) },
            Write::Vote("vote".into()),
            Write::Vote("vote".into()),
            Write::Committed("committed".into()),
            Write::Committed("committed".into()),
            Write::Truncate { from: LogIndex(100) },
            Write::Truncate { from: LogIndex(4) },
            Write::Purge { upto: LogIndex(1), marker: "purged".into() },
            Write::Purge { upto: LogIndex(1), marker: "purged".into() },
            Write::Purge { upto: LogIndex(50), marker: "purged".into() },
        ];
        let receipts = writes.map(|write| store.queue(G, write));
        for (number, receipt) in receipts.into_iter().enumerate() {
            let result = receipt.await;
            assert!(result.is_ok(), "the receipt of write {number} was used like this: {result:?}");
        }
    });
}

/// Closing completes what is queued: every receipt is used, and every write is there afterwards.
pub fn close_completes_what_is_queued<H: StorageHarness>() {
    run::<H, _>("close_completes_what_is_queued", || async {
        let mut store = Store::<H>::with_group().await;
        let mut model = Model::new();
        for round in 0..5_u64 {
            let mut receipts = Vec::new();
            for number in 0..30 {
                let write = write(round * 31 + number, &model);
                model.apply(&write);
                receipts.push(store.queue(G, write));
            }
            store = store.reopen().await;
            for receipt in receipts {
                receipt.await.expect("the write was flushed by the close");
            }
            model.check(&store, G, "after a close with writes in the queue").await;
        }
    });
}
