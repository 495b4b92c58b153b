//! Who led which term and with which log: what a quorum is depends on whom that log names as members.

use std::collections::{BTreeMap, BTreeSet};

use super::{Log, Members, World};

/// The leader of a term, by its log. That grows while it leads, and nothing of it is removed.
#[derive(Clone, Debug, Default)]
pub struct Leader {
    /// Of the log that it was elected with: the last index of each stretch of entries of one term.
    stretches: BTreeMap<u64, u64>,
    /// Up to where that was purged.
    purged: Option<u64>,
    /// Where its own entries begin.
    first: u64,
    /// Where its log names the members, by index and term. Of what was purged before anybody showed that it
    /// is committed, whatever may stand there.
    members: BTreeSet<(u64, u64)>,
}

impl Leader {
    fn holds(&self, index: u64, term: u64) -> bool {
        let stretch = self.stretches.range(index..).next();
        self.purged.is_some_and(|upto| index <= upto) || stretch.is_some_and(|(_, of)| *of == term)
    }
}

/// A way in which an entry may come to be committed: a leader counts who has one of its own (Raft paper,
/// section 5.4.2).
struct Way<'a> {
    /// The first of its own that stands there, or behind it.
    index: u64,
    term: u64,
    /// Whom it may count by: the members in force there, or any that its log names behind that.
    members: Vec<&'a Members>,
}

impl World {
    /// A node leads a term, unless that is known, with this log before its first own entry.
    pub(super) fn leads(&mut self, term: u64, log: impl FnOnce(&Self) -> Log) {
        if self.leaders.contains_key(&term) {
            return;
        }
        let log = &log(self);
        let mut stretches = BTreeMap::new();
        let mut last = None;
        for (index, mark) in &log.entries {
            if let Some((before, of)) = last.filter(|(_, of)| *of != mark.term) {
                stretches.insert(before, of);
            }
            last = Some((*index, mark.term));
        }
        stretches.extend(last);
        let named = self.members.keys().copied().filter(|(index, term)| self.is_in(log, *index, *term));
        let members = named.collect();
        let first = log.last().map_or(0, |last| last + 1);
        self.leaders.insert(term, Leader { stretches, purged: log.purged, first, members });
    }

    /// The leader of a term names the members at an index.
    pub(super) fn names_members(&mut self, index: u64, term: u64) {
        if let Some(leader) = self.leaders.get_mut(&term) {
            leader.members.insert((index, term));
        }
    }

    /// A node knows that everything in its log is committed up to here.
    pub(super) fn decide(&mut self, node: u64, upto: Option<u64>) {
        let (Some(upto), Some(log)) = (upto, self.logs.get(&node)) else { return };
        for (index, _) in self.members.range(..=(upto, u64::MAX)).map(|(at, _)| at) {
            if let Some(mark) = log.queued().entries.get(index) {
                self.decided.entry(*index).or_insert(mark.term);
            }
        }
    }

    /// Whether the membership at `index` of `term` may stand in a log: of what is purged, only what was
    /// committed does.
    fn is_in(&self, log: &Log, index: u64, term: u64) -> bool {
        log.holds(index, term)
            && (log.entries.contains_key(&index) || self.decided.get(&index).is_none_or(|of| *of == term))
    }

    /// The memberships that are known to be committed, from the first on: at some of the indexes where one
    /// was appended something else is.
    pub fn decided_members(&self) -> impl DoubleEndedIterator<Item = (u64, &Members)> {
        self.decided.iter().filter_map(|(index, term)| Some((*index, self.members.get(&(*index, *term))?)))
    }

    /// The members in force in `log` up to `upto`, and where they stand; `None` when nothing names them.
    pub fn members_in(&self, log: &Log, upto: u64) -> Option<((u64, u64), &Members)> {
        let mut before = self.members.range(..=(upto, u64::MAX)).rev();
        let found = before.find(|((index, term), _)| self.is_in(log, *index, *term));
        found.map(|(at, members)| (*at, members))
    }

    fn ways(&self, index: u64, term: u64) -> impl Iterator<Item = Way<'_>> {
        self.leaders.range(term..).filter_map(move |(of, leader)| {
            if *of != term && !leader.holds(index, term) {
                return None;
            }
            let counts = index.max(leader.first);
            let is_sure = |at: &u64| leader.purged < Some(*at) || self.decided.contains_key(at);
            let mut before = leader.members.range(..=(counts, u64::MAX)).map(|(at, _)| *at).rev();
            let in_force = before.find(is_sure).unwrap_or(0);
            let members = leader.members.range((in_force, 0)..).filter_map(|at| self.members.get(at));
            Some(Way { index: counts, term: *of, members: members.collect() })
        })
    }

    /// Whether some leader may have committed the entry at `index` of `term`, by what is flushed where.
    ///
    /// # Errors
    /// Who has it, when no quorum has what it must have.
    pub fn is_on_quorum(&self, index: u64, term: u64) -> Result<(), Missing> {
        // A disk that is lost had its part in it, and so had one of a machine whose id is another's now.
        let had = |node: &u64, index, term| {
            let former = self.former.get(node).into_iter().flatten();
            former.chain(self.lost.get(node)).any(|log| log.holds(index, term))
        };
        let has = |node: &u64, index, term| {
            self.logs.get(node).is_some_and(|log| log.durable().holds(index, term)) || had(node, index, term)
        };
        let first = Members::first(self.size);
        let mut voters = None;
        for Way { index, term, mut members } in self.ways(index, term) {
            if members.is_empty() {
                members.push(&first);
            }
            if members.iter().any(|members| members.has_quorum(|node| has(&node, index, term))) {
                return Ok(());
            }
            voters.get_or_insert_with(|| members[0].voters.clone());
        }
        let have = self.logs.keys().copied().filter(|node| has(node, index, term)).collect();
        Err(Missing { have, voters: voters.unwrap_or(first.voters) })
    }
}

/// Why nobody can have committed an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Who has flushed it.
    pub have: BTreeSet<u64>,
    /// The voters in force where it stands.
    pub voters: Vec<BTreeSet<u64>>,
}
