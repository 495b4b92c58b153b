//! What is applied is on the disks of a quorum.

use std::collections::BTreeSet;

use super::Oracle;
use crate::observe::{Missing, Observation, World};

/// An entry is on the disks of a quorum before its first command is applied anywhere, and if a later leader
/// committed it, an entry of that one's own term is. A leader counts by the last members that its log names,
/// so by those in force where the entry stands, or by any that it names behind that.
#[derive(Debug, Default)]
pub struct CommitOnQuorum {
    seen: BTreeSet<u64>,
}

impl Oracle for CommitOnQuorum {
    fn name(&self) -> &'static str {
        "commit on a quorum"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Applied { applied } = observation else { return Ok(()) };
        let (index, term) = (applied.position.index.get(), applied.term);
        if !self.seen.insert(index) {
            return Ok(());
        }
        world.is_on_quorum(index, term).map_err(|Missing { have, voters }| {
            format!("n{node} applies T{term}-{index}, which only {have:?} of {voters:?} have flushed")
        })
    }
}
