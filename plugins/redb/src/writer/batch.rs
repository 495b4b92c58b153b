//! One batch of writes as one transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::error::StorageError;
use quorate::storage::Write;
use quorate::types::{GroupId, LogIndex};
use redb::{Database, ReadableTable, Table, WriteTransaction};

use super::Job;
use super::sweep::{self, Amount};
use crate::database::{Durability, LOG, LogKey, META, MetaKey};
use crate::error::at;
use crate::meta::{self, Name, Purged};
use crate::read::{self, Extent};
use crate::row;

const WRITING: &str = "write log.redb";

/// What to write.
pub(super) struct Batch<'a> {
    pub(super) jobs: &'a mut Vec<Job>,
    /// Adds to them what was queued meanwhile: called when all is ready for them.
    pub(super) join: &'a mut dyn FnMut(&mut Vec<Job>),
    /// Committed markers that wait for a transaction to ride with.
    pub(super) committed: &'a BTreeMap<GroupId, Bytes>,
    /// Where the groups stand; those missing are read.
    pub(super) extents: &'a BTreeMap<GroupId, Extent>,
    /// Up to where the groups were purged of which rows are left.
    pub(super) pending: &'a BTreeMap<GroupId, u64>,
    /// How many of those rows to remove.
    pub(super) sweep: Option<Amount>,
    /// The same batch failed before and may or may not be on the disk.
    pub(super) replay: bool,
    /// The commit's own.
    pub(super) number: u64,
}

/// What follows from a batch that was committed.
#[derive(Default)]
pub(super) struct Outcome {
    /// Where the groups stand that were written to.
    pub(super) extents: BTreeMap<GroupId, Extent>,
    /// What was purged.
    pub(super) purges: BTreeMap<GroupId, u64>,
    /// Of these groups nothing is left to remove up to there.
    pub(super) swept: Vec<(GroupId, u64)>,
    /// What was removed.
    pub(super) removed: Amount,
    /// What was written.
    pub(super) written: Amount,
}

/// The framework broke the order of the log.
#[derive(Debug, thiserror::Error)]
#[error("an append to {group} begins at {found}, not at {expected}")]
struct Gap {
    group: GroupId,
    found: LogIndex,
    expected: LogIndex,
}

impl Batch<'_> {
    /// Writes and flushes it.
    pub(super) fn commit(self, durability: Durability, database: &Database) -> Result<Outcome, StorageError> {
        let txn = durability.begin(database)?;
        let outcome = {
            let log = txn.open_table(LOG).map_err(at(WRITING))?;
            if !self.replay {
                (self.join)(self.jobs);
            }
            let mut open = Open {
                txn: &txn,
                log,
                known: self.extents,
                replay: self.replay,
                rows: BTreeMap::new(),
                values: BTreeMap::new(),
                outcome: Outcome::default(),
            };
            for (group, marker) in self.committed {
                open.set(*group, Name::Committed, marker);
            }
            for job in &*self.jobs {
                open.apply(job.group, &job.write)?;
            }
            open.finish(self.pending, self.sweep, self.number)?
        };
        txn.commit().map_err(at("flush log.redb"))?;
        Ok(outcome)
    }
}

/// Entries of a group that follow each other and are not in the table yet.
struct OpenRow<'a> {
    first: u64,
    entries: Vec<&'a Bytes>,
    payload: usize,
}

impl OpenRow<'_> {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

struct Open<'a> {
    txn: &'a WriteTransaction,
    log: Table<'a, LogKey, &'static [u8]>,
    known: &'a BTreeMap<GroupId, Extent>,
    replay: bool,
    rows: BTreeMap<GroupId, OpenRow<'a>>,
    /// The last value of each key: those before it never reach the table.
    values: BTreeMap<(GroupId, Name), Vec<u8>>,
    outcome: Outcome,
}

impl<'a> Open<'a> {
    fn apply(&mut self, group: GroupId, write: &'a Write) -> Result<(), StorageError> {
        match write {
            Write::Append { first, entries } => self.append(group, first.get(), entries),
            Write::Truncate { from } => self.truncate(group, from.get()),
            Write::Purge { upto, marker } => self.purge(group, upto.get(), marker),
            Write::Vote(vote) => {
                self.set(group, Name::Vote, vote);
                Ok(())
            }
            Write::Committed(marker) => {
                self.set(group, Name::Committed, marker);
                Ok(())
            }
        }
    }

    /// The table of values.
    fn meta(&self) -> Result<Table<'a, MetaKey, &'static [u8]>, StorageError> {
        self.txn.open_table(META).map_err(at(WRITING))
    }

    /// Where `group` stands, to be changed.
    fn extent(&mut self, group: GroupId) -> Result<&mut Extent, StorageError> {
        if !self.outcome.extents.contains_key(&group) {
            let extent = match self.known.get(&group) {
                Some(extent) => extent.clone(),
                None => read::extent(&self.log, &self.meta()?, group)?,
            };
            self.outcome.extents.insert(group, extent);
        }
        Ok(self.outcome.extents.get_mut(&group).expect("it was just put there"))
    }

    fn append(&mut self, group: GroupId, first: u64, entries: &'a [Bytes]) -> Result<(), StorageError> {
        let replay = self.replay;
        let end = self.extent(group)?.log.end;
        if replay && first != end {
            // The first try may have reached the disk, with whatever else the batch holds: all of
            // it done once more gives the same. A gap is closed by what cut the log the first time.
            self.cut(group, first)?;
            let extent = self.extent(group)?;
            extent.log = extent.log.start.min(first)..first;
        }
        let extent = self.extent(group)?;
        if extent.log.is_empty() && extent.purged.is_none() {
            extent.log = first..first;
        }
        if first != extent.log.end {
            let gap = Gap { group, found: LogIndex(first), expected: LogIndex(extent.log.end) };
            return Err(StorageError::plugin("append", gap));
        }
        extent.log.end += entries.len() as u64;
        for (index, entry) in (first..).zip(entries) {
            self.push(group, index, entry)?;
        }
        Ok(())
    }

    fn push(&mut self, group: GroupId, index: u64, entry: &'a Bytes) -> Result<(), StorageError> {
        if let Some(open) = self.rows.get_mut(&group) {
            if open.end() == index && row::fits(open.entries.len(), open.payload, entry.len()) {
                open.payload += entry.len();
                open.entries.push(entry);
                return Ok(());
            }
            self.put_row(group)?;
        }
        self.rows.insert(group, OpenRow { first: index, entries: vec![entry], payload: entry.len() });
        Ok(())
    }

    /// Moves the open row of `group` into the table, as one row or as a few.
    fn put_row(&mut self, group: GroupId) -> Result<(), StorageError> {
        let Some(open) = self.rows.remove(&group) else { return Ok(()) };
        let (mut first, mut rest) = (open.first, open.entries.as_slice());
        while !rest.is_empty() {
            let entries;
            (entries, rest) = rest.split_at(row::count_of_first(rest));
            let len = row::size(entries.len(), entries.iter().map(|entry| entry.len()).sum());
            let mut slot = self.log.insert_reserve((group.get(), first), len).map_err(at(WRITING))?;
            row::encode(slot.as_mut(), entries);
            first += entries.len() as u64;
            self.outcome.written.add(len);
        }
        Ok(())
    }

    fn truncate(&mut self, group: GroupId, from: u64) -> Result<(), StorageError> {
        let extent = self.extent(group)?;
        if from >= extent.log.end {
            return Ok(());
        }
        // What lies below the marker is gone already, whatever is left of it.
        let from = from.max(extent.log.start);
        extent.log.end = from;
        if extent.log.is_empty() && extent.purged.is_none() {
            extent.log = 0..0;
        }
        self.cut(group, from)
    }

    /// Removes every entry from `from` on.
    fn cut(&mut self, group: GroupId, from: u64) -> Result<(), StorageError> {
        if let Some(open) = self.rows.get_mut(&group) {
            if open.first < from {
                let keep = open.entries.len().min((from - open.first) as usize);
                let cut = open.entries.drain(keep..).map(Bytes::len);
                open.payload -= cut.sum::<usize>();
                // Rows in the table lie before the open one.
                return Ok(());
            }
            self.rows.remove(&group);
        }
        let g = group.get();
        let before = self.log.range((g, 0)..(g, from)).map_err(at(WRITING))?.next_back();
        let straddling = match before.transpose().map_err(at(WRITING))? {
            Some((key, value)) => {
                let first = key.value().1;
                let row = read::parse(group, first, value.value())?;
                let keep = (from - first) as usize;
                let cut = row.count() > keep;
                let prefix = cut.then(|| row.prefix(keep)).transpose();
                prefix.map_err(|error| read::damaged(group, first, &error))?.map(|row| (first, row))
            }
            None => None,
        };
        self.log.retain_in((g, from)..=(g, u64::MAX), |_, _| false).map_err(at(WRITING))?;
        if let Some((first, row)) = straddling {
            self.log.insert((g, first), row.as_slice()).map_err(at(WRITING))?;
            self.outcome.written.add(row.len());
        }
        Ok(())
    }

    fn purge(&mut self, group: GroupId, upto: u64, marker: &Bytes) -> Result<(), StorageError> {
        let extent = self.extent(group)?;
        if extent.purged.is_some_and(|purged| purged > upto) {
            return Ok(());
        }
        extent.purged = Some(upto);
        extent.log = upto + 1..extent.log.end.max(upto + 1);
        self.outcome.purges.insert(group, upto);
        // Entries that nobody will read need not reach the table.
        if self.rows.get(&group).is_some_and(|open| open.end() <= upto + 1) {
            self.rows.remove(&group);
        }
        self.set(group, Name::Purged, &Purged { upto, marker: marker.clone() }.body());
        Ok(())
    }

    fn set(&mut self, group: GroupId, name: Name, body: &[u8]) {
        self.values.insert((group, name), meta::encode(group, name, body));
    }

    fn finish(
        mut self,
        pending: &BTreeMap<GroupId, u64>,
        sweep: Option<Amount>,
        number: u64,
    ) -> Result<Outcome, StorageError> {
        while let Some(group) = self.rows.keys().next().copied() {
            self.put_row(group)?;
        }
        let values = std::mem::take(&mut self.values);
        let mut meta = self.meta()?;
        for ((group, name), value) in values {
            meta.insert((group.get(), name.as_str()), value.as_slice()).map_err(at(WRITING))?;
            self.outcome.written.bytes += value.len();
        }
        let key = (meta::COMMIT_GROUP.get(), Name::Commit.as_str());
        meta.insert(key, meta::encode_commit(number).as_slice()).map_err(at(WRITING))?;
        drop(meta);
        if let Some(most) = sweep {
            (self.outcome.swept, self.outcome.removed) = sweep::remove(&mut self.log, pending, most)?;
        }
        Ok(self.outcome)
    }
}
