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

/// The most rows one transaction removes, and the most bytes.
const ROWS: usize = 256;
const BYTES: usize = 4 * 1024 * 1024;

/// While the queue never runs dry, every so many transactions remove some rows on the side.
const RIDE_EVERY: u32 = 16;

/// What is left to remove.
#[derive(Default)]
pub(super) struct Sweep {
    pending: BTreeMap<GroupId, u64>,
    since: u32,
}

impl Sweep {
    /// Rows of all these groups may be left from before.
    pub(super) fn new(pending: BTreeMap<GroupId, u64>) -> Self {
        Self { pending, since: 0 }
    }

    /// Whether there is anything to remove.
    pub(super) fn pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The next group to remove from, and the last index.
    pub(super) fn first(&self) -> Option<(GroupId, u64)> {
        self.pending.first_key_value().map(|(group, upto)| (*group, *upto))
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

    /// Whether the transaction that is about to be made removes some rows, too.
    pub(super) fn rides(&mut self, hurry: bool) -> bool {
        self.since += 1;
        let rides = self.pending() && (hurry || self.since >= RIDE_EVERY);
        if rides {
            self.since = 0;
        }
        rides
    }
}

/// Removes rows of `group` that lie wholly at or before `upto`. Returns whether none is left.
pub(super) fn remove(
    log: &mut Table<'_, LogKey, &'static [u8]>,
    group: GroupId,
    upto: u64,
) -> Result<bool, StorageError> {
    const DOING: &str = "remove purged entries";
    let g = group.get();
    let (mut last, mut rows, mut bytes, mut all) = (None, 0, 0, true);
    for row in log.range((g, 0)..=(g, upto)).map_err(at(DOING))? {
        let (key, row) = row.map_err(at(DOING))?;
        let first = key.value().1;
        let end = first + parse(group, first, row.value())?.count() as u64;
        // The row that straddles the marker stays until a later purge.
        if end > upto + 1 {
            break;
        }
        if rows == ROWS || bytes >= BYTES {
            all = false;
            break;
        }
        (last, rows, bytes) = (Some(first), rows + 1, bytes + row.value().len());
    }
    if let Some(last) = last {
        log.retain_in((g, 0)..=(g, last), |_, _| false).map_err(at(DOING))?;
    }
    Ok(all)
}
