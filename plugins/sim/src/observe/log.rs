//! A node's log as its storage must have it: what is flushed, and what is queued behind that.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate::storage::Write;

use super::entry::{EntryMark, VoteMark};

/// A write, by what of it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Entries from an index on.
    Append(u64, Vec<EntryMark>),
    /// Removes the entry at an index and every later one.
    Truncate(u64),
    /// Removes every entry up to and including an index.
    Purge(u64),
    /// Replaces the vote.
    Vote(VoteMark),
}

impl Op {
    /// The operation of a write; `None` for the committed marker, of which nothing is promised.
    pub fn of(write: &Write) -> Option<Self> {
        match write {
            Write::Append { first, entries } => {
                let mark = |(index, entry): (u64, &Bytes)| EntryMark::of(index, entry);
                Some(Self::Append(first.get(), (first.get()..).zip(entries).map(mark).collect()))
            }
            Write::Truncate { from } => Some(Self::Truncate(from.get())),
            Write::Purge { upto, .. } => Some(Self::Purge(upto.get())),
            Write::Vote(bytes) => Some(Self::Vote(VoteMark::of(bytes))),
            Write::Committed(_) => None,
        }
    }
}

/// A log and a vote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    /// The entries that are there.
    pub entries: BTreeMap<u64, EntryMark>,
    /// The index up to which they are purged, inclusive.
    pub purged: Option<u64>,
    /// The vote.
    pub vote: Option<VoteMark>,
}

impl Log {
    /// Does `op`.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Append(first, marks) => self.entries.extend((*first..).zip(marks.iter().copied())),
            Op::Truncate(from) => drop(self.entries.split_off(from)),
            Op::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto + 1));
                self.purged = Some(*upto);
            }
            Op::Vote(vote) => self.vote = Some(*vote),
        }
    }

    /// Whether the entry at `index` of `term` is there, or was and is covered by a snapshot.
    pub fn holds(&self, index: u64, term: u64) -> bool {
        self.purged.is_some_and(|upto| index <= upto)
            || self.entries.get(&index).is_some_and(|mark| mark.term == term)
    }

    /// The index of the last entry, also when it is purged.
    pub fn last(&self) -> Option<u64> {
        self.entries.keys().next_back().copied().or(self.purged)
    }
}

/// A node's log: as it is flushed, and as it will be.
#[derive(Clone, Debug, Default)]
pub struct NodeLog {
    boot: u64,
    durable: Log,
    queued: Log,
    waiting: VecDeque<Op>,
}

impl NodeLog {
    /// What would survive a power cut now.
    pub fn durable(&self) -> &Log {
        &self.durable
    }

    /// What will be there when all that is queued is flushed.
    pub fn queued(&self) -> &Log {
        &self.queued
    }

    /// How many operations are queued and not flushed.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Goes up with every crash.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    pub(super) fn queue(&mut self, op: Op) {
        self.queued.apply(&op);
        self.waiting.push_back(op);
    }

    /// Whether the receipt was the next in order.
    pub(super) fn flushed(&mut self, op: &Op) -> bool {
        let in_order = self.waiting.pop_front().as_ref() == Some(op);
        self.durable.apply(op);
        in_order
    }

    pub(super) fn crash(&mut self) {
        self.boot += 1;
    }

    /// Takes what was found, whatever was flushed: the disk is not the one of before.
    pub(super) fn replace(&mut self, found: &Log) {
        (self.durable, self.queued) = (found.clone(), found.clone());
        self.waiting.clear();
    }

    /// Whether `found` is what a crash may leave: everything that was flushed, and of what was queued
    /// behind it the first few. Goes on from there.
    pub fn reopen(&mut self, found: &Log) -> Result<(), String> {
        let mut possible = self.durable.clone();
        let mut waiting = std::mem::take(&mut self.waiting);
        loop {
            if possible == *found {
                self.durable = possible.clone();
                self.queued = possible;
                return Ok(());
            }
            let Some(op) = waiting.pop_front() else {
                return Err(difference(&self.durable, found));
            };
            possible.apply(&op);
        }
    }
}

fn difference(durable: &Log, found: &Log) -> String {
    let brief = |log: &Log| {
        let first = log.entries.keys().next();
        format!("entries {first:?} to {:?}, purged {:?}, {:?}", log.last(), log.purged, log.vote)
    };
    let differs = |(index, mark): (&u64, &EntryMark)| found.entries.get(index) != Some(mark);
    let lost = durable.entries.iter().find(|(index, mark)| differs((index, mark))).map(|(index, _)| index);
    format!(
        "flushed were {}; found after the crash are {}; the first flushed entry that is not as it was: {lost:?}",
        brief(durable),
        brief(found)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(term: u64) -> EntryMark {
        EntryMark { term, hash: term }
    }

    fn after(flushed: &[Op], queued: &[Op]) -> NodeLog {
        let mut log = NodeLog::default();
        for op in flushed.iter().chain(queued) {
            log.queue(op.clone());
        }
        assert!(flushed.iter().all(|op| log.flushed(op)));
        log
    }

    fn log_of(ops: &[Op]) -> Log {
        let mut log = Log::default();
        for op in ops {
            log.apply(op);
        }
        log
    }

    #[test]
    fn a_crash_leaves_what_was_flushed_and_the_first_of_what_was_not() {
        let vote = VoteMark { term: 2, committed: false, node: 1 };
        let flushed = [Op::Append(0, vec![mark(1), mark(1)])];
        let queued = [Op::Vote(vote), Op::Truncate(1), Op::Append(1, vec![mark(2)])];
        for kept in 0..=3 {
            let all: Vec<Op> = flushed.iter().chain(&queued[..kept]).cloned().collect();
            assert!(after(&flushed, &queued).reopen(&log_of(&all)).is_ok(), "{kept}");
        }
        let without_the_vote = [flushed[0].clone(), queued[1].clone(), queued[2].clone()];
        assert!(after(&flushed, &queued).reopen(&log_of(&without_the_vote)).is_err());
        assert!(after(&flushed, &queued).reopen(&Log::default()).is_err(), "what was flushed is gone");
    }

    #[test]
    fn what_a_snapshot_covers_is_held() {
        let log = log_of(&[Op::Append(0, vec![mark(1), mark(1), mark(3)]), Op::Purge(1)]);
        assert!(log.holds(0, 9) && log.holds(2, 3) && !log.holds(2, 2) && !log.holds(3, 3));
        assert_eq!(log.last(), Some(2));
        assert_eq!(log_of(&[Op::Purge(7)]).last(), Some(7));
    }
}
