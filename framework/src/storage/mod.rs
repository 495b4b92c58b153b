//! Step 5 of a write: what a plugin must do to keep log, vote and snapshots on a disk.
//!
//! This folder owns the [`Storage`] contract and its in-memory implementation. It knows nothing of
//! commands, terms or votes: everything it keeps is bytes that the framework encoded and checksums.

mod flushed;
mod health;
mod memory;
mod snapshot;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::flushed::{Flushed, Receipt};
pub use self::health::Health;
pub use self::memory::{MemoryStorage, StorageOperation, StoredBytes};
pub use self::snapshot::{ResumedSnapshot, SnapshotId, SnapshotReader, SnapshotWriter, StoredSnapshot};
use crate::error::StorageError;
use crate::types::{ClusterId, DiskId, GroupId, LogId, LogIndex, NodeId};
use crate::watch::Watcher;

/// Whether `bytes` are an entry as the framework encoded it, by its checksum. A plugin need not look,
/// the framework checks every entry it reads; one that finds a damaged file may, to say what it lost.
pub fn is_whole_entry(bytes: &[u8]) -> bool {
    crate::format::entry::verify(bytes).is_ok()
}

/// What a data directory belongs to. Written once, before the first message to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The node in that cluster.
    pub node_id: NodeId,
    /// Drawn at random with the directory.
    pub disk_id: DiskId,
}

/// What a group finds on its disk when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// The indexes present, half open. Empty (`start == end`) when there are none; then `end` is
    /// one past the purged index, or 0 in a fresh group.
    pub log: Range<u64>,
    /// The last [`Write::Vote`].
    pub vote: Option<Bytes>,
    /// The last [`Write::Committed`] that reached the disk.
    pub committed: Option<Bytes>,
    /// The marker of the last [`Write::Purge`].
    pub purged: Option<Bytes>,
}

/// One write to a group. All kinds go through one queue, so that none overtakes another: a vote
/// that overtook an append would lose committed entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Adds `entries` at `first`, `first + 1` and so on. `first` is always one past the last entry
    /// queued, or one past the purged index when there is none. Never empty. An entry has at most
    /// [`crate::transport::MAX_FRAME_BYTES`] bytes.
    Append {
        /// The index of the first entry.
        first: LogIndex,
        /// The entries, each encoded and checksummed by the framework.
        entries: Vec<Bytes>,
    },
    /// Removes the entry at `from` and every later one. Past the end it does nothing.
    Truncate {
        /// The first index to remove.
        from: LogIndex,
    },
    /// Removes every entry up to and including `upto`, and keeps `marker`. May lie past the end:
    /// then the log is empty and goes on at `upto + 1`. The marker is a logical deletion in queue
    /// order; the space may be given back later. `upto` never goes back.
    Purge {
        /// The last index to remove.
        upto: LogIndex,
        /// Returned by [`GroupState::purged`].
        marker: Bytes,
    },
    /// Replaces the vote.
    Vote(Bytes),
    /// Replaces the committed marker. Lazy: it rides along with the next write that is flushed and
    /// never forces a flush. Its receipt may be used at once, and never waits for another write.
    Committed(Bytes),
}

/// An ordered writer, a reader, and snapshots: where a node keeps what it promised.
///
/// One value serves many groups, so that their flushes coalesce. The framework encodes, checksums
/// and caches; a plugin keeps bytes.
///
/// # Contract
/// - `write` only queues: it neither blocks nor refuses. The byte budget is the framework's
///   (`write_only_queues`).
/// - Writes to one group take effect in the order of the calls, whatever their kind
///   (`unflushed_is_absent_or_whole_after_crash`, `random_operations_match_a_model`,
///   `random_operations_and_crashes_match_a_model`).
/// - A receipt is used exactly once, when its write *and everything queued before it in the group*
///   would survive a power cut, and not before (`receipt_is_used_once`,
///   `every_write_point_survives_a_power_cut`). Receipts of a group are used in order
///   (`receipts_are_in_order`, `receipts_are_in_order_under_concurrency`).
/// - After any failed write of a group every later one fails too: the node stops
///   (`after_a_failed_write_every_later_one_fails`).
/// - `read` need not see entries that are not flushed; the framework keeps those itself
///   (`read_beside_writes_shows_no_hole`).
/// - A value must be safe to use from many threads (`many_threads_read_beside_writes`,
///   `receipts_are_in_order_under_concurrency`).
///
/// # Conformance
/// `quorate::storage_conformance!` runs the kit; the bullets above and
/// the methods below name its cases.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Returns what this storage belongs to, or `None` when nothing was ever recorded.
    ///
    /// # Errors
    /// A recorded identity that cannot be read is an error, never `None`: it is not guessed.
    ///
    /// # Conformance
    /// `identity_is_absent_at_first`, `identity_survives_reopen`, `identity_survives_crash`.
    async fn identity(&self) -> Result<Option<Identity>, StorageError>;

    /// Records what this storage belongs to, durably, before returning.
    ///
    /// # Errors
    /// [`StorageError::IdentityTaken`] when another identity is recorded. The same one again is
    /// fine.
    ///
    /// # Conformance
    /// `identity_is_written_once`.
    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError>;

    /// Returns the state of `group`, empty when it was never written to.
    ///
    /// # Called by
    /// the engine, once per group and start, before anything else of that group.
    ///
    /// # Conformance
    /// `fresh_group_is_empty`, `groups_do_not_mix`, `many_groups_interleave`,
    /// `reopen_shows_what_was_flushed`, `every_operation_survives_reopen`.
    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError>;

    /// Queues `write` behind everything queued before it in `group`.
    ///
    /// # Contract
    /// - `flushed` is used once the write would survive a power cut, and not before
    ///   (`append_survives_crash_after_flush`, `vote_survives_crash_after_flush`,
    ///   `truncate_and_purge_survive_crash_after_flush`). Dropping it unused reports
    ///   [`StorageError::ReceiptDropped`].
    /// - The receipt of [`Write::Committed`] may be used at once, and never waits for another write
    ///   (`committed_is_replaced`, `committed_rides_with_the_next_write`).
    ///
    /// # Called by
    /// the engine, one call at a time per group.
    ///
    /// # Conformance
    /// The log: `append_then_read`, `append_goes_on_after_reopen`, `truncate_removes_the_tail`,
    /// `truncate_past_the_end_does_nothing`, `truncate_of_everything_empties_the_log`,
    /// `append_after_truncate_replaces_the_tail`, `purge_removes_the_head_and_keeps_the_marker`,
    /// `purge_past_the_end_empties_the_log`, `purge_of_a_fresh_group_moves_its_start`.
    ///
    /// The vote: `vote_survives_reopen`, `vote_is_replaced`.
    fn write(&self, group: GroupId, write: Write, flushed: Flushed);

    /// Reads the entries of `range` in order, from its start, until about `max_bytes` are read.
    ///
    /// # Contract
    /// - At least one entry is returned when the first of the range is flushed, however large
    ///   (`read_is_bounded_and_never_empty`, `large_entries_come_back`).
    /// - Never a hole: what is returned begins at `range.start` and is consecutive. An index that
    ///   is not there ends the answer (`read_stops_at_the_end`).
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when an entry that should be there cannot be read whole.
    ///
    /// # Called by
    /// the engine, from many tasks, for what its cache no longer has.
    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError>;

    /// Begins a snapshot of `group`. Nothing of it is visible before its commit.
    ///
    /// # Conformance
    /// `snapshot_is_invisible_before_commit`, `snapshot_dropped_uncommitted_leaves_nothing`,
    /// `snapshot_replaces_the_older`, `snapshot_survives_reopen`, `snapshots_of_groups_do_not_mix`,
    /// `snapshot_not_committed_is_absent_after_crash`.
    async fn snapshot_writer(&self, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError>;

    /// Begins the snapshot `id` of `group`, or goes on with what an earlier call for the same one left
    /// behind. The default always begins.
    ///
    /// # Contract
    /// - What is held is a prefix of what was written under the same `id`, and durable: it is held again
    ///   after a restart and a power cut (`resumed_snapshot_goes_on_with_a_prefix`,
    ///   `resumed_snapshot_survives_crash`). It may be nothing.
    /// - An earlier writer of the group that is still there does not get into what this one writes
    ///   (`resumed_snapshot_is_not_disturbed_by_an_earlier_writer`).
    /// - A writer dropped uncommitted may keep what it wrote. [`SnapshotWriter::discard`] removes it
    ///   (`resumed_snapshot_discarded_leaves_nothing`), and so does a call with another `id`: at most
    ///   one is kept per group (`resumed_snapshot_of_another_id_begins_anew`,
    ///   `resumed_snapshots_of_groups_do_not_mix`).
    /// - Until its commit it is as invisible as any other, and its commit is as any other's
    ///   (`resumed_snapshot_is_invisible_before_commit`, `resumed_snapshot_never_replaces_a_newer`).
    ///
    /// # Called by
    /// the engine, for a snapshot that another node sends.
    async fn resume_snapshot(
        &self,
        group: GroupId,
        id: &SnapshotId,
    ) -> Result<ResumedSnapshot, StorageError> {
        let _ = id;
        Ok(ResumedSnapshot::fresh(self.snapshot_writer(group).await?))
    }

    /// Opens the last committed snapshot of `group`, or `None`.
    ///
    /// # Conformance
    /// `large_snapshot_comes_back`.
    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError>;

    /// Removes the last committed snapshot of `group` if it covers `upto` or less: what a machine on a disk
    /// has restored it has by itself. The default keeps it.
    ///
    /// # Contract
    /// - One that covers more stays (`removing_a_snapshot_spares_a_newer`), and so does that of another
    ///   group (`removing_a_snapshot_spares_other_groups`).
    /// - Then it is gone, or still there and whole, and the same after a restart and a power cut, when it
    ///   may be back (`removed_snapshot_is_gone_or_whole`, `removed_snapshot_is_gone_or_whole_after_crash`).
    /// - Whoever reads it reads on (`snapshot_stays_readable_when_removed`).
    ///
    /// # Called by
    /// the engine of a group whose machine is on a disk, once that is flushed up to `upto`.
    async fn remove_snapshot(&self, group: GroupId, upto: LogId) -> Result<(), StorageError> {
        let _ = (group, upto);
        Ok(())
    }

    /// Watches whether there is room for more.
    ///
    /// At [`Health::Low`] the framework refuses new writes as *not applied*; what is queued must
    /// still complete, from a reserve inside the plugin, and so must what elections, changes of members
    /// and deadlines append, which is little, and what an earlier leader left, which is an eighth of the
    /// node's `limits.queue_bytes`, or one append. The default is always [`Health::Ok`].
    fn health(&self) -> Watcher<Health> {
        Watcher::fixed(Health::Ok)
    }

    /// How many bytes a snapshot may take now, as far as can be told; `None` when it cannot.
    ///
    /// One that found no room ([`StorageError::Full`]), as this says, is taken again once it says that there
    /// is some. Without it, or when it says that there is, together with what that one took and may give back
    /// late, that is tried after a minute, and more seldom each time, and so is one of which nobody knows how
    /// long it will be. The default is `None`.
    ///
    /// # Contract
    /// - Never less than one may take, or it would come late
    ///   (`room_for_a_snapshot_is_what_one_may_take`). It may be more: then the next one is tried in vain.
    /// - What is held of one counts as room, whether it broke off or is still being written: another writer
    ///   goes on with it, or it goes (`room_for_a_snapshot_includes_what_is_held_of_it`).
    ///
    /// # Called by
    /// the engine, before it takes a snapshot, every second while one waits for room, and after one that
    /// found none. It may wait while a snapshot is begun, opened, committed or removed, with what is flushed
    /// for that, and for nothing else: not for the log, nor for what is still to arrive of one.
    fn snapshot_room(&self) -> Option<u64> {
        None
    }

    /// Says whether the node is short of room elsewhere, which may be on the same disk: the file of its
    /// machine.
    ///
    /// As long as it is, a storage gives back to the file system what it can spare, as it does when it
    /// is short itself, and takes no space ahead of need. The default does nothing.
    ///
    /// # Contract
    /// - Only asks, at any time and as often as it likes, and is answered at once: nothing that was or is being written is lost by
    ///   it (`making_room_loses_nothing`).
    ///
    /// # Called by
    /// the engine, when that changes.
    fn make_room(&self, wanted: bool) {
        let _ = wanted;
    }

    /// Completes what is queued and releases the storage, so that it can be opened again.
    ///
    /// # Called by
    /// the node, last of all, when it shuts down.
    ///
    /// # Conformance
    /// `close_completes_what_is_queued`.
    async fn close(&self) {}
}

#[async_trait]
impl<S: Storage + ?Sized> Storage for std::sync::Arc<S> {
    async fn identity(&self) -> Result<Option<Identity>, StorageError> {
        (**self).identity().await
    }
    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError> {
        (**self).set_identity_once(identity).await
    }
    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        (**self).open(group).await
    }
    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        (**self).write(group, write, flushed);
    }
    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        (**self).read(group, range, max_bytes).await
    }
    async fn snapshot_writer(&self, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        (**self).snapshot_writer(group).await
    }
    async fn resume_snapshot(
        &self,
        group: GroupId,
        id: &SnapshotId,
    ) -> Result<ResumedSnapshot, StorageError> {
        (**self).resume_snapshot(group, id).await
    }
    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        (**self).snapshot(group).await
    }
    async fn remove_snapshot(&self, group: GroupId, upto: LogId) -> Result<(), StorageError> {
        (**self).remove_snapshot(group, upto).await
    }
    fn health(&self) -> Watcher<Health> {
        (**self).health()
    }
    fn snapshot_room(&self) -> Option<u64> {
        (**self).snapshot_room()
    }
    fn make_room(&self, wanted: bool) {
        (**self).make_room(wanted);
    }
    async fn close(&self) {
        (**self).close().await;
    }
}
