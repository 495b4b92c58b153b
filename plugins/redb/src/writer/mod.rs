//! The writer: one per file, shared by all groups.
//!
//! It drains the queue into one transaction, commits, and uses the receipts in order. While a
//! commit is flushed redb lets nobody else write, so batching is the pipeline. This folder owns
//! the order of writes, what follows from a failed one, and the removal of purged rows; it does
//! not know what an entry is.

mod batch;
mod done;
mod queue;
mod space;
mod sweep;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, Either, OptionFuture, select};
use quorate::error::StorageError;
use quorate::storage::{Flushed, Write};
use quorate::types::GroupId;

use self::batch::{Batch, Outcome};
pub(crate) use self::done::Done;
use self::queue::Intake;
pub(crate) use self::queue::{Jobs, Queue, queue};
pub(crate) use self::space::Space;
use self::sweep::{Amount, Sweep};
use crate::database::{Db, Durability};
use crate::error::again;
use crate::hooks::{Lock, Pause, Sleep};
use crate::read::Extent;
use crate::snapshot::Snapshots;
use crate::witness::Witness;

/// How often a disk that is nearly full is looked at while nothing is written.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a queued write weighs beside its entries.
const WRITE_BYTES: usize = 64;

/// A queued write.
pub(crate) struct Job {
    /// Whose it is.
    pub(crate) group: GroupId,
    /// What to write.
    pub(crate) write: Write,
    /// Used once it is flushed.
    pub(crate) flushed: Flushed,
}

impl Job {
    fn bytes(&self) -> usize {
        match &self.write {
            Write::Append { entries, .. } => entries.iter().map(Bytes::len).sum::<usize>() + WRITE_BYTES,
            _ => WRITE_BYTES,
        }
    }
}

/// What the writer is made of.
pub(crate) struct Parts {
    /// The writes, in order.
    pub(crate) queue: Jobs,
    /// The file.
    pub(crate) db: Arc<Db>,
    /// Beside it.
    pub(crate) snapshots: Arc<Snapshots>,
    /// How commits are flushed.
    pub(crate) durability: Durability,
    /// When a batch is full.
    pub(crate) batch_bytes: usize,
    /// Awaited before each commit.
    pub(crate) pause: Option<Pause>,
    /// Whether others run while the writer does. In a simulator nobody does, and its clock stands
    /// still meanwhile.
    pub(crate) own_thread: bool,
    /// Waits while space is short.
    pub(crate) sleep: Sleep,
    /// The room there is.
    pub(crate) space: Space,
    /// Told of every commit that is flushed.
    pub(crate) witness: Witness,
    /// Purge markers found at the start: rows below them may be left.
    pub(crate) purged: BTreeMap<GroupId, u64>,
    /// The directory's lock, released last.
    pub(crate) lock: Option<Box<dyn Lock>>,
    /// Told when all is over.
    pub(crate) done: Arc<Done>,
}

/// The writer. Dropping it, even before it ran, closes the file.
pub(crate) struct Writer {
    parts: Parts,
    intake: Intake,
    extents: BTreeMap<GroupId, Extent>,
    committed: BTreeMap<GroupId, Bytes>,
    sweep: Sweep,
    /// The number of the last commit that was tried.
    number: u64,
    /// Those of the batch that is on the disk; empty between batches.
    receipts: Vec<Flushed>,
    /// Purged by the batch that is on the disk; empty between batches.
    passed: BTreeMap<GroupId, u64>,
    /// Runs while space is short, whatever is written meanwhile.
    timer: Option<BoxFuture<'static, ()>>,
    /// Whether there is space to take ahead of need.
    growing: bool,
    broken: bool,
    finished: bool,
}

enum Step {
    Write(Vec<Job>),
    Idle,
    End,
}

enum Waited {
    Queue,
    Timer,
}

impl Writer {
    /// A writer that has not begun.
    pub(crate) fn new(mut parts: Parts) -> Self {
        let sweep = Sweep::new(std::mem::take(&mut parts.purged));
        let intake = Intake::new(parts.batch_bytes);
        let number = parts.db.last_flushed();
        Self {
            parts,
            intake,
            extents: BTreeMap::new(),
            committed: BTreeMap::new(),
            sweep,
            number,
            receipts: Vec::new(),
            passed: BTreeMap::new(),
            timer: None,
            growing: false,
            broken: false,
            finished: false,
        }
    }

    /// Writes until the queue is closed and empty, then closes the file.
    pub(crate) async fn run(mut self) {
        self.parts.done.begin();
        loop {
            match self.next().await {
                Step::Write(jobs) => self.write(jobs).await,
                Step::Idle => self.tidy().await,
                Step::End => break,
            }
        }
        if !self.broken && !self.committed.is_empty() {
            self.pause().await;
            if let Err(error) = self.commit(&mut Vec::new(), None) {
                tracing::warn!(%error, "the committed marker is not on the disk; it is older after a restart");
            }
        }
        self.finished = true;
    }

    /// Takes what is queued, up to a batch; or says what else there is to do.
    async fn next(&mut self) -> Step {
        loop {
            if let Some(wanted) = self.parts.queue.room_wanted() {
                self.parts.space.want(wanted);
                return Step::Idle;
            }
            let mut jobs = Vec::new();
            let open = self.intake.take(&mut self.parts.queue, &mut jobs);
            if !jobs.is_empty() {
                return Step::Write(jobs);
            }
            if !open {
                return Step::End;
            }
            let sweeps = !self.sweep.pending().is_empty();
            if (self.growing || sweeps) && !self.broken {
                // The removal rides with what those bring who were just told to go on.
                if sweeps && self.joins() && self.intake.come_back(&self.parts.queue) {
                    continue;
                }
                return Step::Idle;
            }
            if let Waited::Timer = self.wait().await {
                return Step::Idle;
            }
        }
    }

    /// Waits for a write, and while space is short for the time to look again.
    async fn wait(&mut self) -> Waited {
        let queued = pin!(self.parts.queue.wait());
        if self.broken || !self.parts.space.matters() {
            queued.await;
            return Waited::Queue;
        }
        let timer = self.timer.get_or_insert_with(|| (self.parts.sleep)(LOOK_AGAIN));
        if let Either::Left(_) = select(queued, timer).await {
            return Waited::Queue;
        }
        self.timer = None;
        Waited::Timer
    }

    /// Whether a write may join a commit that is about to be made: not one that was paused, which
    /// had begun before.
    fn joins(&self) -> bool {
        self.parts.own_thread && self.parts.pause.is_none()
    }

    fn pause(&self) -> OptionFuture<BoxFuture<'static, ()>> {
        self.parts.pause.as_ref().map(|pause| pause()).into()
    }

    async fn write(&mut self, mut jobs: Vec<Job>) {
        if self.broken {
            for job in jobs {
                job.flushed.failed(StorageError::Closed);
            }
            return;
        }
        // Committed alone never makes a transaction: it rides with the next write, or the close.
        if jobs.iter().all(|job| matches!(job.write, Write::Committed(_))) {
            for job in &jobs {
                if let Write::Committed(marker) = &job.write {
                    self.committed.insert(job.group, marker.clone());
                }
            }
        } else {
            self.pause().await;
            let sweep = self.sweep.rides(self.parts.space.matters());
            if let Err(error) = self.commit(&mut jobs, sweep) {
                return self.fail(jobs, &error);
            }
        }
        // What was written is freed before those who wait are told: they allocate what comes next,
        // and the allocator would make both wait for each other.
        for Job { write, flushed, .. } in jobs.drain(..) {
            drop(write);
            self.receipts.push(flushed);
        }
        self.intake.recycle(jobs);
        self.intake.expect(self.receipts.len());
        for flushed in self.receipts.drain(..) {
            flushed.durable();
        }
        // Nobody waits for a receipt now.
        for (group, upto) in std::mem::take(&mut self.passed) {
            self.parts.snapshots.passed(group, upto);
        }
        self.parts.witness.tend();
        self.growing = self.parts.db.grow();
        if self.parts.space.due() {
            self.look();
        }
    }

    /// Takes some space, removes some purged rows, and looks at the disk again when it is nearly full.
    async fn tidy(&mut self) {
        if self.broken {
            return;
        }
        if self.growing {
            self.growing = self.parts.db.grow();
        }
        if !self.sweep.pending().is_empty() {
            self.pause().await;
            let sweep = self.sweep.idle();
            if let Err(error) = self.commit(&mut Vec::new(), Some(sweep)) {
                return self.fail(Vec::new(), &error);
            }
            self.parts.witness.tend();
        }
        if self.parts.space.due() {
            self.look();
        }
    }

    /// Looks how much room there is. Nobody waits for a receipt meanwhile: it may take a while.
    fn look(&mut self) {
        let removing = !self.sweep.pending().is_empty();
        let mut looked = self.parts.space.check(&self.parts.db, removing);
        if looked.is_ok() && self.parts.space.matters() && self.parts.snapshots.give_up_parts() {
            looked = self.parts.space.check(&self.parts.db, removing);
        }
        if let Err(error) = looked {
            self.fail(Vec::new(), &error);
        }
    }

    /// Nothing is acknowledged any more: the write may be on the disk, or not, or come back.
    fn fail(&mut self, jobs: Vec<Job>, error: &StorageError) {
        tracing::error!(%error, "the storage has failed, and takes no more");
        self.broken = true;
        self.parts.space.fail();
        for job in jobs {
            job.flushed.failed(again(error));
        }
    }

    /// One transaction. What is queued when it begins joins `jobs`. One that fails for want of
    /// space is done again from the reserve.
    fn commit(&mut self, jobs: &mut Vec<Job>, sweep: Option<Amount>) -> Result<(), StorageError> {
        let outcome = match self.attempt(jobs, sweep, false) {
            Ok(outcome) => outcome,
            Err(error) => {
                if !self.parts.db.only_space_failed() || !self.parts.space.give_back() {
                    return Err(error);
                }
                self.extents.clear();
                self.parts.db.reopen()?;
                self.attempt(jobs, sweep, true)?
            }
        };
        // Before anyone is told: what is acknowledged is witnessed.
        self.parts.db.flushed(self.number);
        self.parts.witness.saw(self.number);
        self.committed.clear();
        self.extents.extend(outcome.extents);
        for (group, upto) in outcome.swept {
            self.sweep.finished(group, upto);
        }
        self.passed.extend(&outcome.purges);
        self.sweep.add(outcome.purges);
        self.sweep.written(outcome.written);
        self.parts.space.written(outcome.written.bytes as u64, outcome.removed != Amount::default());
        Ok(())
    }

    fn attempt(
        &mut self,
        jobs: &mut Vec<Job>,
        sweep: Option<Amount>,
        replay: bool,
    ) -> Result<Outcome, StorageError> {
        self.parts.db.forget_failures();
        // One that failed may be on the disk: no other has its number.
        self.number += 1;
        // Nobody uses the receipts of a commit that began without writes.
        let joins = !jobs.is_empty() && self.joins();
        let batch = Batch {
            jobs,
            join: &mut |jobs| {
                if joins {
                    self.intake.gather(&self.parts.queue);
                    self.intake.take(&mut self.parts.queue, jobs);
                }
            },
            committed: &self.committed,
            extents: &self.extents,
            pending: self.sweep.pending(),
            sweep,
            replay,
            number: self.number,
        };
        self.parts.db.with(|database| batch.commit(self.parts.durability, database))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // Its task was killed, or it panicked: what is queued is not written by anyone.
            self.parts.space.fail();
        }
        self.parts.queue.close();
        for job in self.intake.rest(&mut self.parts.queue) {
            job.flushed.failed(StorageError::Closed);
        }
        self.parts.db.close();
        // Only now may the directory be opened again.
        drop(self.parts.lock.take());
        self.parts.done.finish();
    }
}
