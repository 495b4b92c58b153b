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
const BYTES: u64 = 4 * 1024 * 1024;

/// What a transaction removes that has nothing else to do: whoever comes meanwhile waits for it.
const IDLE_BYTES: u64 = 1024 * 1024;

/// While the queue never runs dry, every so many transactions remove some rows on the side: twice
/// as much as was written since, so that the file does not grow, and not all there is, since those
/// who append wait for it; but so much at least.
const RIDE_EVERY: u32 = 4;
const RIDE_BYTES: u64 = 256 * 1024;

/// What a transaction is to remove.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// Whose rows.
    pub(super) group: GroupId,
    /// The last index.
    pub(super) upto: u64,
    /// About how many bytes.
    pub(super) bytes: u64,
}

/// What is left to remove.
#[derive(Default)]
pub(super) struct Sweep {
    pending: BTreeMap<GroupId, u64>,
    since: u32,
    /// Bytes written since rows were removed.
    written: u64,
}

impl Sweep {
    /// Rows of all these groups may be left from before.
    pub(super) fn new(pending: BTreeMap<GroupId, u64>) -> Self {
        Self { pending, since: 0, written: 0 }
    }

    /// Whether there is anything to remove.
    pub(super) fn pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What a transaction of its own removes.
    pub(super) fn idle(&self) -> Option<Share> {
        let (group, upto) = self.pending.first_key_value()?;
        Some(Share { group: *group, upto: *upto, bytes: IDLE_BYTES })
    }

    /// What the transaction that is about to be made removes beside its own.
    pub(super) fn ride(&mut self, hurry: bool) -> Option<Share> {
        self.since += 1;
        if !hurry && self.since < RIDE_EVERY {
            return None;
        }
        let share = self.idle()?;
        let bytes = if hurry { BYTES } else { (2 * self.written).clamp(RIDE_BYTES, BYTES) };
        (self.since, self.written) = (0, 0);
        Some(Share { bytes, ..share })
    }

    /// So many bytes were written.
    pub(super) fn written(&mut self, bytes: u64) {
        self.written += bytes;
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
}

/// Removes rows that lie wholly at or before the last index. Returns whether none is left.
pub(super) fn remove(
    log: &mut Table<'_, LogKey, &'static [u8]>,
    Share { group, upto, bytes: most }: Share,
) -> Result<bool, StorageError> {
    const DOING: &str = "remove purged entries";
    let g = group.get();
    let (mut last, mut rows, mut bytes, mut all) = (None, 0, 0_u64, true);
    for row in log.range((g, 0)..=(g, upto)).map_err(at(DOING))? {
        let (key, row) = row.map_err(at(DOING))?;
        let first = key.value().1;
        let end = first + parse(group, first, row.value())?.count() as u64;
        // The row that straddles the marker stays until a later purge.
        if end > upto + 1 {
            break;
        }
        if rows == ROWS || bytes >= most {
            all = false;
            break;
        }
        (last, rows, bytes) = (Some(first), rows + 1, bytes + row.value().len() as u64);
    }
    if let Some(last) = last {
        log.retain_in((g, 0)..=(g, last), |_, _| false).map_err(at(DOING))?;
    }
    Ok(all)
}
