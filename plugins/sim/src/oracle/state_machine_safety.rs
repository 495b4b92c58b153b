//! No two nodes apply different commands at one position, nor come to different responses; what is
//! committed stays as it is (Raft paper, figure 3).

use super::Oracle;
use crate::observe::{Observation, World};

/// One position, one command, one response, on every node and in every boot.
#[derive(Debug, Default)]
pub struct StateMachineSafety;

impl Oracle for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state machine safety"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Applied { applied } = observation else { return Ok(()) };
        // Of the first to apply it, which may be this one.
        let known = &world.applied[&applied.position];
        if known == *applied {
            return Ok(());
        }
        let what = match () {
            () if (known.term, &known.command) != (applied.term, &applied.command) => "another command",
            () if known.time != applied.time => "the same command at another log time",
            () => "the same command with another response",
        };
        Err(format!("n{node} applies {what} at {}: {known:?} before, {applied:?} now", applied.position))
    }
}
