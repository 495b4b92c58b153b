//! Bugs put in on purpose, all in one build and chosen when a run begins: each must be found within
//! so many seeds, or the oracles prove nothing.
//!
//! This folder owns what the bugs are and the hunt for them. Those of the storage are carried out in
//! `observe::ObservedStorage`, those of the framework where the real check stands, behind
//! `Runtime::planted`, which is the constant `false` under tokio.

mod catalogue;
mod plans;

use std::fmt;
use std::time::Duration;

pub use self::catalogue::{CATALOGUE, Mutation, Planted};
use crate::cluster::Setup;
use crate::run::{Finding, attempt};
use crate::trace::Trace;
use crate::workload::RegistersWorkload;

/// The simulated time in which faults happen.
const LENGTH: Duration = Duration::from_secs(10);

/// Which runs look for a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hunt {
    /// The full mix of faults, as every seed draws it.
    Full,
    /// Leaders that are cut off and come back, with entries that nobody else has.
    LonelyLeaders,
}

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

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} seeds, by {}", self.seeds, self.finding)
    }
}

/// The bug of this name, with or without its hyphens.
pub fn of_name(name: &str) -> Option<&'static Planted> {
    let plain = |name: &str| name.replace('-', "").to_lowercase();
    CATALOGUE.iter().find(|planted| plain(planted.name) == plain(name))
}

impl Planted {
    /// The run of a seed that looks for this bug, with the bug in it.
    pub fn setup(&self, seed: u64) -> Setup {
        let mut setup = Setup::of_seed(seed, LENGTH);
        setup.plan = self.hunt.plan(setup.nodes).unwrap_or(setup.plan);
        setup.mutation = Some(self.mutation);
        setup
    }
}

/// Runs seeds from `from` on with the bug until it is found; `None` when it is not found within as
/// many as it may take. A run of which nobody knows whether it is linearizable finds nothing.
pub fn hunt(planted: &Planted, from: u64, limit: Duration) -> Option<Found> {
    (from..from + planted.within).find_map(|seed| {
        let finding = run(planted.setup(seed), limit).filter(|it| !matches!(it, Finding::Undecided(_)))?;
        Some(Found { seeds: seed - from + 1, seed, finding })
    })
}

/// What is wrong with the same run without the bug: when nothing is, what was found is the bug's doing.
pub fn acquit(planted: &Planted, seed: u64, limit: Duration) -> Option<Finding> {
    run(Setup { mutation: None, ..planted.setup(seed) }, limit)
}

fn run(setup: Setup, limit: Duration) -> Option<Finding> {
    attempt(setup, RegistersWorkload { keys: 5 }, limit, Trace::default()).finding
}
