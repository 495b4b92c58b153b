//! Seeds, one after the other: the machine alone, then on a cluster, then what the cluster told it
//! again.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use quorate::types::ClusterId;

use super::alone;
use super::examine::{Examination, at_once};
use super::live::{Doing, Step, guarded_apart};
use super::options::Simulation;
use super::report::{Failure, OnACluster, Summary, Wrong};
use super::subject::Simulated;
use super::workload::{MachineWorkload, Notes};
use crate::cluster::Setup;
use crate::commit::commit;
use crate::replay::timeline;
use crate::run::{Run, attempt};
use crate::shrink::{Budget, shrink};
use crate::trace::Trace;

/// How long a run may take in real time.
const LIMIT: Duration = Duration::from_mins(5);
/// How long a failing run is made smaller, in real time.
const SHRINKING: Duration = Duration::from_secs(20);

fn asked_for(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`, and must be a whole number")))
}

fn range(from: u64, seeds: u64) -> Result<Range<u64>, String> {
    if seeds == 0 {
        return Err("QUORATE_SIM_SEEDS is 0, and nothing would be simulated: at least 1".to_owned());
    }
    let last = u64::MAX - seeds;
    if from > last {
        return Err(format!("QUORATE_SIM_FROM is {from}, and at most {last} for {seeds} seeds"));
    }
    Ok(from..from + seeds)
}

impl<M: Simulated, Seen> Simulation<M, Seen> {
    /// Runs every seed, and prints what came of them.
    ///
    /// # Panics
    /// When one fails, with everything that is known about it.
    pub fn check(&self) {
        match self.run() {
            Ok(summary) => println!("{}: {summary}", self.subject.name),
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Runs every seed up to the first that fails. `QUORATE_SIM_SEEDS` and `QUORATE_SIM_FROM` say how
    /// many, and from which on.
    ///
    /// # Errors
    /// What is wrong.
    ///
    /// # Panics
    /// When one of those variables is no number, or there are no such seeds.
    pub fn run(&self) -> Result<Summary, Box<Failure>> {
        let from = asked_for("QUORATE_SIM_FROM").unwrap_or(0);
        let seeds = asked_for("QUORATE_SIM_SEEDS").unwrap_or(self.seeds);
        let seeds = range(from, seeds).unwrap_or_else(|wrong| panic!("{wrong}"));
        let mut summary = Summary::default();
        for seed in seeds.clone() {
            self.seed(seed, &mut summary).map_err(|wrong| self.failure(seed, wrong))?;
        }
        if summary.acknowledged == 0 {
            return Err(self.failure(seeds.start, Wrong::Nothing));
        }
        Ok(summary)
    }

    fn failure(&self, seed: u64, wrong: Wrong) -> Box<Failure> {
        Box::new(Failure { machine: self.subject.name, seed, wrong, place: self.place, commit: commit() })
    }

    fn seed(&self, seed: u64, summary: &mut Summary) -> Result<(), Wrong> {
        let history =
            alone::history(&self.subject, &self.calls, seed).map_err(|end| Wrong::Machine(at_once(end)))?;
        if history.is_empty() {
            return Err(Wrong::Nothing);
        }
        self.examine(seed, alone::cluster(seed), &history)?;

        let mut setup = Setup::of_seed(seed, self.duration);
        (setup.nodes, setup.clients) = (self.size(seed, setup.nodes), self.clients);
        let (faults, nodes, duration) = (&self.faults, setup.nodes, self.duration);
        let plan = guarded_apart(Doing::Plan, || faults.plan(seed, nodes, duration));
        setup.plan = plan.map_err(|end| Wrong::Machine(at_once(end)))?;
        let notes = Arc::new(Notes::default());
        let run = attempt(setup, self.on_nodes(notes.clone()), LIMIT, Trace::default());
        // What is wrong with the machine explains what is wrong with the cluster.
        let (cluster, told) = notes.told();
        self.examine(seed, cluster, &told)?;
        if let Some(report) = &run.report {
            summary.add(&report.counts, history.len());
        }
        if run.finding.is_some() { Err(Wrong::Cluster(Box::new(self.smallest(&run)))) } else { Ok(()) }
    }

    fn examine(&self, seed: u64, cluster: ClusterId, told: &[Step]) -> Result<(), Wrong> {
        let examination = Examination { subject: &self.subject, cluster, seed };
        examination.of(told).map_or(Ok(()), |finding| Err(Wrong::Machine(finding)))
    }

    fn on_nodes(&self, notes: Arc<Notes>) -> MachineWorkload<M> {
        MachineWorkload {
            subject: self.subject.clone(),
            calls: self.calls.clone(),
            key: self.key.clone(),
            storage: self.storage.clone(),
            on_disk: self.on_disk.clone(),
            notes,
        }
    }

    /// Makes a failing run smaller, and runs what is left once more to write down how it goes.
    fn smallest(&self, failing: &Run) -> OnACluster {
        let workload = || self.on_nodes(Arc::default());
        let budget = Budget { time: SHRINKING, jobs: 1, limit: LIMIT };
        let mut smallest = shrink(failing, workload, &budget);
        let (setup, notes) = (smallest.run.setup.clone(), Arc::new(Notes::default()));
        let again = attempt(setup, self.on_nodes(notes.clone()), LIMIT, Trace::recording());
        let timeline = timeline(&again, &self.on_nodes(notes), false);
        if again.finding.is_some() {
            smallest.run = again;
        }
        OnACluster { smallest, timeline }
    }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn seeds_that_there_are_not_are_refused() {
        assert_eq!(range(7, 2), Ok(7..9));
        assert_eq!(range(u64::MAX - 1, 1), Ok(u64::MAX - 1..u64::MAX));
        let refused = |from, seeds| range(from, seeds).expect_err("there are none");
        assert_eq!(refused(0, 0), "QUORATE_SIM_SEEDS is 0, and nothing would be simulated: at least 1");
        let most = "QUORATE_SIM_FROM is 18446744073709551615, and at most 18446744073709551611 for 4 seeds";
        assert_eq!(refused(u64::MAX, 4), most);
    }
}
