//! What is committed is in the log of every later leader (Raft paper, figure 3).

use std::collections::BTreeMap;

use quorate::node::status::Role;

use super::Oracle;
use crate::observe::{Observation, World};

/// Every leader has everything that was committed in an earlier term.
#[derive(Debug, Default)]
pub struct LeaderCompleteness {
    /// Of every index that somebody applied a command at: the term of its entry.
    committed: BTreeMap<u64, u64>,
    /// The terms of which the leader was looked at.
    seen: BTreeMap<u64, u64>,
}

impl Oracle for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Applied { applied } => {
                self.committed.insert(applied.position.index.get(), applied.term);
                Ok(())
            }
            Observation::Status { status } if status.role == Role::Leader => {
                let term = status.term.get();
                if self.seen.insert(term, node).is_some() {
                    return Ok(());
                }
                let log = world.logs[&node].queued();
                let missing =
                    self.committed.iter().find(|(index, of)| **of < term && !log.holds(**index, **of));
                missing.map_or(Ok(()), |(index, of)| {
                    Err(format!("n{node} leads term {term} without the committed T{of}-{index}"))
                })
            }
            _ => Ok(()),
        }
    }
}
