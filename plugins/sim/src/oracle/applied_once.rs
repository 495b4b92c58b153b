//! A node applies every command once and leaves none out, over restarts and snapshots as well, and a
//! command stands in the log once.

use std::collections::BTreeMap;
use std::ops::Bound::Excluded;

use bytes::Bytes;
use quorate::types::Position;

use super::Oracle;
use crate::observe::{Observation, World};

/// No command twice, no command left out. Commands are told apart by their bytes, so a workload's
/// must all differ.
#[derive(Debug, Default)]
pub struct AppliedOnce {
    /// Where each command stands.
    places: BTreeMap<Bytes, Position>,
    /// The last command that the state of each node has in it.
    states: BTreeMap<u64, Position>,
}

impl Oracle for AppliedOnce {
    fn name(&self) -> &'static str {
        "applied once"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            // Its machine begins anew.
            Observation::Opened { .. } => drop(self.states.remove(&node)),
            Observation::Restored { last, .. } | Observation::Resumed { last } => {
                self.states.remove(&node);
                self.states.extend(last.map(|last| (node, last)));
            }
            Observation::Applied { applied } => {
                let position = applied.position;
                let place = *self.places.entry(applied.command.clone()).or_insert(position);
                if place != position {
                    return Err(format!("a command stands at {place} and at {position}"));
                }
                let before = self.states.insert(node, position);
                if before.is_some_and(|before| before >= position) {
                    return Err(format!("n{node} applies {position} to a state that has it already"));
                }
                let between = match before {
                    Some(before) => world.applied.range((Excluded(before), Excluded(position))).next(),
                    None => world.applied.range(..position).next(),
                };
                if let Some((left_out, _)) = between {
                    return Err(format!("n{node} applies {position} without {left_out}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
