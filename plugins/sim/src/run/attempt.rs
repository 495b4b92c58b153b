//! A run of many: whatever comes of it is a value.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::finding::{Finding, Panicked};
use super::{on_a_thread, panics};
use crate::cluster::{Report, Setup};
use crate::trace::Trace;
use crate::workload::Workload;

/// A run, and what came of it.
#[derive(Clone, Debug)]
pub struct Run {
    /// How it was made.
    pub setup: Setup,
    /// What is wrong first; `None` when it passed.
    pub finding: Option<Finding>,
    /// The panic or the limit that ended it before its end. It is the finding when nothing was wrong before.
    pub cut_off: Option<Finding>,
    /// What it came to; `None` when it did not come to its end.
    pub report: Option<Report>,
    /// What happened, as far as it came.
    pub trace: Trace,
    /// The real time that it took.
    pub took: Duration,
}

impl Run {
    /// What is wrong beside what is wrong first, in order: of each oracle what it said first, and what
    /// ended the run before its end.
    pub fn also(&self) -> Vec<Finding> {
        let said = self.trace.violations().into_iter().map(Finding::Violation);
        let all = said.chain(self.cut_off.clone());
        let first = self.finding.as_ref().map(Finding::class);
        all.filter(|finding| Some(finding.class()) != first).collect()
    }
}

/// Runs `setup` as [`simulate`](super::simulate) does. A panic is a finding and is printed by nobody;
/// so is a run that has not ended after `limit` of real time. What an oracle had said by then is what was
/// wrong first. What happens goes into `trace`.
pub fn attempt<W: Workload>(setup: Setup, workload: W, limit: Duration, trace: Trace) -> Run {
    let began = Instant::now();
    let (of_run, into) = (setup.clone(), trace.clone());
    let ended = on_a_thread(setup.seed, limit, move || {
        panics::keep();
        catch_unwind(AssertUnwindSafe(|| workload.run(of_run, into))).map_err(|_| panics::first())
    });
    let ended = match ended {
        Ok(Ok(Ok(report))) => Ok(report),
        Ok(Ok(Err(panicked))) => Err(Finding::Panic(panicked)),
        Ok(Err(panic)) => Err(Finding::Panic(Panicked::beside_the_run(&*panic))),
        Err(hung) => Err(Finding::Hang(hung.limit)),
    };
    let took = began.elapsed();
    match ended {
        Ok(report) => {
            let finding = verdict(&report);
            Run { setup, finding, cut_off: None, report: Some(report), trace, took }
        }
        Err(cut_off) => {
            let said = trace.violations().into_iter().next().map(Finding::Violation);
            let finding = Some(said.unwrap_or_else(|| cut_off.clone()));
            Run { setup, finding, cut_off: Some(cut_off), report: None, trace, took }
        }
    }
}

/// Makes the run of `setup` twice when the first comes to its end; that both are not the same is a
/// finding of the first, unless it has one already. Returns whether there was a second.
pub fn attempt_twice<W: Workload>(setup: Setup, workload: impl Fn() -> W, limit: Duration) -> (Run, bool) {
    let mut run = attempt(setup, workload(), limit, Trace::default());
    let Some(report) = &run.report else { return (run, false) };
    let second = attempt(run.setup.clone(), workload(), limit, Trace::default());
    // A second run that has no report is another run all the same.
    let hashes = [report.hash, second.report.map_or((0, 0), |report| report.hash)];
    if hashes[0] != hashes[1] {
        run.finding.get_or_insert(Finding::Nondeterminism(hashes));
    }
    (run, true)
}

fn verdict(report: &Report) -> Option<Finding> {
    let violation = report.violation.clone().map(Finding::Violation);
    violation.or_else(|| report.undecided.clone().map(Finding::Undecided))
}
