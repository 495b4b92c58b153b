//! The physical removal of purged rows: later, a little at a time.
//!
//! A purge is a marker; readers stop at it. Each removed page is read before, so that a large
//! purge in one transaction would keep votes waiting behind it.

use std::collections::BTreeMap;

use quorate::error::StorageError;
use quorate::types::GroupId;
use redb::{ReadableTable, Table};

use crate::database::LogKey;
use crate::error::at;
use crate::read::parse;

/// How much a transaction removes that does nothing else: whoever comes meanwhile waits for it.
const IDLE: Amount = Amount { rows: 256, bytes: 1 << 20 };

/// How much a transaction removes on the side at least: those who append wait for it.
const RIDES: Amount = Amount { rows: 64, bytes: 256 << 10 };

/// How much at least when space is short.
const HURRY: Amount = Amount { rows: 256, bytes: 4 << 20 };

/// While the queue never runs dry, rows are removed on the side once so much has been written since,
/// and at the latest after so many transactions.
const RIDE_AFTER: Amount = Amount { rows: 64, bytes: 1 << 20 };
const RIDE_EVERY: u32 = 4;

/// Rows and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// How many.
    pub(super) rows: usize,
    /// How many bytes they have.
    pub(super) bytes: usize,
}

impl Amount {
    /// Adds one row.
    pub(super) fn add(&mut self, bytes: usize) {
        (self.rows, self.bytes) = (self.rows + 1, self.bytes + bytes);
    }

    /// Whether it is as much as `other`, in rows or in bytes.
    fn reaches(self, other: Self) -> bool {
        self.rows >= other.rows || self.bytes >= other.bytes
    }
}

/// What is left to remove.
#[derive(Default)]
pub(super) struct Sweep {
    pending: BTreeMap<GroupId, u64>,
    /// Transactions since some rows were removed, and what they wrote.
    since: u32,
    written: Amount,
}

impl Sweep {
    /// Rows of all these groups may be left from before.
    pub(super) fn new(pending: BTreeMap<GroupId, u64>) -> Self {
        Self { pending, ..Self::default() }
    }

    /// The last index to remove of each group that has rows to remove.
    pub(super) fn pending(&self) -> &BTreeMap<GroupId, u64> {
        &self.pending
    }

    /// These groups were purged up to these indexes.
    pub(super) fn add(&mut self, purges: BTreeMap<GroupId, u64>) {
        self.pending.extend(purges);
    }

    /// Nothing up to `upto` is left of `group`.
    pub(super) fn finished(&mut self, group: GroupId, upto: u64) {
        if self.pending.get(&group).is_some_and(|pending| *pending <= upto) {
            self.pending.remove(&group);
        }
    }

    /// A transaction wrote so much.
    pub(super) fn written(&mut self, amount: Amount) {
        self.since += 1;
        self.written.rows += amount.rows;
        self.written.bytes += amount.bytes;
    }

    /// How much a transaction removes that does nothing else.
    pub(super) fn idle(&mut self) -> Amount {
        self.since = 0;
        IDLE
    }

    /// How much the transaction that is about to be made removes on the side: twice what was written
    /// meanwhile, so that the file does not grow however busy it is.
    pub(super) fn rides(&mut self, hurry: bool) -> Option<Amount> {
        if self.pending.is_empty() {
            // What was written before there was anything to remove is not held against it.
            (self.since, self.written) = (0, Amount::default());
            return None;
        }
        if !hurry && self.since + 1 < RIDE_EVERY && !self.written.reaches(RIDE_AFTER) {
            return None;
        }
        let written = std::mem::take(&mut self.written);
        self.since = 0;
        let least = if hurry { HURRY } else { RIDES };
        Some(Amount { rows: least.rows.max(2 * written.rows), bytes: least.bytes.max(2 * written.bytes) })
    }
}

/// Removes rows that lie wholly at or before the index of their group, up to `most` of them.
/// Returns the groups of which none is left, and how much was removed.
pub(super) fn remove(
    log: &mut Table<'_, LogKey, &'static [u8]>,
    pending: &BTreeMap<GroupId, u64>,
    most: Amount,
) -> Result<(Vec<(GroupId, u64)>, Amount), StorageError> {
    let (mut swept, mut removed) = (Vec::new(), Amount::default());
    for (group, upto) in pending {
        if !remove_of(log, *group, *upto, most, &mut removed)? {
            break;
        }
        swept.push((*group, *upto));
    }
    Ok((swept, removed))
}

/// Removes rows of one group; whether none is left.
fn remove_of(
    log: &mut Table<'_, LogKey, &'static [u8]>,
    group: GroupId,
    upto: u64,
    most: Amount,
    removed: &mut Amount,
) -> Result<bool, StorageError> {
    const DOING: &str = "remove purged entries";
    let g = group.get();
    let (mut last, mut all) = (None, true);
    for row in log.range((g, 0)..=(g, upto)).map_err(at(DOING))? {
        let (key, row) = row.map_err(at(DOING))?;
        let first = key.value().1;
        let end = first + parse(group, first, row.value())?.count() as u64;
        // The row that straddles the marker stays until a later purge.
        if end > upto + 1 {
            break;
        }
        if removed.reaches(most) {
            all = false;
            break;
        }
        last = Some(first);
        removed.add(row.value().len());
    }
    if let Some(last) = last {
        log.retain_in((g, 0)..=(g, last), |_, _| false).map_err(at(DOING))?;
    }
    Ok(all)
}
