//! What must hold in every run, one oracle a file.
//!
//! An oracle is told everything that happens, in order, and says when it must not have. More need no
//! file of their own here: *durability*, that a crash leaves what was flushed, and *receipts in order*,
//! that flushes are told in the order in which they were queued, are `observe`; *linearizability* is
//! `linear`, over the clients' histories; that *nodes keep running*, *liveness* and *determinism* are
//! `cluster`, and what a user's *machine* and *workload* must hold is what these say themselves.

mod acknowledged;
mod applied_once;
mod commit_on_quorum;
mod elected_by_quorum;
mod election_safety;
mod leader_completeness;
mod log_clock;
mod log_matching;
mod monotonic;
mod state_machine_safety;
#[cfg(test)]
mod tests;
mod votes;

use std::fmt;
use std::time::Duration;

pub use self::acknowledged::Acknowledged;
pub use self::applied_once::AppliedOnce;
pub use self::commit_on_quorum::CommitOnQuorum;
pub use self::elected_by_quorum::ElectedByQuorum;
pub use self::election_safety::ElectionSafety;
pub use self::leader_completeness::LeaderCompleteness;
pub use self::log_clock::LogClock;
pub use self::log_matching::LogMatching;
pub use self::monotonic::Monotonic;
pub use self::state_machine_safety::StateMachineSafety;
pub use self::votes::Votes;
use crate::observe::{Observation, World};

/// Sees what happens and says what is wrong with it.
pub trait Oracle: Send {
    /// What it holds a cluster to.
    fn name(&self) -> &'static str;

    /// Something happened at `node`; `world` is already as it is afterwards.
    ///
    /// # Errors
    /// What is wrong, for a person to read.
    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String>;

    /// The run is over.
    ///
    /// # Errors
    /// What is wrong.
    fn end(&mut self, world: &World) -> Result<(), String> {
        let _ = world;
        Ok(())
    }
}

/// Something happened that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in simulated time.
    pub at: Duration,
    /// Which oracle says so.
    pub oracle: &'static str,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.6}s: {}", self.oracle, self.at.as_secs_f64(), self.what)
    }
}

/// Every oracle.
pub fn all() -> Vec<Box<dyn Oracle>> {
    vec![
        Box::<ElectionSafety>::default(),
        Box::<ElectedByQuorum>::default(),
        Box::<Votes>::default(),
        Box::<LogMatching>::default(),
        Box::<LeaderCompleteness>::default(),
        Box::<CommitOnQuorum>::default(),
        Box::<StateMachineSafety>::default(),
        Box::<Monotonic>::default(),
        Box::<Acknowledged>::default(),
        Box::<AppliedOnce>::default(),
        Box::<LogClock>::default(),
    ]
}
