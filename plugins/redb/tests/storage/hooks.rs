//! The writer as a task that the test polls: what a simulator does.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::BoxFuture;
use quorate::error::StorageError;
use quorate::storage::{Health, Receipt, Storage, Write};
use quorate_redb::hooks::Hooks;
use quorate_redb::{Durability, RedbStorage};
use tempfile::tempdir;

use crate::common::*;
use crate::disk::Disk;

/// The writer's task. Nothing is written unless it is polled.
#[derive(Clone, Default)]
pub(crate) struct Driver {
    task: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
    pauses: Arc<Mutex<VecDeque<oneshot::Sender<()>>>>,
}

impl Driver {
    /// Hooks that leave the writer's task here. `pausing`: every commit waits for [`Self::allow`].
    pub(crate) fn hooks(&self, base: Hooks, pausing: bool) -> Hooks {
        let (task, pauses) = (self.task.clone(), self.pauses.clone());
        let pause = move || {
            let (tx, rx) = oneshot::channel();
            pauses.lock().expect("unpoisoned").push_back(tx);
            rx.map(drop).boxed()
        };
        Hooks {
            spawn: Some(Arc::new(move |_, future| *task.lock().expect("unpoisoned") = Some(future))),
            pause: pausing.then(|| Arc::new(pause) as quorate_redb::hooks::Pause),
            ..base
        }
    }

    /// Polls the writer until it waits. `true` when it has ended.
    pub(crate) fn drive(&self) -> bool {
        let mut task = self.task.lock().expect("unpoisoned");
        let Some(future) = task.as_mut() else { return true };
        let ended = future.poll_unpin(&mut Context::from_waker(futures::task::noop_waker_ref())).is_ready();
        if ended {
            *task = None;
        }
        ended
    }

    /// Lets the commit that waits go on, and those that need not wait after it.
    pub(crate) fn allow(&self) {
        let waiting = self.pauses.lock().expect("unpoisoned").pop_front();
        waiting.expect("a commit waits").send(()).expect("the writer lives");
        self.drive();
    }

    /// The process dies: its tasks go with it.
    pub(crate) fn kill(&self) {
        drop(self.task.lock().expect("unpoisoned").take());
    }
}

fn open_driven(dir: &Path, pausing: bool) -> (RedbStorage, Driver) {
    let driver = Driver::default();
    let storage =
        RedbStorage::builder(dir).hooks(driver.hooks(Hooks::default(), pausing)).open().expect("it opens");
    block_on(storage.set_identity_once(&identity(1))).expect("its own identity");
    (storage, driver)
}

fn is_ready(receipt: &mut Receipt) -> bool {
    receipt.now_or_never().is_some()
}

#[test]
fn a_receipt_is_used_after_the_commit_and_what_queued_meanwhile_shares_the_next() {
    let dir = tempdir().expect("a directory");
    let (storage, driver) = open_driven(dir.path(), true);
    let mut first = queue(&storage, G0, append_of(G0, 0..1, 10));
    assert!(!driver.drive());
    assert!(!is_ready(&mut first), "the commit waits");
    let mut others: Vec<_> =
        (1..50).map(|index| queue(&storage, G0, append_of(G0, index..index + 1, 10))).collect();
    assert_log(&storage, G0, 0..0, 10);
    driver.allow();
    assert!(is_ready(&mut first));
    assert_log(&storage, G0, 0..1, 10);
    assert!(!others.iter_mut().any(is_ready));
    driver.allow();
    assert!(others.iter_mut().all(is_ready), "one transaction for all of them");
    assert_log(&storage, G0, 0..50, 10);
    storage.close().now_or_never();
    assert!(driver.drive(), "with nothing to write the writer ends");
    drop(storage);
    let firsts: Vec<u64> = rows(dir.path(), G0).iter().map(|(first, _)| *first).collect();
    assert_eq!(firsts, [0, 1], "entries of one batch share a row");
}

#[test]
fn a_close_completes_the_queue_and_the_committed_marker() {
    let dir = tempdir().expect("a directory");
    let (storage, driver) = open_driven(dir.path(), false);
    let mut receipt = queue(&storage, G0, append_of(G0, 0..3, 10));
    let mut committed = queue(&storage, G0, Write::Committed(Bytes::from_static(b"c")));
    assert!(is_ready(&mut committed), "a lazy write waits for nothing");
    let mut close = storage.close();
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    assert!(close.poll_unpin(&mut cx).is_pending());
    assert!(driver.drive());
    assert!(is_ready(&mut receipt));
    assert_eq!(close.poll_unpin(&mut cx), Poll::Ready(()));
    let storage = open(dir.path());
    assert_log(&storage, G0, 0..3, 10);
    assert_eq!(state(&storage, G0).committed.as_deref(), Some(&b"c"[..]));
}

#[test]
fn a_killed_writer_acknowledges_nothing_and_releases_the_directory() {
    let dir = tempdir().expect("a directory");
    let (storage, driver) = open_driven(dir.path(), true);
    let first = queue(&storage, G0, append_of(G0, 0..1, 10));
    driver.drive();
    let second = queue(&storage, G0, append_of(G0, 1..2, 10));
    driver.kill();
    block_on(first).expect_err("it was never committed");
    block_on(second).expect_err("it was never taken");
    assert!(matches!(try_write(&storage, G0, vote_of("T1 n1")), Err(StorageError::Closed)));
    assert_eq!(storage.health().get(), Health::Failed);
    assert_log(&open(dir.path()), G0, 0..0, 10);
}

#[test]
fn purged_rows_go_away_a_few_at_a_time_and_a_restart_goes_on_with_it() {
    let dir = tempdir().expect("a directory");
    let (storage, driver) = open_driven(dir.path(), true);
    for first in (0..6000).step_by(10) {
        let mut receipt = queue(&storage, G0, append_of(G0, first..first + 10, 10));
        driver.drive();
        driver.allow();
        assert!(is_ready(&mut receipt));
    }
    let mut purge = queue(&storage, G0, purge_of(5994));
    driver.drive();
    driver.allow();
    assert!(is_ready(&mut purge), "answered before a row is gone");
    assert_log(&storage, G0, 5995..6000, 10);
    driver.kill();
    drop(storage);
    assert_eq!(rows(dir.path(), G0).len(), 600, "every row is there still");

    let (storage, driver) = open_driven(dir.path(), true);
    assert_log(&storage, G0, 5995..6000, 10);
    assert!(read(&storage, G0, 5990..6000).is_empty());
    driver.drive();
    driver.allow();
    driver.kill();
    drop(storage);
    assert_eq!(rows(dir.path(), G0).len(), 344, "one chunk is gone");

    let (storage, driver) = open_driven(dir.path(), false);
    assert!(!driver.drive());
    assert_log(&storage, G0, 5995..6000, 10);
    let vote = queue(&storage, G0, vote_of("T1 n1"));
    driver.drive();
    block_on(vote).expect("a sound disk");
    driver.kill();
    drop(storage);
    assert_eq!(rows(dir.path(), G0).iter().map(|(first, _)| *first).collect::<Vec<_>>(), [5990]);
}

#[test]
fn purged_rows_go_away_under_load_too() {
    let dir = tempdir().expect("a directory");
    let (storage, driver) = open_driven(dir.path(), true);
    for first in 0..10 {
        drop(queue(&storage, G0, append_of(G0, first..first + 1, 10)));
        driver.drive();
        driver.allow();
    }
    drop(queue(&storage, G0, purge_of(8)));
    driver.drive();
    // There is always something queued when a commit ends: the queue never runs dry.
    for round in 0..20 {
        drop(queue(&storage, G1, vote_of(&format!("T{round} n1"))));
        driver.allow();
    }
    driver.kill();
    drop(storage);
    assert_eq!(rows(dir.path(), G0).iter().map(|(first, _)| *first).collect::<Vec<_>>(), [9]);
}

#[test]
fn a_batch_is_one_flush_or_two_and_a_committed_marker_none() {
    for (durability, flushes) in [(Durability::OnePhase, 1), (Durability::TwoPhase, 2)] {
        let (disk, driver) = (Disk::default(), Driver::default());
        let storage = RedbStorage::builder("/n1")
            .durability(durability)
            .hooks(driver.hooks(disk.hooks(), false))
            .open()
            .expect("it opens");
        let count = |writes: Vec<Write>| {
            let before = disk.syncs();
            let receipts: Vec<_> = writes.into_iter().map(|write| queue(&storage, G0, write)).collect();
            driver.drive();
            for receipt in receipts {
                block_on(receipt).expect("a sound disk");
            }
            disk.syncs() - before
        };
        let writes = |first| (first..first + 20).map(|at| append_of(G0, at..at + 1, 100)).collect();
        // The file grows in the first ones, which costs a flush of its own.
        for first in (0..200).step_by(20) {
            count(writes(first));
        }
        assert_eq!(count(writes(200)), flushes, "{durability:?}");
        assert_eq!(count(vec![vote_of("T1 n1")]), flushes, "{durability:?}");
        assert_eq!(count(vec![Write::Committed(Bytes::from_static(b"c"))]), 0);
    }
}
