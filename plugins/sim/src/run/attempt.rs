//! A run of many: whatever comes of it is a value.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::finding::{Finding, Panicked};
use super::{block_on_run, on_a_thread, panics};
use crate::cluster::{Report, Setup};
use crate::trace::Trace;
use crate::workload::Workload;

/// A run, and what came of it.
#[derive(Clone, Debug)]
pub struct Run {
    /// How it was made.
    pub setup: Setup,
    /// What is wrong; `None` when it passed.
    pub finding: Option<Finding>,
    /// What it came to; `None` when it did not come to its end.
    pub report: Option<Report>,
    /// What happened, as far as it came.
    pub trace: Trace,
    /// The real time that it took.
    pub took: Duration,
}

/// Runs `setup` as [`simulate`](super::simulate) does. A panic is a finding and is printed by nobody;
/// so is a run that has not ended after `limit` of real time. What happens goes into `trace`.
pub fn attempt<W: Workload>(setup: Setup, workload: W, limit: Duration, trace: Trace) -> Run {
    let began = Instant::now();
    let (of_run, into) = (setup.clone(), trace.clone());
    let ended = on_a_thread(setup.seed, limit, move || {
        panics::keep();
        catch_unwind(AssertUnwindSafe(|| block_on_run(of_run, workload, into))).map_err(|_| panics::first())
    });
    let (report, finding) = match ended {
        Ok(Ok(Ok(report))) => {
            let finding = verdict(&report);
            (Some(report), finding)
        }
        Ok(Ok(Err(panicked))) => (None, Some(Finding::Panic(panicked))),
        Ok(Err(panic)) => (None, Some(Finding::Panic(Panicked::beside_the_run(&*panic)))),
        Err(hung) => (None, Some(Finding::Hang(hung.limit))),
    };
    Run { setup, finding, report, trace, took: began.elapsed() }
}

fn verdict(report: &Report) -> Option<Finding> {
    let violation = report.violation.clone().map(Finding::Violation);
    violation.or_else(|| report.undecided.clone().map(Finding::Undecided))
}
