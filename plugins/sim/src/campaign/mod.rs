//! Many runs: on several threads, each run on one of its own, until there are enough of them or the
//! time is over; and what they came to.
//!
//! This folder owns which seeds run and the sums over them. What is wrong with a run is its own
//! [`Finding`](crate::run::Finding); a campaign goes on after it.

mod events;
mod failure;
mod progress;
mod smaller;
mod summary;
mod tally;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub use self::events::{EVENTS, Event};
pub use self::failure::failure;
pub use self::progress::Progress;
pub use self::smaller::smaller;
pub use self::summary::summary;
pub use self::tally::{Found, Tally};
use crate::cluster::Setup;
use crate::run::{Run, attempt, attempt_twice};
use crate::trace::Trace;
use crate::workload::Workload;

/// How much a campaign does.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seeds that run, in this order.
    pub seeds: Range<u64>,
    /// No run begins after this real time.
    pub time: Option<Duration>,
    /// How many run at the same time.
    pub jobs: usize,
    /// How long one may take, in real time.
    pub limit: Duration,
    /// One run in so many is made twice, and the hashes of both are compared. 0 for none.
    pub twice_in: u64,
}

impl Default for Options {
    /// A hundred seeds, two at a time, one in twenty made twice.
    fn default() -> Self {
        Self { seeds: 0..100, time: None, jobs: 2, limit: Duration::from_mins(10), twice_in: 20 }
    }
}

/// Runs `setup(seed)` for every seed, with a workload from `workload`, until all are done, the time is
/// over or `stop` is set; runs that have begun come to their end. `watch` is shown how far it is after
/// every run, and every now and then.
pub fn run<W: Workload>(
    options: &Options,
    setup: impl Fn(u64) -> Setup + Sync,
    workload: impl Fn() -> W + Sync,
    stop: &AtomicBool,
    mut watch: impl FnMut(&Tally),
) -> Tally {
    let mut tally = Tally::new(options);
    let next = AtomicU64::new(options.seeds.start);
    let began = Instant::now();
    let (done, runs) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            let (done, next, setup, workload) = (done.clone(), &next, &setup, &workload);
            scope.spawn(move || {
                let over = || options.time.is_some_and(|time| began.elapsed() >= time);
                while !stop.load(Ordering::Relaxed) && !over() {
                    // No further than the end, which may be the last number there is.
                    let after = |seed| (seed < options.seeds.end).then(|| seed + 1);
                    let Ok(seed) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after) else {
                        break;
                    };
                    if done.send(one(options, setup(seed), workload)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        loop {
            match runs.recv_timeout(Duration::from_millis(500)) {
                Ok(run) => tally.add(run),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            tally.took = began.elapsed();
            watch(&tally);
        }
    });
    tally.took = began.elapsed();
    tally
}

/// A run, made twice when it is its turn.
fn one<W: Workload>(options: &Options, setup: Setup, workload: &(impl Fn() -> W + Sync)) -> Done {
    if options.twice_in != 0 && setup.seed.is_multiple_of(options.twice_in) {
        let (run, twice) = attempt_twice(setup, workload, options.limit);
        return Done { run, twice };
    }
    Done { run: attempt(setup, workload(), options.limit, Trace::default()), twice: false }
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Done {
    run: Run,
    /// It was made twice.
    twice: bool,
}
