//! Two logs that have an entry of the same index and term are the same up to it (Raft paper,
//! figure 3).

use std::collections::BTreeMap;

use super::Oracle;
use crate::observe::{Observation, Op, World};

/// What an entry is and what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    hash: u64,
    /// The term of the entry before; `None` when that is purged, or there is none.
    before: Option<u64>,
}

/// An entry of a term and index has one content and one predecessor. By induction over the index
/// that is log matching.
#[derive(Debug, Default)]
pub struct LogMatching {
    places: BTreeMap<(u64, u64), Place>,
}

impl Oracle for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Queued { op: Op::Append(first, marks) } = observation else { return Ok(()) };
        // The log is already as it is afterwards.
        let log = world.logs[&node].queued();
        for (index, mark) in (*first..).zip(marks) {
            let before =
                index.checked_sub(1).and_then(|before| log.entries.get(&before)).map(|mark| mark.term);
            if before.is_some_and(|before| before > mark.term) {
                return Err(format!("n{node} has T{}-{index} after term {before:?}", mark.term));
            }
            let place = Place { hash: mark.hash, before };
            let known = self.places.entry((mark.term, index)).or_insert(place);
            if known.hash != mark.hash {
                return Err(format!(
                    "n{node} has another entry at T{}-{index} than a node before",
                    mark.term
                ));
            }
            match (known.before, before) {
                (Some(one), Some(other)) if one != other => {
                    return Err(format!(
                        "before T{}-{index} stands term {one} and, at n{node}, {other}",
                        mark.term
                    ));
                }
                (None, Some(_)) => known.before = before,
                _ => {}
            }
        }
        Ok(())
    }
}
