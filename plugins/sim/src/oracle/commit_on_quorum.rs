//! What is applied is on the disks of a quorum.

use std::collections::BTreeSet;

use super::Oracle;
use crate::observe::{Observation, World};

/// An entry is on the disks of a quorum before its first command is applied anywhere. For clusters
/// whose members stay the same.
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
        // A disk that is lost had its part in it.
        let had = |node: &u64| world.lost.get(node).is_some_and(|log| log.holds(index, term));
        let holds = |node: &u64| world.logs[node].durable().holds(index, term) || had(node);
        let have: Vec<u64> = world.logs.keys().copied().filter(holds).collect();
        if have.len() > world.size / 2 {
            return Ok(());
        }
        Err(format!("n{node} applies T{term}-{index}, which only {have:?} of {} have flushed", world.size))
    }
}
