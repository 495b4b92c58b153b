//! Reads of the log: entries, and where a group stands.

use std::ops::Range;

use bytes::Bytes;
use quorate::error::StorageError;
use quorate::storage::GroupState;
use quorate::types::GroupId;
use redb::ReadableTable;

use crate::database::{LogKey, MetaKey, Tables};
use crate::error::{FILE, at};
use crate::meta::{self, Name, Purged};
use crate::row::{Row, RowError};

const READING: &str = "read log.redb";

/// Where the log of a group begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The last index purged.
    pub(crate) purged: Option<u64>,
    /// The indexes present. Empty: one past the purged index, or 0 when nothing was purged.
    pub(crate) log: Range<u64>,
}

/// The entries of `range` from its start, about `max_bytes` of them and at least one.
pub(crate) fn entries(
    tables: &Tables,
    group: GroupId,
    range: Range<u64>,
    max_bytes: usize,
) -> Result<Vec<Bytes>, StorageError> {
    let (g, mut next, mut left) = (group.get(), range.start, max_bytes);
    let mut found = Vec::new();
    let purged = purged(&tables.meta, group)?.map(|purged| purged.upto);
    // What cannot be read any more is at least the entry that comes next.
    let lost = |index: u64| move |error| named(error, || format!("entry {index} of {group}"));
    // Rows below the marker may be there still, waiting to be removed.
    if range.is_empty() || purged.is_some_and(|purged| next <= purged) {
        return Ok(found);
    }
    let Some(from) = last_key(&tables.log, (g, 0), (g, next)).map_err(lost(next))? else {
        // Before the first entry of a group that was never purged there is nothing.
        return if purged.is_none() { Ok(found) } else { none_from(tables, group, next).map(|()| found) };
    };
    let mut rows = tables.log.range((g, from)..=(g, u64::MAX)).map_err(at(READING)).map_err(lost(next))?;
    // The row behind the range is not looked at: it may be damaged, and is not asked for.
    while next < range.end
        && let Some(row) = rows.next()
    {
        let (key, value) = row.map_err(at(READING)).map_err(lost(next))?;
        let first = key.value().1;
        if first > next {
            return Err(missing(group, next, first));
        }
        let row = parse(group, first, value.value())?;
        let end = first + row.count() as u64;
        if first < next && !found.is_empty() {
            return Err(overlap(group, next, first));
        }
        if end <= next {
            continue;
        }
        let wanted = (next - first) as usize..(range.end.min(end) - first) as usize;
        let taken = take(&row, group, first, wanted.clone(), &mut left, &mut found)?;
        next += taken as u64;
        if taken < wanted.len() {
            break;
        }
    }
    Ok(found)
}

/// Adds the entries at `wanted` of a row while there is room, and always the very first. One copy
/// serves them all.
fn take(
    row: &Row<'_>,
    group: GroupId,
    first: u64,
    wanted: Range<usize>,
    left: &mut usize,
    found: &mut Vec<Bytes>,
) -> Result<usize, StorageError> {
    let bounds = |at: usize| row.bounds(at).map_err(|error| damaged(group, first + at as u64, &error));
    let mut taken = Vec::new();
    for at in wanted {
        let bounds = bounds(at)?;
        if bounds.len() > *left && !(found.is_empty() && taken.is_empty()) {
            break;
        }
        *left = left.saturating_sub(bounds.len());
        taken.push(bounds);
    }
    let (Some(start), Some(end)) = (taken.first().map(|b| b.start), taken.last().map(|b| b.end)) else {
        return Ok(0);
    };
    let copy = Bytes::copy_from_slice(&row.payload()[start..end]);
    found.extend(taken.iter().map(|bounds| copy.slice(bounds.start - start..bounds.end - start)));
    Ok(taken.len())
}

/// What a group finds when it starts.
pub(crate) fn state(tables: &Tables, group: GroupId) -> Result<GroupState, StorageError> {
    let extent = extent(&tables.log, &tables.meta, group)
        .map_err(|error| named(error, || format!("the log of {group}")))?;
    if let Some(purged) = extent.purged.filter(|_| !extent.log.is_empty()) {
        let holds_first = last_key(&tables.log, (group.get(), 0), (group.get(), purged + 1))?
            .map(|first| row_end(&tables.log, group, first))
            .transpose()
            .map_err(|error| named(error, || format!("entry {} of {group}", purged + 1)))?
            .is_some_and(|end| end > purged + 1);
        if !holds_first {
            return Err(missing(group, purged + 1, extent.log.end));
        }
    }
    Ok(GroupState {
        log: extent.log,
        vote: value(&tables.meta, group, Name::Vote)?,
        committed: value(&tables.meta, group, Name::Committed)?,
        purged: purged(&tables.meta, group)?.map(|purged| purged.marker),
    })
}

/// Where the log of `group` begins and ends.
pub(crate) fn extent(
    log: &impl ReadableTable<LogKey, &'static [u8]>,
    meta: &impl ReadableTable<MetaKey, &'static [u8]>,
    group: GroupId,
) -> Result<Extent, StorageError> {
    let g = group.get();
    let purged = purged(meta, group)?.map(|purged| purged.upto);
    let last = last_key(log, (g, 0), (g, u64::MAX))?;
    let end = last.map(|first| row_end(log, group, first)).transpose()?.unwrap_or(0);
    let log = match purged {
        Some(purged) => purged + 1..end.max(purged + 1),
        None => first_key(log, (g, 0), (g, u64::MAX))?.unwrap_or(0)..end,
    };
    Ok(Extent { purged, log })
}

/// The last purge of `group`.
pub(crate) fn purged(
    meta: &impl ReadableTable<MetaKey, &'static [u8]>,
    group: GroupId,
) -> Result<Option<Purged>, StorageError> {
    value(meta, group, Name::Purged)?.map(|body| Purged::parse(group, &body)).transpose()
}

/// The number of the last commit of the file; 0 in one that was never written, or not since commits
/// have numbers.
pub(crate) fn commit(meta: &impl ReadableTable<MetaKey, &'static [u8]>) -> Result<u64, StorageError> {
    let key = (meta::COMMIT_GROUP.get(), Name::Commit.as_str());
    let found = meta.get(key).map_err(at(READING))?;
    found.map_or(Ok(0), |value| meta::decode_commit(value.value()))
}

fn value(
    meta: &impl ReadableTable<MetaKey, &'static [u8]>,
    group: GroupId,
    name: Name,
) -> Result<Option<Bytes>, StorageError> {
    let found = meta.get((group.get(), name.as_str())).map_err(at(READING));
    let found = found.map_err(|error| named(error, || format!("the {} of {group}", name.as_str())))?;
    found.map(|value| meta::decode(group, name, value.value())).transpose()
}

/// The first index of the last row between two keys, both included.
pub(crate) fn last_key(
    log: &impl ReadableTable<LogKey, &'static [u8]>,
    from: LogKey,
    upto: LogKey,
) -> Result<Option<u64>, StorageError> {
    let row = log.range(from..=upto).map_err(at(READING))?.next_back();
    Ok(row.transpose().map_err(at(READING))?.map(|(key, _)| key.value().1))
}

fn first_key(
    log: &impl ReadableTable<LogKey, &'static [u8]>,
    from: LogKey,
    upto: LogKey,
) -> Result<Option<u64>, StorageError> {
    let row = log.range(from..=upto).map_err(at(READING))?.next();
    Ok(row.transpose().map_err(at(READING))?.map(|(key, _)| key.value().1))
}

/// One past the last index of the row that begins at `first`.
fn row_end(
    log: &impl ReadableTable<LogKey, &'static [u8]>,
    group: GroupId,
    first: u64,
) -> Result<u64, StorageError> {
    let row = log.get((group.get(), first)).map_err(at(READING))?;
    let row = row.ok_or_else(|| missing(group, first, first))?;
    Ok(first + parse(group, first, row.value())?.count() as u64)
}

/// A row that begins at `first`, checked.
pub(crate) fn parse(group: GroupId, first: u64, row: &[u8]) -> Result<Row<'_>, StorageError> {
    Row::parse(row).map_err(|error| damaged(group, first, &error))
}

/// An error of the file as a whole, with a name for what it lost.
fn named(error: StorageError, name: impl FnOnce() -> String) -> StorageError {
    match error {
        StorageError::Corrupt { what, detail } if what == FILE => {
            StorageError::Corrupt { what: name(), detail }
        }
        error => error,
    }
}

/// The entry at `index` cannot be read.
pub(crate) fn damaged(group: GroupId, index: u64, error: &RowError) -> StorageError {
    if let RowError::Version { found } = error {
        let supported = crate::row::VERSION.into();
        return StorageError::Version { what: "a row of log.redb", found: (*found).into(), supported };
    }
    StorageError::Corrupt { what: format!("entry {index} of {group}"), detail: error.to_string() }
}

/// The entry at `index` is not what was written.
pub(crate) fn not_whole(group: GroupId, index: u64) -> StorageError {
    StorageError::Corrupt {
        what: format!("entry {index} of {group}"),
        detail: "its checksum differs".to_owned(),
    }
}

/// The entry at `index` should be there.
pub(crate) fn missing(group: GroupId, index: u64, next: u64) -> StorageError {
    StorageError::Corrupt {
        what: format!("entry {index} of {group}"),
        detail: format!("it is missing; the next row begins at {next}"),
    }
}

/// Two rows hold the same entry.
pub(crate) fn overlap(group: GroupId, index: u64, first: u64) -> StorageError {
    StorageError::Corrupt {
        what: format!("entry {first} of {group}"),
        detail: format!("two rows hold it; the second begins before {index}"),
    }
}

/// Fails when `group` has an entry after `next`, which then is missing.
fn none_from(tables: &Tables, group: GroupId, next: u64) -> Result<(), StorageError> {
    match first_key(&tables.log, (group.get(), next), (group.get(), u64::MAX))? {
        Some(first) => Err(missing(group, next, first)),
        None => Ok(()),
    }
}
