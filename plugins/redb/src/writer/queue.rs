//! What waits to be written. A push is a push onto a vector: no allocation a write, and the writer,
//! which takes all there is at once, is woken only when it sleeps.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use quorate::storage::Write;

use super::Job;

/// Room for more jobs is not kept.
const MAX_SPARE: usize = 4096;

/// So many that nobody waits for wake the writer all the same.
const MAX_LAZY: usize = 1024;

/// Fewer than so many are not waited for.
const MANY: usize = 8;

/// How long to wait for those who were told to go on, once none comes, and in all: a fraction of
/// what a flush takes.
const STILL: Duration = Duration::from_micros(15);
const PATIENCE: Duration = Duration::from_micros(60);

/// How long an appender who was told may take to come back before the writer does something else.
const RETURN: Duration = Duration::from_micros(150);

#[derive(Default)]
struct State {
    jobs: Vec<Job>,
    closed: bool,
    /// The writer, while it sleeps.
    sleeper: Option<Waker>,
}

/// The queue, for those who write.
pub(crate) struct Queue(Arc<Mutex<State>>);

/// The queue, for the writer.
pub(crate) struct Jobs(Arc<Mutex<State>>);

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing that can panic runs with the lock held.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A queue, open and empty.
pub(crate) fn queue() -> (Queue, Jobs) {
    let state = Arc::new(Mutex::default());
    (Queue(state.clone()), Jobs(state))
}

impl Queue {
    /// Adds `job` at the end; gives it back when the queue is closed.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = lock(&self.0);
        if state.closed {
            return Err(job);
        }
        // A committed marker rides with another write. Until then it need not wake anyone.
        let wakes = !matches!(job.write, Write::Committed(_)) || state.jobs.len() >= MAX_LAZY;
        state.jobs.push(job);
        let sleeper = if wakes { state.sleeper.take() } else { None };
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        Ok(())
    }

    /// Takes no more. What was pushed is still there for the writer.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        let sleeper = state.sleeper.take();
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// Whether a push would fail.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.0).closed
    }
}

impl Jobs {
    /// Adds all there is to `jobs`, in order. Returns whether more may come.
    pub(super) fn take(&mut self, jobs: &mut Vec<Job>) -> bool {
        let mut state = lock(&self.0);
        if jobs.is_empty() {
            // The one keeps the room that the other made.
            std::mem::swap(jobs, &mut state.jobs);
        } else {
            jobs.append(&mut state.jobs);
        }
        !state.closed
    }

    /// Waits until there is something, or the end.
    pub(super) async fn wait(&mut self) {
        poll_fn(|context| {
            let mut state = lock(&self.0);
            let lazy = |job: &Job| matches!(job.write, Write::Committed(_));
            if state.closed || state.jobs.len() > MAX_LAZY || !state.jobs.iter().all(lazy) {
                return Poll::Ready(());
            }
            state.sleeper = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn len(&self) -> usize {
        lock(&self.0).jobs.len()
    }

    /// Takes no more.
    pub(super) fn close(&mut self) {
        lock(&self.0).closed = true;
    }
}

/// What was taken off the queue, a batch at a time.
pub(super) struct Intake {
    batch_bytes: usize,
    /// Taken, and more than the batch had room for.
    backlog: VecDeque<Job>,
    /// An empty vector with room.
    spare: Vec<Job>,
    /// How many were told at the same time that they may go on.
    told: usize,
}

impl Intake {
    /// Nothing yet.
    pub(super) fn new(batch_bytes: usize) -> Self {
        Self { batch_bytes, backlog: VecDeque::new(), spare: Vec::new(), told: 0 }
    }

    /// Fills up the batch `jobs`. Returns whether more may come.
    pub(super) fn take(&mut self, queue: &mut Jobs, jobs: &mut Vec<Job>) -> bool {
        let mut open = true;
        let mut bytes: usize = jobs.iter().map(Job::bytes).sum();
        if self.backlog.is_empty() {
            let mut taken = std::mem::take(&mut self.spare);
            open = queue.take(&mut taken);
            let mut fits = 0;
            while bytes < self.batch_bytes && fits < taken.len() {
                bytes += taken[fits].bytes();
                fits += 1;
            }
            if fits < taken.len() {
                self.backlog = taken.split_off(fits).into();
            }
            if jobs.is_empty() {
                *jobs = taken;
            } else {
                jobs.append(&mut taken);
                self.spare = taken;
            }
        } else {
            while bytes < self.batch_bytes
                && let Some(job) = self.backlog.pop_front()
            {
                bytes += job.bytes();
                jobs.push(job);
            }
        }
        open
    }

    /// So many are about to be told that they may go on.
    pub(super) fn expect(&mut self, told: usize) {
        self.told = told;
    }

    /// Waits for those who were told, while they come: without it they would take turns with those
    /// who did not fit into the last batch, each half of them waiting for a flush of the other.
    pub(super) fn gather(&mut self, queue: &Jobs) {
        let told = std::mem::take(&mut self.told);
        if told < MANY || !self.backlog.is_empty() {
            return;
        }
        let began = Instant::now();
        let (mut there, mut last) = (queue.len(), began);
        while there < told && last.elapsed() < STILL && began.elapsed() < PATIENCE {
            // To sleep and be woken would take longer than all of this.
            for _ in 0..32 {
                std::hint::spin_loop();
            }
            let now = queue.len();
            if now > there {
                (there, last) = (now, Instant::now());
            }
        }
    }

    /// Whether anyone comes soon after some were told. Once nobody did, nobody is waited for.
    pub(super) fn come_back(&mut self, queue: &Jobs) -> bool {
        let began = Instant::now();
        while self.told > 0 {
            if queue.len() > 0 {
                return true;
            }
            if began.elapsed() >= RETURN {
                self.told = 0;
            }
            for _ in 0..32 {
                std::hint::spin_loop();
            }
        }
        false
    }

    /// Takes back what a batch was kept in.
    pub(super) fn recycle(&mut self, mut jobs: Vec<Job>) {
        jobs.clear();
        if jobs.capacity() > self.spare.capacity() && jobs.capacity() <= MAX_SPARE {
            self.spare = jobs;
        }
    }

    /// All that was not in a batch.
    pub(super) fn rest(&mut self, queue: &mut Jobs) -> impl Iterator<Item = Job> {
        let mut rest = Vec::new();
        queue.take(&mut rest);
        std::mem::take(&mut self.backlog).into_iter().chain(rest)
    }
}
