//! Looking for bugs: seed after seed until an oracle sees them.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::Planted;
use crate::cluster::Setup;
use crate::run::{Finding, Run, attempt};
use crate::trace::Trace;
use crate::workload::RegistersWorkload;

/// The simulated time in which faults happen.
const LENGTH: Duration = Duration::from_secs(10);

/// How a bug was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many seeds it took.
    pub seeds: u64,
    /// The seed.
    pub seed: u64,
    /// What is wrong first.
    pub finding: Finding,
    /// What else is wrong with the run, in order: the classes.
    pub also: Vec<String>,
}

impl Found {
    /// What came of a run with a bug in it; `None` when that is nothing, or nobody knows.
    fn of(run: &Run, seeds: u64) -> Option<Self> {
        let finding = run.finding.clone().filter(|finding| !matches!(finding, Finding::Undecided(_)))?;
        let also = run.also().iter().map(Finding::class).collect();
        Some(Self { seeds, seed: run.setup.seed, finding, also })
    }

    /// Whether an oracle had something to say.
    fn by(&self, oracle: &str) -> bool {
        self.also.iter().any(|also| also == oracle) || self.finding.class() == oracle
    }
}

/// Why a bug does not count as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Survived {
    /// None of as many seeds as it may take shows anything.
    Unseen,
    /// The run that shows something shows it without the bug as well: it is not the bug's doing.
    AlsoWithout {
        /// The seed of the run.
        seed: u64,
        /// What is wrong without the bug.
        finding: Finding,
    },
}

/// A bug that was looked for.
#[derive(Clone, Debug)]
pub struct Hunted {
    /// Which.
    pub planted: &'static Planted,
    /// What came of it.
    pub outcome: Result<Found, Survived>,
}

impl fmt::Display for Hunted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Planted { name, within, .. } = self.planted;
        match &self.outcome {
            Ok(Found { seeds, finding, also, .. }) => {
                // Behind the first line is a history or a backtrace.
                let finding = finding.to_string();
                let first = finding.lines().next().unwrap_or_default();
                write!(f, "{name} is found after {seeds} seeds, by {first}")?;
                if also.is_empty() { Ok(()) } else { write!(f, "; also {}", also.join(", ")) }
            }
            Err(Survived::Unseen) => write!(f, "{name} SURVIVES: it is not found within {within} seeds"),
            Err(Survived::AlsoWithout { seed, finding }) => {
                write!(f, "{name} SURVIVES: seed {seed} is accused without it: {finding}")
            }
        }
    }
}

/// Runs seeds from `from` on with the bug until it is found, and then that run without the bug. No run
/// takes longer than `limit` of real time. A run of which nobody knows whether it is linearizable
/// finds nothing, and neither does one without a word of the [oracle](Planted::oracle) that is to see
/// the bug.
///
/// # Errors
/// When it survives.
pub fn hunt(planted: &Planted, from: u64, limit: Duration) -> Result<Found, Survived> {
    let found = (from..from + planted.within).find_map(|seed| {
        let found = Found::of(&run(planted.setup(seed, LENGTH), limit), seed - from + 1)?;
        planted.oracle.is_none_or(|oracle| found.by(oracle)).then_some(found)
    });
    let found = found.ok_or(Survived::Unseen)?;
    let seed = found.seed;
    match run(Setup { mutation: None, ..planted.setup(seed, LENGTH) }, limit).finding {
        None => Ok(found),
        Some(finding) => Err(Survived::AlsoWithout { seed, finding }),
    }
}

fn run(setup: Setup, limit: Duration) -> Run {
    attempt(setup, RegistersWorkload { keys: 5 }, limit, Trace::default())
}

/// Looks for every bug, `jobs` at the same time, and says what came of each, in their order. `watch`
/// is told of each as soon as it is known.
pub fn hunt_all(
    bugs: &[&'static Planted],
    from: u64,
    jobs: usize,
    limit: Duration,
    mut watch: impl FnMut(&Hunted),
) -> Vec<Hunted> {
    let next = AtomicUsize::new(0);
    let (done, hunts) = mpsc::channel();
    let mut all: Vec<(usize, Hunted)> = std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&planted) = bugs.get(place) else { break };
                    let hunted = Hunted { planted, outcome: hunt(planted, from, limit) };
                    if done.send((place, hunted)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        hunts.iter().inspect(|(_, hunted)| watch(hunted)).collect()
    });
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, hunted)| hunted).collect()
}
