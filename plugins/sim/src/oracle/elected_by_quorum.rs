//! Whoever leads a term has the votes of a quorum, and each was on a disk before it counted (Raft
//! paper, section 5.2).

use std::collections::{BTreeMap, BTreeSet};

use super::Oracle;
use crate::observe::{Members, Observation, Op, World};

/// No leader without a quorum of flushed votes.
#[derive(Debug, Default)]
pub struct ElectedByQuorum {
    /// Who has flushed a vote, by term and candidate.
    votes: BTreeMap<(u64, u64), BTreeSet<u64>>,
}

impl Oracle for ElectedByQuorum {
    fn name(&self) -> &'static str {
        "elected by a quorum"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Flushed { op: Op::Vote(vote) } => {
                self.votes.entry((vote.term, vote.node)).or_default().insert(node);
            }
            // It writes down that it leads before it does anything as a leader.
            Observation::Queued { op: Op::Vote(vote) } if vote.committed && vote.node == node => {
                let votes = self.votes.get(&(vote.term, node)).cloned().unwrap_or_default();
                let first = Members::first(world.size);
                let log = world.logs[&node].queued();
                let members = world.members_in(log, u64::MAX).map_or(&first, |(_, members)| members);
                if !members.has_quorum(|voter| votes.contains(&voter)) {
                    return Err(format!(
                        "n{node} leads term {}, in which only {votes:?} of {:?} have flushed a vote for it",
                        vote.term, members.voters
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
