//! A run from one seed: on a thread of its own, and not for ever.
//!
//! [`simulate`] is the run as a test wants it; [`attempt`] is the same for who makes many, where a
//! panic and a run without end are findings like any other.

mod attempt;
mod finding;
pub(crate) mod panics;

use std::fmt;
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::time::Duration;

use quorate::runtime::AsyncRuntime;

pub use self::attempt::{Run, attempt, attempt_twice};
pub use self::finding::{Finding, Panicked};
use crate::cluster::{Report, Setup, run};
use crate::mutations::Mutation;
use crate::runtime::{SimRuntime, forget_clocks, forget_faults, set_faults};
use crate::trace::Trace;
use crate::workload::Workload;

/// Why a run has no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hung {
    /// Its seed.
    pub seed: u64,
    /// How long it was waited for, in real time.
    pub limit: Duration,
}

impl fmt::Display for Hung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} has not ended within {:?} of real time", self.seed, self.limit)
    }
}

impl std::error::Error for Hung {}

/// Runs `setup` on a fresh thread, since hash maps are seeded once a thread, and gives up after
/// `limit` of real time: whatever blocks the only thread of a simulation blocks it for ever. A run
/// that is given up leaves its thread behind.
///
/// # Errors
/// When it takes longer than `limit`.
///
/// # Panics
/// As the run does.
pub fn simulate<W: Workload>(setup: Setup, workload: W, limit: Duration) -> Result<Report, Hung> {
    let seed = setup.seed;
    let ended = on_a_thread(seed, limit, move || workload.run(setup, Trace::default()))?;
    ended.map_err(|panic| resume_unwind(panic))
}

/// A run from its beginning to its end, on this thread.
pub(crate) fn block_on_run<W: Workload>(setup: Setup, workload: W, trace: Trace) -> Report {
    set_faults(setup.seed, setup.points, setup.mutation.and_then(Mutation::in_framework));
    let report = SimRuntime::seeded(setup.seed).block_on(run(setup, workload, trace));
    forget_faults();
    forget_clocks();
    report
}

/// What `run` comes to on a thread of its own, or the panic that ends it.
fn on_a_thread<T: Send + 'static>(
    seed: u64,
    limit: Duration,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::Result<T>, Hung> {
    let (running, ended) = mpsc::channel::<()>();
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).spawn(move || {
        let _running = running;
        run()
    });
    let thread = thread.expect("a thread for the run");
    if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
        return Err(Hung { seed, limit });
    }
    Ok(thread.join())
}
