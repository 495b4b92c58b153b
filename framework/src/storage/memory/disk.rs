//! Everything behind the lock: the groups, and what is queued in front of them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use super::faults::StorageOperation;
use super::group::Group;
use super::snapshot::Snapshot;
use crate::error::StorageError;
use crate::storage::{Flushed, Identity, Write};
use crate::types::GroupId;

/// What can be queued: both kinds are durable only once they are performed.
pub(super) enum Job {
    Write(Write),
    Snapshot(Arc<Snapshot>),
}

/// The durable image of every group, and the jobs that wait to get there. What a process would see
/// as its live state is the image with the queue applied.
#[derive(Default)]
pub(super) struct Disk {
    /// Set by a crash: this process is dead, and the image has moved on to another handle.
    pub(super) crashed: bool,
    pub(super) identity: Option<Identity>,
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// Whether flushes are held back.
    pub(super) holding: bool,
    /// Held back, in the order of the calls.
    pub(super) queue: VecDeque<(GroupId, Job, Flushed)>,
    /// Receipts to be used outside the lock, in order.
    pub(super) answers: VecDeque<(Flushed, Result<(), StorageError>)>,
    /// Whether some thread is using `answers`.
    pub(super) answering: bool,
    /// What it says of the room for a snapshot.
    pub(super) snapshot_room: Option<u64>,
    /// Operations whose next call fails.
    pub(super) to_fail: Vec<StorageOperation>,
}

impl Disk {
    /// Fails when this process is dead, or when a test asked for it.
    pub(super) fn begin(&mut self, operation: StorageOperation) -> Result<(), StorageError> {
        if self.crashed {
            return Err(StorageError::Closed);
        }
        if let Some(place) = self.to_fail.iter().position(|to_fail| *to_fail == operation) {
            self.to_fail.remove(place);
            let source = io::Error::other("a fault was injected");
            return Err(StorageError::Io { doing: operation.doing(), path: None, source });
        }
        Ok(())
    }

    pub(super) fn accepts_writes(&self, group: GroupId) -> bool {
        !self.crashed && self.groups.get(&group).is_none_or(|group| !group.failed)
    }

    /// Makes `job` durable.
    pub(super) fn perform(&mut self, group: GroupId, job: Job) -> Result<(), StorageError> {
        match job {
            Job::Write(write) => {
                let begun = if self.to_fail.is_empty() && !self.crashed {
                    Ok(())
                } else {
                    self.begin(StorageOperation::Write)
                };
                let image = self.groups.entry(group).or_default();
                if begun.is_err() {
                    image.failed = true;
                    return begun;
                }
                image.apply(group, write)
            }
            Job::Snapshot(snapshot) => {
                self.begin(StorageOperation::SnapshotCommit)?;
                self.groups.entry(group).or_default().commit(snapshot)
            }
        }
    }
}
