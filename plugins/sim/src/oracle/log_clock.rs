//! The log's clock stands still or goes on, along the whole log, whoever leads.

use std::ops::Bound::{Excluded, Unbounded};

use super::Oracle;
use crate::observe::{Observation, World};

/// No command has an earlier log time than one before it.
#[derive(Debug, Default)]
pub struct LogClock;

impl Oracle for LogClock {
    fn name(&self) -> &'static str {
        "log clock"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Applied { applied } = observation else { return Ok(()) };
        let (place, time) = (applied.position, applied.time);
        let before = world.applied.range(..place).next_back();
        let after = world.applied.range((Excluded(place), Unbounded)).next();
        match (before, after) {
            (Some((other, before)), _) if before.time > time => Err(format!(
                "n{node} applies {place} at {time:?}, and {other} before it was at {:?}",
                before.time
            )),
            (_, Some((other, after))) if after.time < time => Err(format!(
                "n{node} applies {place} at {time:?}, and {other} after it was at {:?}",
                after.time
            )),
            _ => Ok(()),
        }
    }
}
