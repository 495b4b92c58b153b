//! The deep check: every row and value of the log, beyond what redb checks of its pages.

use std::collections::BTreeMap;

use quorate::error::StorageError;
use quorate::storage::is_whole_entry;
use quorate::types::GroupId;
use redb::ReadableTable;

use crate::database::Tables;
use crate::error::{at, damaged};
use crate::meta::{self, Name, Purged};
use crate::read::{self, missing, overlap};

const CHECKING: &str = "check log.redb";

/// Whether there is no entry, vote or marker of any group.
pub(crate) fn is_empty(tables: &Tables) -> Result<bool, StorageError> {
    let log = tables.log.first().map_err(at(CHECKING))?;
    if log.is_some() {
        return Ok(false);
    }
    for value in tables.meta.iter().map_err(at(CHECKING))? {
        // The number of a commit is no group's.
        if value.map_err(at(CHECKING))?.0.value().1 != Name::Commit.as_str() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads everything, and fails on the first thing that cannot be.
pub(crate) fn check(tables: &Tables) -> Result<(), StorageError> {
    rows(tables, |_, _, _| {})
}

/// As [`check`], of a file that is known to be damaged somewhere: looks at the entries, too. They
/// are the framework's, and so is their checksum.
pub(crate) fn examine(tables: &Tables) -> Result<(), StorageError> {
    let mut found = None;
    let mut whole = false;
    let checked = rows(tables, |group, index, entry| {
        if is_whole_entry(entry) {
            whole = true;
        } else if found.is_none() {
            found = Some((group, index));
        }
    });
    match found {
        // Where no entry is whole they are not the framework's at all.
        Some((group, index)) if whole => Err(read::not_whole(group, index)),
        _ => checked,
    }
}

/// Checks all rows and values, and calls `each` with each entry.
fn rows(tables: &Tables, mut each: impl FnMut(GroupId, u64, &[u8])) -> Result<(), StorageError> {
    let purged = values(tables)?;
    let mut before: Option<(GroupId, u64)> = None;
    for row in tables.log.iter().map_err(at(CHECKING))? {
        let (key, value) = row.map_err(at(CHECKING))?;
        let (group, first) = (GroupId(key.value().0), key.value().1);
        let row = read::parse(group, first, value.value())?;
        for (at, index) in (0..row.count()).zip(first..) {
            let bounds = row.bounds(at).map_err(|error| read::damaged(group, index, &error))?;
            each(group, index, &row.payload()[bounds]);
        }
        let visible = purged.get(&group).map_or(0, |upto| upto + 1);
        let expected = match before {
            Some((same, end)) if same == group => Some(end.max(visible)),
            // Before the first entry of a group nothing is missing, but for what the marker says.
            _ => (visible > 0).then_some(visible),
        };
        match before {
            Some((same, end)) if same == group && first < end => return Err(overlap(group, end, first)),
            _ => {}
        }
        if let Some(expected) = expected.filter(|expected| first > *expected) {
            return Err(missing(group, expected, first));
        }
        before = Some((group, first + row.count() as u64));
    }
    Ok(())
}

/// Checks every value, and returns the purge markers.
fn values(tables: &Tables) -> Result<BTreeMap<GroupId, u64>, StorageError> {
    let mut purged = BTreeMap::new();
    for row in tables.meta.iter().map_err(at(CHECKING))? {
        let (key, value) = row.map_err(at(CHECKING))?;
        let (group, name) = (GroupId(key.value().0), key.value().1);
        let Some(name) = Name::ALL.into_iter().find(|known| known.as_str() == name) else {
            return Err(damaged(format!("a value of {group} is named {name}")));
        };
        let body = meta::decode(group, name, value.value())?;
        if name == Name::Purged {
            purged.insert(group, Purged::parse(group, &body)?.upto);
        }
    }
    Ok(purged)
}
