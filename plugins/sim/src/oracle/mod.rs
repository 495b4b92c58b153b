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
mod known_voters;
mod leader_completeness;
mod log_clock;
mod log_matching;
mod members_as_told;
mod monotonic;
mod state_machine_safety;
#[cfg(test)]
mod tests;
mod votes;

pub use self::acknowledged::Acknowledged;
pub use self::applied_once::AppliedOnce;
pub use self::commit_on_quorum::CommitOnQuorum;
pub use self::elected_by_quorum::ElectedByQuorum;
pub use self::election_safety::ElectionSafety;
pub use self::known_voters::KnownVoters;
pub use self::leader_completeness::LeaderCompleteness;
pub use self::log_clock::LogClock;
pub use self::log_matching::LogMatching;
pub use self::members_as_told::MembersAsTold;
pub use self::monotonic::Monotonic;
pub use self::state_machine_safety::StateMachineSafety;
pub use self::votes::Votes;
use crate::observe::{Observation, World};
pub use crate::trace::Violation;

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

/// The names of what is seen elsewhere, and of what a user's machine and workload say themselves.
pub const ELSEWHERE: [&str; 9] = [
    DURABILITY,
    RECEIPTS,
    LINEARIZABILITY,
    KEEP_RUNNING,
    REPLACED_DISK,
    LIVENESS,
    DETERMINISM,
    MACHINE,
    WORKLOAD,
];

pub(crate) const DURABILITY: &str = "durability";
pub(crate) const RECEIPTS: &str = "receipts in order";
pub(crate) const LINEARIZABILITY: &str = "linearizability";
pub(crate) const KEEP_RUNNING: &str = "nodes keep running";
pub(crate) const REPLACED_DISK: &str = "a replaced disk is refused";
pub(crate) const LIVENESS: &str = "liveness";
pub(crate) const DETERMINISM: &str = "determinism";
pub(crate) const MACHINE: &str = "machine";
pub(crate) const WORKLOAD: &str = "workload";

/// The name of every oracle, of those without a file as well.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|oracle| oracle.name()).chain(ELSEWHERE).collect()
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
        Box::<KnownVoters>::default(),
        Box::<MembersAsTold>::default(),
        Box::<StateMachineSafety>::default(),
        Box::<Monotonic>::default(),
        Box::<Acknowledged>::default(),
        Box::<AppliedOnce>::default(),
        Box::<LogClock>::default(),
    ]
}
