//! Group commit as one would write it by hand: a thread that takes what is queued, commits it as
//! one batch, and tells all who wait.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use futures::channel::oneshot;

use super::Append;

/// The most bytes of entries in a batch, as in the plugin.
const BATCH_BYTES: usize = 2 << 20;

/// Keeps batches of entries.
pub trait Engine: Send + 'static {
    /// Appends `entries`, the first at index `first`. They are durable when this returns.
    fn commit(&mut self, first: u64, entries: &[Bytes]);
}

struct Job {
    entry: Bytes,
    receipt: oneshot::Sender<()>,
}

/// A log on a thread of its own.
pub struct GroupCommit {
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl GroupCommit {
    /// Starts the thread. The first entry has index `first`.
    pub fn start(engine: impl Engine, first: u64) -> Self {
        let (queue, jobs) = channel();
        let thread = thread::Builder::new().name("group-commit".to_owned());
        let thread = thread.spawn(move || run(engine, first, &jobs)).expect("a thread");
        Self { queue: Some(queue), thread: Some(thread) }
    }
}

fn run(mut engine: impl Engine, mut next: u64, jobs: &Receiver<Job>) {
    let (mut entries, mut receipts) = (Vec::new(), Vec::new());
    while let Ok(job) = jobs.recv() {
        let mut bytes = job.entry.len();
        entries.push(job.entry);
        receipts.push(job.receipt);
        while bytes < BATCH_BYTES
            && let Ok(job) = jobs.try_recv()
        {
            bytes += job.entry.len();
            entries.push(job.entry);
            receipts.push(job.receipt);
        }
        engine.commit(next, &entries);
        next += entries.len() as u64;
        entries.clear();
        for receipt in receipts.drain(..) {
            // Whoever no longer waits need not know.
            let _ = receipt.send(());
        }
    }
}

impl Append for GroupCommit {
    type Receipt = oneshot::Receiver<()>;
    type Error = oneshot::Canceled;

    fn append(&self, entry: Bytes) -> Self::Receipt {
        let (receipt, durable) = oneshot::channel();
        let queue = self.queue.as_ref().expect("there until dropped");
        // A thread that died drops the receipt, which says so.
        let _ = queue.send(Job { entry, receipt });
        durable
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, the appenders have.
            let _ = thread.join();
        }
    }
}
