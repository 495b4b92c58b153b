//! What is kept: groups, in memory as the log tells them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate::storage::{GroupState, Write};
use quorate::types::GroupId;

pub(crate) type Groups = BTreeMap<GroupId, Group>;

#[derive(Default)]
pub(crate) struct Group {
    /// The index of the first entry.
    pub(crate) first: u64,
    pub(crate) entries: VecDeque<Bytes>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<Bytes>,
}

impl Group {
    pub(crate) fn apply(&mut self, write: Write) {
        match write {
            Write::Append { entries, .. } => self.entries.extend(entries),
            Write::Truncate { from } => self.entries.truncate(from.0.saturating_sub(self.first) as usize),
            Write::Purge { upto, marker } => {
                let first = upto.next().0;
                let count = (first - self.first).min(self.entries.len() as u64);
                self.entries.drain(..count as usize);
                (self.first, self.purged) = (first, Some(marker));
            }
            Write::Vote(vote) => self.vote = Some(vote),
            Write::Committed(marker) => self.committed = Some(marker),
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        GroupState {
            log: self.first..self.first + self.entries.len() as u64,
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.clone(),
        }
    }
}
