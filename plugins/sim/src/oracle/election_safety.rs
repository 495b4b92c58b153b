//! At most one leader a term (Raft paper, figure 3).

use std::collections::BTreeMap;

use quorate::node::status::Role;

use super::Oracle;
use crate::observe::{Observation, Op, World};

/// At most one leader a term, as every node sees it.
#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, u64>,
}

impl ElectionSafety {
    fn leads(&mut self, term: u64, leader: u64, says: u64) -> Result<(), String> {
        let known = *self.leaders.entry(term).or_insert(leader);
        if known == leader {
            return Ok(());
        }
        Err(format!("term {term} has two leaders, n{known} and n{leader} (n{says} says so)"))
    }
}

impl Oracle for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn see(&mut self, _: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Status { status } => {
                if status.role == Role::Leader {
                    self.leads(status.term.get(), node, node)?;
                }
                status.leader.map_or(Ok(()), |leader| self.leads(status.term.get(), leader.get(), node))
            }
            // A quorum has granted it.
            Observation::Queued { op: Op::Vote(vote) } if vote.committed => {
                self.leads(vote.term, vote.node, node)
            }
            _ => Ok(()),
        }
    }
}
