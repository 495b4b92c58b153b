//! A run of many: whatever comes of it is a value.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

use super::finding::{Finding, Panicked};
use super::{block_on_run, on_a_thread};
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
    static QUIET: Once = Once::new();
    QUIET.call_once(be_quiet);
    let began = Instant::now();
    let (of_run, into) = (setup.clone(), trace.clone());
    let ended = on_a_thread(setup.seed, limit, move || {
        PANICS.set(Some(Vec::new()));
        let ended = catch_unwind(AssertUnwindSafe(|| block_on_run(of_run, workload, into)));
        // The first is the cause of the others.
        ended.map_err(|_| PANICS.take().unwrap_or_default().into_iter().next())
    });
    let (report, finding) = match ended {
        Ok(Ok(Ok(report))) => {
            let finding = verdict(&report);
            (Some(report), finding)
        }
        Ok(Ok(Err(panicked))) => (None, Some(Finding::Panic(panicked.unwrap_or_else(unseen)))),
        Ok(Err(_)) => (None, Some(Finding::Panic(unseen()))),
        Err(hung) => (None, Some(Finding::Hang(hung.limit))),
    };
    Run { setup, finding, report, trace, took: began.elapsed() }
}

fn verdict(report: &Report) -> Option<Finding> {
    let violation = report.violation.clone().map(Finding::Violation);
    violation.or_else(|| report.undecided.clone().map(Finding::Undecided))
}

thread_local! {
    /// On the thread of a run that is attempted: the panics there were.
    static PANICS: RefCell<Option<Vec<Panicked>>> = const { RefCell::new(None) };
}

/// A panic that no hook was told of: another hook was set meanwhile.
fn unseen() -> Panicked {
    let place = "an unknown place".to_owned();
    Panicked { place, message: "another panic hook took the message".to_owned(), backtrace: String::new() }
}

/// Panics of attempts are kept for their report; every other goes where it went before.
fn be_quiet() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let kept = PANICS.try_with(|panics| match &mut *panics.borrow_mut() {
            None => false,
            Some(panics) => {
                panics.push(panicked(info));
                true
            }
        });
        if !kept.unwrap_or(false) {
            before(info);
        }
    }));
}

fn panicked(info: &PanicHookInfo<'_>) -> Panicked {
    let place =
        info.location().map_or_else(String::new, |at| format!("{}:{}", of_crate(at.file()), at.line()));
    let message = info.payload_as_str().unwrap_or("no message").to_owned();
    let backtrace = Backtrace::capture();
    let captured = backtrace.status() == BacktraceStatus::Captured;
    Panicked { place, message, backtrace: if captured { backtrace.to_string() } else { String::new() } }
}

/// A file as its crate has it: without where this machine keeps the crates of others.
fn of_crate(file: &str) -> &str {
    let cached = file.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/'));
    cached.map_or(file, |(_index, rest)| rest)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_place_in_another_crate_says_which() {
        let of_crate = super::of_crate;
        assert_eq!(of_crate("cargo/registry/src/index-1949/redb-4.6.0/src/db.rs"), "redb-4.6.0/src/db.rs");
        assert_eq!(of_crate("plugins/sim/src/lib.rs"), "plugins/sim/src/lib.rs");
    }
}
