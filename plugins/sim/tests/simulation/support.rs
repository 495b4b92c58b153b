//! Running seeds.

use std::time::Duration;

use quorate_sim::cluster::{Report, Setup};
use quorate_sim::run::simulate;
use quorate_sim::workload::RegistersWorkload;

/// The simulated time in which faults happen. The calm after it is not counted.
pub(crate) const LENGTH: Duration = Duration::from_secs(10);

/// How long a run may take in real time: many times what it takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(10);

/// What clients do.
pub(crate) const WORKLOAD: RegistersWorkload = RegistersWorkload { keys: 5 };

/// Runs a cluster.
pub(crate) fn run(setup: Setup) -> Report {
    simulate(setup, WORKLOAD, LIMIT).unwrap_or_else(|hung| panic!("{hung}"))
}

/// Runs a cluster, and shows how it went when anything was wrong.
pub(crate) fn passes(setup: Setup) -> Report {
    let report = run(setup);
    if let Some(wrong) = report.violation.as_ref().map(ToString::to_string).or_else(|| {
        report
            .undecided
            .as_ref()
            .map(|undecided| format!("nobody knows whether it is linearizable: {undecided}"))
    }) {
        let events: Vec<String> = report.trace.events().iter().map(ToString::to_string).collect();
        panic!("seed {}: {wrong}\n{}\n{:?}", report.setup.seed, events.join("\n"), report.setup);
    }
    report
}
