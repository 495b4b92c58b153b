//! What a client was told is true: an acknowledged command is applied where and as it was told, on
//! whoever applies that position, for good; a refused one is never applied.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate::types::Position;

use super::Oracle;
use crate::observe::{AppliedCommand, Observation, World};

/// Acknowledged is never lost, refused is never applied. Refused commands are told apart by their
/// bytes, so a workload's commands must all differ.
#[derive(Debug, Default)]
pub struct Acknowledged {
    promised: BTreeMap<Position, (Bytes, Bytes)>,
    /// Every command that anybody has applied.
    applied: BTreeSet<Bytes>,
    refused: BTreeSet<Bytes>,
}

fn told(applied: &AppliedCommand) -> (Bytes, Bytes) {
    (applied.command.clone(), applied.response.clone())
}

impl Oracle for Acknowledged {
    fn name(&self) -> &'static str {
        "acknowledged"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Applied { applied } => {
                let position = applied.position;
                self.applied.insert(applied.command.clone());
                if self.refused.contains(&applied.command) {
                    return Err(format!(
                        "n{node} applies at {position} what a client was told is not applied"
                    ));
                }
                if self.promised.get(&position).is_some_and(|promise| *promise != told(applied)) {
                    return Err(format!(
                        "n{node} applies something else at {position} than was acknowledged"
                    ));
                }
                Ok(())
            }
            Observation::Acknowledged { applied } => {
                let position = applied.position;
                if world.applied.get(&position).map(told) != Some(told(applied)) {
                    return Err(format!("a client is told of {position} what nobody has applied there"));
                }
                match self.promised.insert(position, told(applied)) {
                    None => Ok(()),
                    Some(_) => Err(format!("two clients are told that {position} is theirs")),
                }
            }
            Observation::Refused { command } => {
                if self.applied.contains(*command) {
                    return Err("a client is told that a command is not applied, and it is".to_owned());
                }
                self.refused.insert((*command).clone());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
