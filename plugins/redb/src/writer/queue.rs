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
    /// Whether others are short of room, and whether the writer was last told so.
    room_wanted: bool,
    room_told: bool,
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
        self.tell(|state| state.closed = true);
    }

    /// Whether others are short of room.
    pub(crate) fn want_room(&self, wanted: bool) {
        self.tell(|state| state.room_wanted = wanted);
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.0);
        change(&mut state);
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

    /// Whether others are short of room, when that has changed since it was last asked.
    pub(super) fn room_wanted(&mut self) -> Option<bool> {
        let mut state = lock(&self.0);
        let changed = state.room_wanted != state.room_told;
        state.room_told = state.room_wanted;
        changed.then_some(state.room_wanted)
    }

    /// Waits until there is something, or the end.
    pub(super) async fn wait(&mut self) {
        poll_fn(|context| {
            let mut state = lock(&self.0);
            let lazy = |job: &Job| matches!(job.write, Write::Committed(_));
            let told = state.room_told == state.room_wanted;
            if !told || state.closed || state.jobs.len() > MAX_LAZY || !state.jobs.iter().all(lazy) {
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use bytes::Bytes;
    use futures::task::noop_waker_ref;
    use quorate::storage::Flushed;
    use quorate::types::{GroupId, LogIndex};

    use super::*;

    fn append(first: u64, bytes: usize) -> Job {
        let entries = vec![Bytes::from(vec![0; bytes])];
        job(Write::Append { first: LogIndex(first), entries })
    }

    fn job(write: Write) -> Job {
        Job { group: GroupId(0), write, flushed: Flushed::ignored() }
    }

    fn firsts(jobs: &[Job]) -> Vec<u64> {
        let first = |job: &Job| match &job.write {
            Write::Append { first, .. } => first.get(),
            other => panic!("{other:?} was never queued"),
        };
        jobs.iter().map(first).collect()
    }

    #[test]
    fn a_batch_is_bounded_and_what_does_not_fit_comes_next_in_order() {
        let (queue, mut jobs) = queue();
        let mut intake = Intake::new(1000);
        for first in 0..5 {
            queue.push(append(first, 400)).ok().expect("open");
        }
        let mut batch = Vec::new();
        assert!(intake.take(&mut jobs, &mut batch));
        assert_eq!(firsts(&batch), [0, 1, 2]);
        queue.push(append(5, 400)).ok().expect("open");
        intake.take(&mut jobs, &mut batch);
        assert_eq!(firsts(&batch), [0, 1, 2], "it was full");
        batch.clear();
        intake.take(&mut jobs, &mut batch);
        assert_eq!(firsts(&batch), [3, 4]);
        intake.take(&mut jobs, &mut batch);
        assert_eq!(firsts(&batch), [3, 4, 5], "what was queued meanwhile joins");
    }

    #[test]
    fn a_closed_queue_gives_a_job_back_and_keeps_those_it_has() {
        let (queue, mut jobs) = queue();
        let mut intake = Intake::new(1);
        for first in 0..3 {
            queue.push(append(first, 1)).ok().expect("open");
        }
        let mut batch = Vec::new();
        intake.take(&mut jobs, &mut batch);
        queue.close();
        assert!(queue.is_closed() && queue.push(append(3, 1)).is_err());
        let rest: Vec<Job> = intake.rest(&mut jobs).collect();
        assert_eq!((firsts(&batch), firsts(&rest)), (vec![0], vec![1, 2]));
        assert!(!intake.take(&mut jobs, &mut batch), "it has ended");
    }

    #[test]
    fn a_committed_marker_wakes_nobody_before_another_write_does() {
        let (queue, mut jobs) = queue();
        let mut context = Context::from_waker(noop_waker_ref());
        queue.push(job(Write::Committed(Bytes::new()))).ok().expect("open");
        assert!(pin!(jobs.wait()).poll(&mut context).is_pending());
        queue.push(append(0, 1)).ok().expect("open");
        assert!(pin!(jobs.wait()).poll(&mut context).is_ready());
        let mut taken = Vec::new();
        jobs.take(&mut taken);
        assert_eq!(taken.len(), 2);
        queue.close();
        assert!(pin!(jobs.wait()).poll(&mut context).is_ready());
    }
}
