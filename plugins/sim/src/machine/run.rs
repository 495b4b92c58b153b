//! The plans that are kept, and then seeds, one after the other: the machine alone, then on a cluster,
//! then what the cluster told it again.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate::types::ClusterId;

use super::alone;
use super::examine::{Examination, at_once};
use super::finding::{Cause, Finding};
use super::kept::{Kept, PlansError, Written};
use super::live::{Doing, Step, guarded_apart};
use super::options::Simulation;
use super::report::{Failure, OnACluster, Summary, Tried, Wrong};
use super::subject::Simulated;
use super::workload::{MachineWorkload, Notes};
use crate::commit::commit;
use crate::replay::timeline;
use crate::run::{Run, attempt};
use crate::shrink::{Budget, Shrunk, Size, shrink};
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
    /// Runs the plans that are kept and every seed, and prints what came of them.
    ///
    /// # Panics
    /// When one fails, with everything that is known about it.
    pub fn check(&self) {
        match self.run() {
            Ok(summary) => println!("{}: {summary}", self.subject.name),
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Runs the plans that are kept, and every seed up to the first that fails. `QUORATE_SIM_SEEDS` and
    /// `QUORATE_SIM_FROM` say how many seeds, and from which on. Who says from which on asks for those
    /// seeds alone, and who names a plan with `QUORATE_SIM_PLAN` for that plan alone.
    ///
    /// # Errors
    /// What is wrong.
    ///
    /// # Panics
    /// When one of the first two variables is no number, or there are no such seeds.
    pub fn run(&self) -> Result<Summary, Box<Failure>> {
        let mut summary = Summary::default();
        if let Some(path) = std::env::var_os("QUORATE_SIM_PLAN") {
            let path = PathBuf::from(path);
            let no_plan = |error| self.failure(Tried::File(path.clone()), Wrong::Plans(Arc::new(error)));
            self.plan(Kept::read(self.place, path.clone()).map_err(no_plan)?)?;
            summary.plans = 1;
            return Ok(summary);
        }
        let from = asked_for("QUORATE_SIM_FROM");
        let seeds = asked_for("QUORATE_SIM_SEEDS").unwrap_or(self.seeds);
        let seeds = range(from.unwrap_or(0), seeds).unwrap_or_else(|wrong| panic!("{wrong}"));
        if let (None, Some(folder)) = (from, &self.plans) {
            for kept in Kept::all(self.place, folder).map_err(|error| self.no_plans(error))? {
                self.plan(kept)?;
                summary.plans += 1;
            }
        }
        for seed in seeds.clone() {
            self.seed(seed, &mut summary).map_err(|wrong| self.failure(Tried::Seed(seed), wrong))?;
        }
        if summary.acknowledged == 0 {
            return Err(self.failure(Tried::Seed(seeds.start), Wrong::Nothing));
        }
        Ok(summary)
    }

    fn failure(&self, tried: Tried, wrong: Wrong) -> Box<Failure> {
        let (machine, plans) = (self.subject.name, self.plans.clone());
        Box::new(Failure { machine, tried, wrong, plans, place: self.place, commit: commit() })
    }

    fn no_plans(&self, error: PlansError) -> Box<Failure> {
        self.failure(Tried::Plans, Wrong::Plans(Arc::new(error)))
    }

    /// Runs a plan that is kept, which must come to what it says.
    fn plan(&self, kept: Kept) -> Result<(), Box<Failure>> {
        let (setup, notes) = (kept.file.setup.clone(), Arc::new(Notes::default()));
        let seed = setup.seed;
        let run = attempt(setup, self.on_nodes(notes.clone()), LIMIT, Trace::recording());
        let (cluster, told) = told(&run, &notes);
        let found = run.finding.is_some().then(|| {
            let timeline = timeline(&run, &self.on_nodes(notes), false);
            let from = Size::of(&run.setup);
            let smallest = Shrunk { run: run.clone(), from, tried: 0, cut_short: false };
            Box::new(OnACluster { smallest, timeline, written: None })
        });
        let wrong = match (&kept.file.finds, found) {
            (Some(wanted), found) => {
                let class = run.finding.as_ref().map(crate::run::Finding::class);
                let unfound = || Wrong::Unfound { wanted: wanted.clone(), found };
                if class.as_ref() == Some(wanted) { Ok(()) } else { Err(unfound()) }
            }
            (None, found) => self
                .examine(seed, cluster, &told)
                .and(found.map_or(Ok(()), |found| Err(Wrong::Cluster(found)))),
        };
        wrong.map_err(|wrong| self.failure(Tried::Plan(Box::new(kept)), wrong))
    }

    fn seed(&self, seed: u64, summary: &mut Summary) -> Result<(), Wrong> {
        let history =
            alone::history(&self.subject, &self.calls, seed).map_err(|end| Wrong::Machine(at_once(end)))?;
        if history.is_empty() {
            return Err(Wrong::Nothing);
        }
        self.examine(seed, alone::cluster(seed), &history)?;

        let mut setup = self.setup(seed);
        let (faults, nodes, duration) = (&self.faults, setup.nodes, self.duration);
        let plan = guarded_apart(Doing::Plan, || faults.plan(seed, nodes, duration));
        setup.plan = plan.map_err(|end| Wrong::Machine(at_once(end)))?;
        setup.plan.fits(nodes).map_err(|misfit| {
            Wrong::Machine(Finding { cause: Cause::Plan, detail: misfit.to_string(), history: Vec::new() })
        })?;
        let notes = Arc::new(Notes::default());
        let run = attempt(setup, self.on_nodes(notes.clone()), LIMIT, Trace::default());
        // What is wrong with the machine explains what is wrong with the cluster.
        let (cluster, told) = told(&run, &notes);
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

    /// Makes a failing run smaller, runs what is left once more to write down how it goes, and puts it
    /// into a file.
    fn smallest(&self, failing: &Run) -> OnACluster {
        let workload = || self.on_nodes(Arc::default());
        let budget = Budget { time: SHRINKING, jobs: 1, limit: LIMIT };
        let mut smallest = shrink(failing, workload, &budget);
        let (setup, notes) = (smallest.run.setup.clone(), Arc::new(Notes::default()));
        let again = attempt(setup, self.on_nodes(notes.clone()), LIMIT, Trace::recording());
        let timeline = timeline(&again, &self.on_nodes(notes), false);
        let class = |run: &Run| run.finding.as_ref().map(crate::run::Finding::class);
        if class(&again) == class(&smallest.run) {
            smallest.run = again;
        }
        let written = Some(Written::of(&smallest.run, self.subject.name, self.place));
        OnACluster { smallest, timeline, written }
    }
}

/// What the machine of a run was told; nothing of one that hangs, which may hold its notes for ever.
fn told(run: &Run, notes: &Notes) -> (ClusterId, Vec<Step>) {
    match run.cut_off {
        Some(crate::run::Finding::Hang(_)) => (alone::cluster(run.setup.seed), Vec::new()),
        _ => notes.told(),
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
