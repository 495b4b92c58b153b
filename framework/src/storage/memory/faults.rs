//! What a test can do to a disk: hold flushes back, cut the power, fail operations, flip bits.

use std::sync::Arc;

use bytes::Bytes;

use super::MemoryStorage;
use super::disk::Disk;
use super::group::Group;
use crate::error::StorageError;
use crate::storage::Health;
use crate::types::{GroupId, LogIndex};
use crate::watch::Watcher;

/// An operation that [`MemoryStorage::fail_next`] can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageOperation {
    /// Reading or recording the identity.
    Identity,
    /// Opening a group.
    Open,
    /// A write of any kind. Every later write of its group fails too.
    Write,
    /// Reading entries.
    Read,
    /// Beginning a snapshot, or writing a chunk of one.
    SnapshotWrite,
    /// Committing a snapshot.
    SnapshotCommit,
    /// Opening a snapshot for reading.
    SnapshotRead,
}

impl StorageOperation {
    pub(super) fn doing(self) -> &'static str {
        match self {
            Self::Identity => "read or record the identity",
            Self::Open => "open the group",
            Self::Write => "flush a write",
            Self::Read => "read entries",
            Self::SnapshotWrite => "write a snapshot",
            Self::SnapshotCommit => "commit a snapshot",
            Self::SnapshotRead => "open a snapshot",
        }
    }
}

/// Stored bytes that [`MemoryStorage::flip_bit`] can damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredBytes {
    /// An entry of the log.
    Entry(LogIndex),
    /// The vote.
    Vote,
    /// The committed marker.
    Committed,
    /// The marker of the last purge.
    Purged,
    /// The committed snapshot.
    Snapshot,
}

impl MemoryStorage {
    /// Holds back every later write and snapshot commit, as a disk does that is slow to flush: they
    /// keep their order, they are not visible, and their receipts stay unused. Only the receipt of
    /// a committed marker is used at once.
    pub fn hold_flushes(&self) {
        self.shared.lock().holding = true;
    }

    /// Flushes everything held back, in order, and holds nothing back from now on.
    pub fn release(&self) {
        let mut disk = self.shared.lock();
        // Under one lock with the flush, or a write in between would overtake those held back.
        disk.holding = false;
        self.shared.flush_locked(disk, usize::MAX);
    }

    /// Flushes the `count` oldest of the writes held back, or as many as there are, and returns how
    /// many that was.
    pub fn flush_held(&self, count: usize) -> usize {
        self.shared.flush(count)
    }

    /// Watches how many writes and snapshot commits are held back.
    pub fn held(&self) -> Watcher<usize> {
        self.shared.held.watch()
    }

    /// Cuts the power: returns the disk as the next process finds it, without anything that was not
    /// flushed. Outstanding receipts are dropped and so report a failure.
    ///
    /// The process that used this handle and its clones is dead from then on: whatever it still
    /// does here fails and reaches the disk no more.
    ///
    /// # Panics
    /// When this handle has crashed before: its disk is in the handle returned then.
    #[must_use = "the disk goes on in the handle returned"]
    pub fn crash(&self) -> Self {
        self.crash_keeping(0)
    }

    /// Like [`Self::crash`], but the `count` oldest of the writes held back had just reached the
    /// disk, although nobody was told.
    ///
    /// # Panics
    /// When this handle has crashed before: its disk is in the handle returned then.
    #[must_use = "the disk goes on in the handle returned"]
    pub fn crash_keeping(&self, count: usize) -> Self {
        let mut disk = self.shared.lock();
        assert!(!disk.crashed, "this handle has crashed before: use the one returned then");
        for _ in 0..count {
            let Some((group, job, flushed)) = disk.queue.pop_front() else { break };
            // A write that fails now is one that did not reach the disk.
            let _ = disk.perform(group, job);
            disk.answers.push_back((flushed, Err(StorageError::ReceiptDropped)));
        }
        while let Some((_, _, flushed)) = disk.queue.pop_front() {
            disk.answers.push_back((flushed, Err(StorageError::ReceiptDropped)));
        }
        let mut groups = std::mem::take(&mut disk.groups);
        groups.values_mut().for_each(Group::lose_power);
        let identity = disk.identity.take();
        disk.crashed = true;
        disk.holding = false;
        self.shared.held.set(0);
        drop(disk);
        self.shared.health.set(Health::Failed);
        self.shared.answer();
        Self::on(Disk { identity, groups, ..Disk::default() })
    }

    /// Makes the next call of `operation`, in any group, fail with an error of the operating
    /// system. Asked twice, the next two calls fail.
    pub fn fail_next(&self, operation: StorageOperation) {
        self.shared.lock().to_fail.push(operation);
    }

    /// Sets what [`Storage::health`](crate::storage::Storage::health) shows.
    pub fn set_health(&self, health: Health) {
        self.shared.health.set(health);
    }

    /// Sets what [`Storage::snapshot_room`](crate::storage::Storage::snapshot_room) says. It refuses no
    /// snapshot by itself.
    pub fn set_snapshot_room(&self, bytes: Option<u64>) {
        self.shared.lock().snapshot_room = bytes;
    }

    /// Watches whether the node says that it is short of room elsewhere.
    pub fn room_wanted(&self) -> Watcher<bool> {
        self.shared.room_wanted.watch()
    }

    /// Flips bit number `bit`, counted from the lowest bit of the first byte and modulo their
    /// number, of bytes that are stored. Returns whether there are such bytes.
    pub fn flip_bit(&self, group: GroupId, stored: StoredBytes, bit: usize) -> bool {
        let mut disk = self.shared.lock();
        let Some(image) = disk.groups.get_mut(&group) else { return false };
        let bytes = match stored {
            StoredBytes::Entry(index) => image.entry_mut(index),
            StoredBytes::Vote => image.vote.as_mut(),
            StoredBytes::Committed => image.committed.as_mut(),
            StoredBytes::Purged => image.purged.as_mut(),
            // Readers that are open keep the bytes they opened.
            StoredBytes::Snapshot => {
                image.snapshot.as_mut().and_then(|snapshot| Arc::make_mut(snapshot).chunks.first_mut())
            }
        };
        match bytes {
            Some(bytes) if !bytes.is_empty() => {
                *bytes = flipped(bytes, bit);
                true
            }
            _ => false,
        }
    }
}

fn flipped(bytes: &Bytes, bit: usize) -> Bytes {
    let mut copy = bytes.to_vec();
    let bit = bit % (copy.len() * 8);
    copy[bit / 8] ^= 1 << (bit % 8);
    copy.into()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::executor::block_on;

    use super::*;
    use crate::storage::{Flushed, Receipt, Storage, Write};
    use crate::types::LogId;

    const G: GroupId = GroupId::MAIN;

    fn queue(storage: &MemoryStorage, write: Write) -> Receipt {
        let (flushed, receipt) = Flushed::pair();
        storage.write(G, write, flushed);
        receipt
    }

    fn append(first: u64, entry: &'static str) -> Write {
        Write::Append { first: LogIndex(first), entries: vec![entry.into()] }
    }

    fn vote(storage: &MemoryStorage) -> Option<Bytes> {
        block_on(storage.open(G)).expect("opens").vote
    }

    #[test]
    fn a_held_write_is_not_visible_until_released_and_keeps_its_place() {
        let storage = MemoryStorage::new();
        storage.hold_flushes();
        let mut first = queue(&storage, append(0, "a"));
        let mut second = queue(&storage, Write::Vote("v".into()));
        let mut committed = queue(&storage, Write::Committed("c".into()));
        assert_eq!((storage.held().get(), vote(&storage)), (3, None));
        assert!((&mut first).now_or_never().is_none());
        assert!(matches!((&mut committed).now_or_never(), Some(Ok(()))), "it need not wait");

        assert_eq!(storage.flush_held(1), 1);
        assert!(matches!((&mut first).now_or_never(), Some(Ok(()))));
        assert!((&mut second).now_or_never().is_none());
        storage.release();
        assert!(matches!(second.now_or_never(), Some(Ok(()))));
        assert_eq!((storage.held().get(), vote(&storage)), (0, Some("v".into())));
        assert!(matches!(queue(&storage, append(1, "b")).now_or_never(), Some(Ok(()))));
    }

    #[test]
    fn a_crash_loses_what_was_held_and_kills_the_old_handle() {
        let storage = MemoryStorage::new();
        block_on(queue(&storage, append(0, "a"))).expect("flushed");
        storage.hold_flushes();
        let kept = queue(&storage, append(1, "b"));
        let lost = queue(&storage, append(2, "c"));
        let after = storage.crash_keeping(1);
        assert!(matches!(block_on(kept), Err(StorageError::ReceiptDropped)), "nobody was told");
        assert!(matches!(block_on(lost), Err(StorageError::ReceiptDropped)));
        assert_eq!(block_on(after.open(G)).expect("opens").log, 0..2);

        let zombie = queue(&storage, append(2, "z"));
        assert!(matches!(block_on(zombie), Err(StorageError::Closed)));
        assert!(matches!(block_on(storage.open(G)), Err(StorageError::Closed)));
        assert_eq!(block_on(after.open(G)).expect("opens").log, 0..2);
    }

    #[test]
    fn a_held_snapshot_commit_is_lost_in_a_crash() {
        let storage = MemoryStorage::new();
        storage.hold_flushes();
        let mut writer = block_on(storage.snapshot_writer(G)).expect("begins");
        block_on(writer.write("bytes".into())).expect("writes");
        let mut commit = writer.commit(LogId::new(1, 1));
        assert!((&mut commit).now_or_never().is_none(), "a commit waits for the disk");
        let after = storage.crash();
        assert!(block_on(commit).is_err());
        assert!(block_on(after.snapshot(G)).expect("opens").is_none());
    }

    #[test]
    fn a_committed_marker_alone_is_lost_in_a_crash_and_rides_with_the_next_write() {
        let storage = MemoryStorage::new();
        block_on(queue(&storage, Write::Committed("1".into()))).expect("at once");
        let storage = storage.crash();
        assert_eq!(block_on(storage.open(G)).expect("opens").committed, None);
        block_on(queue(&storage, Write::Committed("2".into()))).expect("at once");
        block_on(queue(&storage, Write::Vote("v".into()))).expect("flushed");
        let storage = storage.crash();
        assert_eq!(block_on(storage.open(G)).expect("opens").committed, Some("2".into()));
    }

    #[test]
    fn after_a_failed_write_every_later_one_of_the_group_fails() {
        let storage = MemoryStorage::new();
        storage.fail_next(StorageOperation::Write);
        assert!(matches!(block_on(queue(&storage, append(0, "a"))), Err(StorageError::Io { .. })));
        assert!(block_on(queue(&storage, Write::Vote("v".into()))).is_err());
        assert!(block_on(queue(&storage, Write::Committed("c".into()))).is_err());
        storage.hold_flushes();
        let mut held = queue(&storage, Write::Committed("c".into()));
        assert!((&mut held).now_or_never().is_none(), "not acknowledged by mistake");
        storage.release();
        assert!(block_on(held).is_err());
        assert_eq!(storage.health().get(), Health::Failed);
        assert_eq!(vote(&storage), None);

        let (flushed, other) = Flushed::pair();
        storage.write(GroupId(9), Write::Vote("v".into()), flushed);
        assert!(block_on(other).is_ok(), "another group is not touched");
    }

    #[test]
    fn a_gap_is_a_broken_invariant() {
        let storage = MemoryStorage::new();
        let gap = block_on(queue(&storage, append(1, "a"))).expect_err("a gap");
        assert_eq!(gap.to_string(), "the log of g0 is damaged: #1 was appended where #0 is next");
        assert!(block_on(queue(&storage, append(0, "a"))).is_err());
    }

    #[test]
    fn each_operation_fails_once_when_asked() {
        let storage = MemoryStorage::new();
        storage.fail_next(StorageOperation::Read);
        let read = || block_on(storage.read(G, LogIndex(0)..LogIndex(1), 1));
        assert!(read().is_err());
        assert!(read().is_ok());
        storage.fail_next(StorageOperation::SnapshotCommit);
        let writer = block_on(storage.snapshot_writer(G)).expect("begins");
        assert!(block_on(writer.commit(LogId::new(1, 1))).is_err());
        assert!(block_on(storage.snapshot(G)).expect("opens").is_none());
    }

    #[test]
    fn a_flipped_bit_is_one_bit() {
        let storage = MemoryStorage::new();
        block_on(queue(&storage, append(0, "ab"))).expect("flushed");
        assert!(storage.flip_bit(G, StoredBytes::Entry(LogIndex(0)), 8));
        let read = block_on(storage.read(G, LogIndex(0)..LogIndex(1), 9)).expect("reads");
        assert_eq!(read, [Bytes::from("ac")]);
        assert!(!storage.flip_bit(G, StoredBytes::Entry(LogIndex(1)), 0));
        assert!(!storage.flip_bit(G, StoredBytes::Vote, 0));
    }

    #[test]
    fn a_receipt_may_lead_to_the_next_write() {
        let storage = MemoryStorage::new();
        let (flushed, receipt) = Flushed::pair();
        let again = storage.clone();
        let chained = Flushed::new(move |_| again.write(G, append(1, "b"), flushed));
        storage.hold_flushes();
        storage.write(G, append(0, "a"), chained);
        storage.release();
        block_on(receipt).expect("flushed");
        assert_eq!(block_on(storage.open(G)).expect("opens").log, 0..2);
    }
}
