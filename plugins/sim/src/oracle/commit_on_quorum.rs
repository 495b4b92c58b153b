//! What is applied is on the disks of a quorum.

use std::collections::BTreeSet;

use super::Oracle;
use crate::observe::{Members, Observation, World};

/// An entry is on the disks of a quorum before its first command is applied anywhere: of the members in
/// force where it stands, or of others that were appended since, as a leader counts by the last it has.
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
        let have: BTreeSet<u64> = world.logs.keys().copied().filter(holds).collect();
        let first = Members::first(world.size);
        let (at, members) = world.members_in(world.logs[&node].queued(), index).unwrap_or((0, &first));
        let later = world.members.range((at + 1, 0)..).map(|(_, members)| members);
        if std::iter::once(members)
            .chain(later)
            .any(|members| members.has_quorum(|node| have.contains(&node)))
        {
            return Ok(());
        }
        let voters = &members.voters;
        Err(format!("n{node} applies T{term}-{index}, which only {have:?} of {voters:?} have flushed"))
    }
}
