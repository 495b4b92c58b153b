//! A node's term and vote never go back, not over a crash either, and it votes once a term.

use std::collections::BTreeMap;

use super::Oracle;
use crate::observe::{Observation, Op, VoteMark, World};

/// Term and vote never go back; one vote a term.
#[derive(Debug, Default)]
pub struct Votes {
    /// The last one queued in this boot.
    queued: BTreeMap<u64, VoteMark>,
    /// The highest that was flushed, ever.
    flushed: BTreeMap<u64, VoteMark>,
    /// For whom a node has voted, of what was flushed: others may have been told.
    given: BTreeMap<(u64, u64), u64>,
}

impl Oracle for Votes {
    fn name(&self) -> &'static str {
        "votes"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Opened { found } => {
                let flushed = self.flushed.get(&node).copied();
                if found.vote < flushed && !world.lost.contains_key(&node) {
                    return Err(format!("n{node} has flushed {flushed:?} and finds {:?}", found.vote));
                }
                self.queued.remove(&node);
                self.queued.extend(found.vote.map(|vote| (node, vote)));
                Ok(())
            }
            // What the one before had promised it need not know.
            Observation::Another => {
                self.queued.remove(&node);
                self.flushed.remove(&node);
                self.given.retain(|(voter, _), _| *voter != node);
                Ok(())
            }
            Observation::Queued { op: Op::Vote(vote) } => match self.queued.insert(node, *vote) {
                Some(before) if *vote < before => {
                    Err(format!("n{node} goes back from {before:?} to {vote:?}"))
                }
                _ => Ok(()),
            },
            Observation::Flushed { op: Op::Vote(vote) } => {
                let highest = self.flushed.entry(node).or_insert(*vote);
                *highest = (*highest).max(*vote);
                match self.given.insert((node, vote.term), vote.node) {
                    // A leader that a quorum has elected is followed, whoever it was voted for.
                    Some(before) if before != vote.node && !vote.committed => Err(format!(
                        "n{node} votes in term {} for n{before} and for n{}",
                        vote.term, vote.node
                    )),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
