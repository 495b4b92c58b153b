//! Nobody votes who could lose unseen what it promises, or has nothing to promise.

use super::Oracle;
use crate::observe::{NodeLog, Observation, World};

/// Every voter's disk is recorded, and whoever comes to vote has the log up to the membership before.
#[derive(Debug, Default)]
pub struct KnownVoters;

impl Oracle for KnownVoters {
    fn name(&self) -> &'static str {
        "voters are known"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Members { index, members, .. } = observation else { return Ok(()) };
        let unknown = |voter: &&u64| members.recorded.get(voter) != Some(&true);
        if let Some(voter) = members.voters.iter().flatten().find(unknown) {
            return Err(format!(
                "n{node} appends at {index} that n{voter} votes, and no disk of it is recorded"
            ));
        }
        let [old, new] = &members.voters[..] else { return Ok(()) };
        let queued = world.logs.get(&node).map(NodeLog::queued);
        let before = queued.and_then(|log| world.members_in(log, index.saturating_sub(1)));
        let Some(((before, _), _)) = before else { return Ok(()) };
        let sound = |voter: &&u64| !world.lost.contains_key(voter);
        for voter in new.difference(old).filter(sound) {
            let has = world.logs.get(voter).and_then(|log| log.durable().last());
            if has < Some(before) {
                return Err(format!(
                    "n{node} appends at {index} that n{voter} votes, whose log goes to {has:?}, and the membership before is at {before}"
                ));
            }
        }
        Ok(())
    }
}
