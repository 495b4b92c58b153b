//! Makes a failing run smaller while the same thing stays wrong with it: fewer faults (delta debugging,
//! Zeller and Hildebrandt, 2002), then fewer clients and nodes, a shorter time, simpler faults.
//!
//! A smaller run is scheduled anew from its beginning, so what is left may pass by chance though it is
//! to blame. When nothing smaller fails any more, what time is left goes into other seeds for the
//! same plans.

mod simpler;

use std::fmt;
use std::time::{Duration, Instant};

use self::simpler::simpler;
use crate::cluster::Setup;
use crate::plan::Lasting;
use crate::run::{Finding, Run, attempt, attempt_twice};
use crate::trace::Trace;
use crate::workload::Workload;

/// How much is done to make a run smaller.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// How long, in real time; a run that has begun comes to its end.
    pub time: Duration,
    /// How many runs at the same time.
    pub jobs: usize,
    /// How long one may take, in real time.
    pub limit: Duration,
}

/// The smallest run that was found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The run. Its finding is of the class that it began with.
    pub run: Run,
    /// What it began with.
    pub from: Size,
    /// How many runs it took.
    pub tried: u64,
    /// The budget was used up while something was left to try.
    pub cut_short: bool,
}

/// How large a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Faults in the plan; what lasts counts as one.
    pub faults: usize,
    /// Clients.
    pub clients: u64,
    /// Nodes.
    pub nodes: u64,
    /// How long the faults go on.
    pub length: Duration,
}

impl Size {
    /// The size of a setup.
    pub fn of(setup: &Setup) -> Self {
        let lasting = usize::from(setup.plan.lasting != Lasting::Nothing);
        let Setup { clients, nodes, length, .. } = *setup;
        Self { faults: setup.plan.faults.len() + lasting, clients, nodes, length }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { faults, clients, nodes, length } = self;
        let seconds = length.as_secs_f64();
        write!(f, "{faults} faults, {nodes} nodes, {clients} clients, {seconds:.1} s")
    }
}

/// Makes `failing` smaller. One without a finding is returned as it is. For one that ran twice and
/// differed, every run is made twice.
pub fn shrink<W: Workload>(failing: &Run, workload: impl Fn() -> W + Sync, budget: &Budget) -> Shrunk {
    let from = Size::of(&failing.setup);
    let class = failing.finding.as_ref().map(Finding::class);
    let differs = matches!(failing.finding, Some(Finding::Nondeterminism(_)));
    let mut shrinker = Shrinker {
        best: failing.clone(),
        class: class.clone().unwrap_or_default(),
        attempt: |setup| {
            if differs {
                attempt_twice(setup, &workload, budget.limit).0
            } else {
                attempt(setup, workload(), budget.limit, Trace::default())
            }
        },
        budget,
        began: Instant::now(),
        tried: 0,
    };
    if class.is_some() {
        while shrinker.once() || shrinker.elsewhere() {}
    }
    let cut_short = shrinker.is_over();
    Shrunk { run: shrinker.best, from, tried: shrinker.tried, cut_short }
}

struct Shrinker<'a, A> {
    best: Run,
    class: String,
    attempt: A,
    budget: &'a Budget,
    began: Instant,
    tried: u64,
}

impl<A: Fn(Setup) -> Run + Sync> Shrinker<'_, A> {
    fn is_over(&self) -> bool {
        self.began.elapsed() >= self.budget.time
    }

    fn setup(&self) -> &Setup {
        &self.best.setup
    }

    /// Every pass, one time. Whether the run is smaller now.
    fn once(&mut self) -> bool {
        let before = self.setup().clone();
        self.what_came_later();
        self.faults();
        self.what_lasts();
        self.state();
        self.clocks();
        self.retries();
        self.sessions();
        self.clients();
        self.nodes();
        self.length();
        self.simpler_faults();
        *self.setup() != before
    }

    /// Takes the first of `smaller` that fails in the same way. Whether there is one.
    fn take(&mut self, smaller: Vec<Setup>) -> bool {
        for some in smaller.chunks(self.budget.jobs.max(1)) {
            if self.is_over() {
                return false;
            }
            self.tried += some.len() as u64;
            let attempt = &self.attempt;
            let runs: Vec<Run> = std::thread::scope(|scope| {
                let begin = |setup: &Setup| {
                    let setup = setup.clone();
                    scope.spawn(move || attempt(setup))
                };
                let begun: Vec<_> = some.iter().map(begin).collect();
                // An attempt turns the panics of a run into findings, and has none of its own.
                begun.into_iter().filter_map(|run| run.join().ok()).collect()
            });
            let same = |run: &Run| run.finding.as_ref().is_some_and(|found| found.class() == self.class);
            if let Some(run) = runs.into_iter().find(same) {
                self.best = run;
                return true;
            }
        }
        false
    }

    fn with(&self, change: impl FnOnce(&mut Setup)) -> Setup {
        let mut setup = self.setup().clone();
        change(&mut setup);
        setup
    }

    /// What was planned for later than what was found is not to blame, but it takes time.
    fn what_came_later(&mut self) {
        let Some(at) = self.best.finding.as_ref().and_then(Finding::at) else { return };
        let length = at.max(Duration::from_millis(100));
        if length < self.setup().length {
            let shorter = self.with(|setup| {
                setup.plan.faults.retain(|planned| planned.at <= at);
                setup.length = length;
            });
            self.take(vec![shorter]);
        }
    }

    fn faults(&mut self) {
        let none = self.with(|setup| setup.plan.faults.clear());
        if self.setup().plan.faults.is_empty() || self.take(vec![none]) {
            return;
        }
        let mut parts = 2;
        loop {
            let count = self.setup().plan.faults.len();
            parts = parts.min(count);
            let part = |number: usize| number * count / parts..(number + 1) * count / parts;
            let alone =
                |number| self.with(|setup| setup.plan.faults = setup.plan.faults[part(number)].to_vec());
            let without = |number| self.with(|setup| drop(setup.plan.faults.drain(part(number))));
            let mut smaller: Vec<Setup> = Vec::new();
            if parts > 1 {
                smaller.extend((0..parts).map(alone));
            }
            if parts > 2 {
                smaller.extend((0..parts).rev().map(without));
            }
            if self.take(smaller) {
                // What was taken is a part alone, to be halved, or all but one, to lose the next.
                parts = if self.setup().plan.faults.len() * 2 > count { (parts - 1).max(2) } else { 2 };
            } else if parts == count || self.is_over() {
                return;
            } else {
                parts *= 2;
            }
        }
    }

    fn what_lasts(&mut self) {
        if self.setup().plan.lasting != Lasting::Nothing {
            let nothing = self.with(|setup| setup.plan.lasting = Lasting::Nothing);
            self.take(vec![nothing]);
        }
    }

    /// A machine in memory is simpler than one on a disk.
    fn state(&mut self) {
        if self.setup().on_disk {
            let in_memory = self.with(|setup| setup.on_disk = false);
            self.take(vec![in_memory]);
        }
    }

    fn clocks(&mut self) {
        if self.setup().skewed {
            let alike = self.with(|setup| setup.skewed = false);
            self.take(vec![alike]);
        }
    }

    fn retries(&mut self) {
        if self.setup().retries {
            let once = self.with(|setup| setup.retries = false);
            self.take(vec![once]);
        }
    }

    fn sessions(&mut self) {
        if self.setup().sessions.is_some() {
            let none = self.with(|setup| setup.sessions = None);
            self.take(vec![none]);
        }
    }

    fn clients(&mut self) {
        let fewer = (1..self.setup().clients).map(|fewer| self.with(|setup| setup.clients = fewer));
        self.take(fewer.collect());
    }

    /// Without the nodes that are named last, and what goes wrong with them.
    fn nodes(&mut self) {
        let fewer = (3..self.setup().nodes).map(|fewer| {
            self.with(|setup| {
                setup.nodes = fewer;
                setup.plan.cut_down_to(fewer);
            })
        });
        self.take(fewer.collect());
    }

    /// Half the time: without what was planned for the other half, or with everything sooner.
    fn length(&mut self) {
        while self.setup().length > Duration::from_millis(500) {
            let length = self.setup().length / 2;
            let cut = self.with(|setup| {
                setup.length = length;
                setup.plan.faults.retain(|planned| planned.at < length);
            });
            let sooner = self.with(|setup| {
                setup.length = length;
                setup.plan.faults.iter_mut().for_each(|planned| planned.at /= 2);
            });
            if !self.take(vec![cut, sooner]) {
                return;
            }
        }
    }

    fn simpler_faults(&mut self) {
        for place in 0..self.setup().plan.faults.len() {
            // Each step leaves something simpler, so this comes to an end.
            while let Some(planned) = self.setup().plan.faults.get(place) {
                let simpler = simpler(&planned.fault).into_iter();
                let setups = simpler.map(|fault| self.with(|setup| setup.plan.faults[place].fault = fault));
                if !self.take(setups.collect()) {
                    break;
                }
            }
        }
    }

    /// One fault less, with other seeds.
    fn elsewhere(&mut self) -> bool {
        const SEEDS: u64 = 3;
        let count = self.setup().plan.faults.len();
        let smaller = (1..=SEEDS).flat_map(|seed| {
            (0..count).map(move |place| (seed, place)).map(|(seed, place)| {
                self.with(|setup| {
                    setup.seed = setup.seed.wrapping_add(seed << 32);
                    setup.plan.faults.remove(place);
                })
            })
        });
        let smaller = smaller.collect();
        self.take(smaller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fault, Plan, Planned};

    #[test]
    fn with_fewer_nodes_nothing_goes_wrong_with_the_others() {
        let time = Duration::from_secs(1);
        let faults = [
            Fault::Split { half: 0b10_0010, time },
            Fault::CutLink { a: 1, b: 5, time },
            Fault::Pause { node: 2, time },
            Fault::Transfer { to: 5 },
        ];
        let planned = |fault| Planned { at: time, fault };
        let plan = Plan { faults: faults.map(planned).into(), lasting: Lasting::Down, minority: vec![2, 5] };
        let setup = Setup { nodes: 5, plan, ..Setup::of_seed(1, 2 * time) };
        let failing = |setup| {
            let (finding, trace) = (Some(Finding::Hang(time)), Trace::default());
            Run { setup, finding, cut_off: None, report: None, trace, took: time }
        };
        let budget = Budget { time: Duration::from_mins(1), jobs: 1, limit: time };
        let mut shrinker = Shrinker {
            best: failing(setup),
            class: "hang".to_owned(),
            attempt: failing,
            budget: &budget,
            began: Instant::now(),
            tried: 0,
        };
        shrinker.nodes();
        let smaller = shrinker.setup();
        assert_eq!((smaller.nodes, smaller.fits()), (3, Ok(())));
        let left = [Fault::Split { half: 0b10, time }, faults[2]].map(planned);
        assert_eq!((&*smaller.plan.faults, &*smaller.plan.minority), (&left[..], &[2][..]));
    }
}
