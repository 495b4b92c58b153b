//! Looking for bugs: seed after seed until an oracle sees them.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::Planted;
use crate::cluster::Setup;
use crate::run::{Finding, attempt};
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
    /// What is wrong.
    pub finding: Finding,
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
            Ok(Found { seeds, finding, .. }) => {
                write!(f, "{name} is found after {seeds} seeds, by {finding}")
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
/// finds nothing.
///
/// # Errors
/// When it survives.
pub fn hunt(planted: &Planted, from: u64, limit: Duration) -> Result<Found, Survived> {
    let found = (from..from + planted.within).find_map(|seed| {
        let finding = run(planted.setup(seed, LENGTH), limit);
        let finding = finding.filter(|finding| !matches!(finding, Finding::Undecided(_)))?;
        Some(Found { seeds: seed - from + 1, seed, finding })
    });
    let found = found.ok_or(Survived::Unseen)?;
    let seed = found.seed;
    match run(Setup { mutation: None, ..planted.setup(seed, LENGTH) }, limit) {
        None => Ok(found),
        Some(finding) => Err(Survived::AlsoWithout { seed, finding }),
    }
}

fn run(setup: Setup, limit: Duration) -> Option<Finding> {
    attempt(setup, RegistersWorkload { keys: 5 }, limit, Trace::default()).finding
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
