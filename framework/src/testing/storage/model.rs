//! What a group must hold after some writes.

use std::ops::Range;

use bytes::Bytes;

use super::StorageHarness;
use super::store::{Store, assert_entries, entries_difference};
use crate::storage::{GroupState, Write};
use crate::testing::Seeded;
use crate::types::{GroupId, LogIndex};

#[derive(Clone, Debug)]
pub(super) struct Model {
    first: u64,
    entries: Vec<Bytes>,
    vote: Option<Bytes>,
    purged: Option<Bytes>,
    /// The markers that may be found: the last that was flushed along with another write, and any
    /// later one.
    committed: Vec<Option<Bytes>>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self { first: 0, entries: Vec::new(), vote: None, purged: None, committed: vec![None] }
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn log(&self) -> Range<u64> {
        self.first..self.end()
    }

    pub(super) fn apply(&mut self, write: &Write) {
        match write {
            Write::Append { first, entries } => {
                assert_eq!(first.0, self.end(), "the kit itself appends with a gap");
                self.entries.extend_from_slice(entries);
            }
            Write::Truncate { from } => {
                let keep = usize::try_from(from.0.saturating_sub(self.first)).expect("a small index");
                self.entries.truncate(keep);
            }
            Write::Purge { upto, marker } => {
                let count = usize::try_from(upto.0 + 1 - self.first).expect("a small index");
                self.entries.drain(..count.min(self.entries.len()));
                self.first = upto.0 + 1;
                self.purged = Some(marker.clone());
            }
            Write::Vote(vote) => self.vote = Some(vote.clone()),
            Write::Committed(marker) => {
                self.committed.push(Some(marker.clone()));
                return;
            }
        }
        self.committed.drain(..self.committed.len() - 1);
    }

    /// A write that is allowed now.
    pub(super) fn draw_write(&self, rng: &mut Seeded) -> Write {
        match rng.draw(0..12) {
            0 => Write::Truncate { from: LogIndex(rng.draw(self.first..self.end() + 2)) },
            1 => {
                let past_the_end = if rng.one_in(3) { 3 } else { 0 };
                let upto = rng.draw(self.first..self.end() + 1 + past_the_end);
                Write::Purge { upto: LogIndex(upto), marker: rng.bytes(1..40) }
            }
            2 | 3 => Write::Vote(rng.bytes(1..60)),
            4 | 5 => Write::Committed(rng.bytes(1..60)),
            _ => {
                let longest = if rng.one_in(10) { 100_000 } else { 300 };
                let entries = (0..rng.draw(1..6)).map(|_| rng.bytes(1..longest)).collect();
                Write::Append { first: LogIndex(self.end()), entries }
            }
        }
    }

    /// What of `state` is not as it must be.
    pub(super) fn difference(&self, state: &GroupState) -> Option<String> {
        let log = self.first..self.end();
        if state.log != log {
            return Some(format!("the log is {:?}, expected {log:?}", state.log));
        }
        if state.vote != self.vote {
            return Some(format!("the vote is {:?}, expected {:?}", state.vote, self.vote));
        }
        if state.purged != self.purged {
            return Some(format!("the purge marker is {:?}, expected {:?}", state.purged, self.purged));
        }
        if !self.committed.contains(&state.committed) {
            return Some(format!(
                "the committed marker is {:?}, expected one of {:?}",
                state.committed, self.committed
            ));
        }
        None
    }

    /// Remembers which of the possible markers a storage has shown: it cannot change its mind.
    pub(super) fn found_committed(&mut self, marker: Option<Bytes>) {
        self.committed = vec![marker];
    }

    /// Whether a storage that shows `state` and `entries` can be this one.
    pub(super) fn matches(&self, state: &GroupState, entries: &[Bytes]) -> bool {
        self.difference(state).is_none() && entries == self.entries
    }

    /// Fails unless a storage that was just opened shows this group. The model then knows which
    /// committed marker was found.
    pub(super) async fn check<H: StorageHarness>(&mut self, store: &Store<H>, group: GroupId, when: &str) {
        let state = store.open(group).await;
        if let Some(difference) = self.difference(&state) {
            panic!("{group}, {when}: {difference}");
        }
        self.found_committed(state.committed);
        self.check_entries(store, group, when).await;
    }

    /// Fails unless the entries of this group can be read.
    pub(super) async fn check_entries<H: StorageHarness>(
        &self,
        store: &Store<H>,
        group: GroupId,
        when: &str,
    ) {
        let entries = store.entries(group, self.first..self.end()).await;
        assert_entries(&entries, &self.entries, &format!("{group}, {when}"));
    }

    /// What is wrong with `found`, the answer to a read of `range`.
    pub(super) fn read_difference(&self, range: &Range<u64>, found: &[Bytes]) -> Option<String> {
        let inside = range.start.max(self.first)..range.end.min(self.end());
        if inside.start != range.start || inside.is_empty() {
            return (!found.is_empty()).then(|| {
                format!(
                    "a read of {range:?} returned {} entries, and #{} is not there",
                    found.len(),
                    range.start
                )
            });
        }
        if found.is_empty() {
            return Some(format!("a read of {range:?} returned nothing, and #{} is there", range.start));
        }
        let at = |index: u64| usize::try_from(index - self.first).expect("a small index");
        let expected = &self.entries[at(inside.start)..at(inside.end)];
        if found.len() > expected.len() {
            return Some(format!(
                "a read of {range:?} returned {} entries, and only {inside:?} are there",
                found.len()
            ));
        }
        entries_difference(found, &expected[..found.len()]).map(|what| format!("a read of {range:?}: {what}"))
    }

    /// What of the whole log is not as it must be.
    pub(super) fn log_difference(&self, found: &[Bytes]) -> Option<String> {
        entries_difference(found, &self.entries)
    }
}
