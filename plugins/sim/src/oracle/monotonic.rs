//! Within a boot a node's term, commit and applied positions never go back, and it applies every
//! command after the one before.

use std::collections::BTreeMap;

use quorate::types::{LogId, Position};

use super::Oracle;
use crate::observe::{Observation, World};

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    boot: u64,
    term: u64,
    committed: Option<LogId>,
    applied: Option<LogId>,
    position: Option<Position>,
}

/// Nothing goes back within a boot.
#[derive(Debug, Default)]
pub struct Monotonic {
    nodes: BTreeMap<u64, Seen>,
}

impl Oracle for Monotonic {
    fn name(&self) -> &'static str {
        "monotonic within a boot"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        let boot = world.logs[&node].boot();
        let seen = self.nodes.entry(node).or_default();
        if seen.boot != boot {
            *seen = Seen { boot, ..Seen::default() };
        }
        match observation {
            Observation::Status { status } => {
                let now = Seen {
                    term: status.term.get(),
                    committed: status.committed,
                    applied: status.applied,
                    ..*seen
                };
                if now.term < seen.term || now.committed < seen.committed || now.applied < seen.applied {
                    return Err(format!("n{node} goes back from {seen:?} to {now:?}"));
                }
                *seen = now;
                Ok(())
            }
            Observation::Applied { applied } => match seen.position.replace(applied.position) {
                Some(before) if applied.position <= before => {
                    Err(format!("n{node} applies {} after {before}", applied.position))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
