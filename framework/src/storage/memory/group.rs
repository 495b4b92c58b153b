//! The durable image of one group.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::snapshot::Snapshot;
use crate::error::StorageError;
use crate::storage::{GroupState, Write};
use crate::types::{GroupId, LogIndex};

/// Log, vote, markers and snapshot of a group.
#[derive(Default)]
pub(super) struct Group {
    /// The index of the first entry, or of the next one when there is none.
    first: u64,
    log: VecDeque<Bytes>,
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
    /// Written lazily: becomes `committed` with the next write that is flushed.
    lazy_committed: Option<Bytes>,
    pub(super) purged: Option<Bytes>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// A write has failed, so every later one does.
    pub(super) failed: bool,
}

impl Group {
    fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    pub(super) fn state(&self) -> GroupState {
        GroupState {
            log: self.first..self.end(),
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.clone(),
        }
    }

    pub(super) fn apply(&mut self, group: GroupId, write: Write) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Closed);
        }
        if let Write::Committed(marker) = write {
            self.lazy_committed = Some(marker);
            return Ok(());
        }
        let result = self.apply_eagerly(group, write);
        match &result {
            Ok(()) => self.flush_committed(),
            Err(_) => self.failed = true,
        }
        result
    }

    fn apply_eagerly(&mut self, group: GroupId, write: Write) -> Result<(), StorageError> {
        match write {
            Write::Append { first, entries } => {
                if first.0 != self.end() {
                    return Err(broken(group, format!("{first} was appended where #{} is next", self.end())));
                }
                self.log.extend(entries);
            }
            Write::Truncate { from } => {
                // Not more than there are, and so it fits.
                self.log.truncate(from.0.saturating_sub(self.first).min(self.log.len() as u64) as usize);
            }
            Write::Purge { upto, marker } => {
                let first = upto.next().0;
                if first < self.first {
                    return Err(broken(group, format!("{upto} was purged after #{}", self.first - 1)));
                }
                let count = (first - self.first).min(self.log.len() as u64) as usize;
                self.log.drain(..count);
                self.first = first;
                self.purged = Some(marker);
            }
            Write::Vote(vote) => self.vote = Some(vote),
            Write::Committed(marker) => self.lazy_committed = Some(marker),
        }
        Ok(())
    }

    pub(super) fn flush_committed(&mut self) {
        if let Some(marker) = self.lazy_committed.take() {
            self.committed = Some(marker);
        }
    }

    /// What a power cut takes from an image: what was not flushed, and the memory of a failure.
    pub(super) fn lose_power(&mut self) {
        self.lazy_committed = None;
        self.failed = false;
    }

    pub(super) fn read(&self, range: Range<LogIndex>, max_bytes: usize) -> Vec<Bytes> {
        let Some(skip) = range.start.0.checked_sub(self.first).and_then(|skip| usize::try_from(skip).ok())
        else {
            return Vec::new();
        };
        let count = usize::try_from(range.end.0.saturating_sub(range.start.0)).unwrap_or(usize::MAX);
        let mut bytes = 0_usize;
        let fits = |entry: &&Bytes| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(entry.len());
            first || bytes <= max_bytes
        };
        self.log.iter().skip(skip).take(count).take_while(fits).cloned().collect()
    }

    pub(super) fn entry_mut(&mut self, index: LogIndex) -> Option<&mut Bytes> {
        let place = index.0.checked_sub(self.first)?;
        self.log.get_mut(usize::try_from(place).ok()?)
    }

    /// Makes `snapshot` the current one, unless a newer one is.
    pub(super) fn commit(&mut self, snapshot: Arc<Snapshot>) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Closed);
        }
        if self.snapshot.as_ref().is_none_or(|current| current.covers <= snapshot.covers) {
            self.snapshot = Some(snapshot);
        }
        Ok(())
    }
}

/// The caller broke an invariant: the log can no longer be what it believes.
fn broken(group: GroupId, detail: String) -> StorageError {
    StorageError::Corrupt { what: format!("the log of {group}"), detail }
}
