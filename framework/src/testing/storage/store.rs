//! A storage under test, and the steps that every case is made of.

use std::ops::Range;

use bytes::Bytes;

use super::{CrashHarness, StorageHarness};
use crate::storage::{Flushed, GroupState, Receipt, Storage, Write};
use crate::types::{GroupId, LogId, LogIndex};

/// The group of cases that need only one.
pub(super) const G: GroupId = GroupId(1);

pub(super) struct Store<H: StorageHarness> {
    place: H::Place,
    pub(super) storage: H::Storage,
}

impl<H: StorageHarness> Store<H> {
    /// An empty storage.
    pub(super) async fn fresh() -> Self {
        Self::at(H::place()).await
    }

    /// An empty storage in which [`G`] is open.
    pub(super) async fn with_group() -> Self {
        let store = Self::fresh().await;
        store.open(G).await;
        store
    }

    async fn at(place: H::Place) -> Self {
        let storage = H::open(&place).await.expect("the storage opens");
        Self { place, storage }
    }

    /// Closes the storage and opens it again, as a restart in good order does.
    pub(super) async fn reopen(self) -> Self {
        let Self { place, storage } = self;
        storage.close().await;
        drop(storage);
        Self::at(place).await
    }

    /// Cuts the power and opens the storage again.
    pub(super) async fn crash(self) -> Self
    where
        H: CrashHarness,
    {
        let Self { mut place, storage } = self;
        H::crash(&mut place, storage).await;
        Self::at(place).await
    }

    /// Opens `group`. A case does so once for each opening of the storage, before anything else of
    /// that group, as the engine does.
    pub(super) async fn open(&self, group: GroupId) -> GroupState {
        self.storage.open(group).await.expect("the group opens")
    }

    pub(super) fn queue(&self, group: GroupId, write: Write) -> Receipt {
        let (flushed, receipt) = Flushed::pair();
        self.storage.write(group, write, flushed);
        receipt
    }

    /// Writes, and waits for the receipt.
    pub(super) async fn write(&self, group: GroupId, write: Write) {
        self.queue(group, write).await.expect("the write is flushed");
    }

    /// Appends entries to [`G`], and waits for the receipt.
    pub(super) async fn append(&self, first: u64, entries: &[Bytes]) {
        self.write(G, Write::Append { first: LogIndex(first), entries: entries.to_vec() }).await;
    }

    /// One call of `read`.
    pub(super) async fn read(&self, group: GroupId, range: Range<u64>, max_bytes: usize) -> Vec<Bytes> {
        let range = LogIndex(range.start)..LogIndex(range.end);
        self.storage.read(group, range, max_bytes).await.expect("the entries can be read")
    }

    /// Everything in `range`, in as many reads as it takes.
    pub(super) async fn entries(&self, group: GroupId, mut range: Range<u64>) -> Vec<Bytes> {
        let mut entries = Vec::new();
        while !range.is_empty() {
            let read = self.read(group, range.clone(), 1 << 20).await;
            if read.is_empty() {
                break;
            }
            range.start += read.len() as u64;
            entries.extend(read);
        }
        entries
    }

    /// Writes and commits a snapshot.
    pub(super) async fn write_snapshot(&self, group: GroupId, covers: LogId, chunks: &[Bytes]) {
        let mut writer = self.storage.snapshot_writer(group).await.expect("a snapshot begins");
        for chunk in chunks {
            writer.write(chunk.clone()).await.expect("a chunk is written");
        }
        writer.commit(covers).await.expect("the snapshot is committed");
    }

    /// The current snapshot: what it covers, and its bytes.
    pub(super) async fn read_snapshot(&self, group: GroupId) -> Option<(LogId, Bytes)> {
        let mut stored = self.storage.snapshot(group).await.expect("the snapshot opens")?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stored.reader.next().await.expect("the snapshot can be read") {
            assert!(!chunk.is_empty(), "a reader returned a chunk without bytes");
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(stored.len, bytes.len() as u64, "`StoredSnapshot::len` is not the length of its bytes");
        Some((stored.covers, bytes.into()))
    }
}

/// `count` short entries that tell where they belong.
pub(super) fn entries(name: &str, first: u64, count: u64) -> Vec<Bytes> {
    (first..first + count).map(|index| Bytes::from(format!("{name} {index}"))).collect()
}

/// Fails unless both lists are the same, without printing megabytes.
pub(super) fn assert_entries(found: &[Bytes], expected: &[Bytes], what: &str) {
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            found == expected,
            "{what}: entry {place} of {} is another one: {} bytes {:?}.., expected {} bytes {:?}..",
            found.len(),
            found.len(),
            found.slice(..found.len().min(40)),
            expected.len(),
            expected.slice(..expected.len().min(40)),
        );
    }
    assert_eq!(found.len(), expected.len(), "{what}: the number of entries");
}
