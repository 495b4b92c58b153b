//! A run from one seed: on a thread of its own, and not for ever.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::time::Duration;

use quorate::runtime::Runtime;

use crate::cluster::{Report, Setup, run};
use crate::runtime::{SimRuntime, forget_clocks};
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
    let (running, ended) = mpsc::channel::<()>();
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).spawn(move || {
        let _running = running;
        let report = SimRuntime::seeded(seed).block_on(run(setup, workload));
        forget_clocks();
        report
    });
    let thread = thread.expect("a thread for the run");
    if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
        return Err(Hung { seed, limit });
    }
    thread.join().map_err(|panic| resume_unwind(panic))
}
