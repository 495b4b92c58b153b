//! A storage under test, and the steps that every case is made of.

use std::ops::Range;

use bytes::Bytes;

use super::identity::IDENTITY;
use super::steps::describe;
use super::{CrashHarness, StorageHarness};
use crate::error::StorageError;
use crate::storage::{Flushed, GroupState, Receipt, Storage, Write};
use crate::testing::run::doing;
use crate::types::{GroupId, LogId, LogIndex};

/// The group of cases that need only one.
pub(super) const G: GroupId = GroupId(1);

pub(super) struct Store<H: StorageHarness> {
    pub(super) place: H::Place,
    pub(super) storage: H::Storage,
}

impl<H: StorageHarness> Store<H> {
    /// An empty storage that belongs to nobody yet.
    pub(super) async fn blank() -> Self {
        Self::at(H::place()).await.expect("the storage opens")
    }

    /// An empty storage that belongs to a node, as every one does before anything else is written.
    pub(super) async fn fresh() -> Self {
        Self::try_fresh().await.expect("the storage opens, and takes an identity")
    }

    pub(super) async fn try_fresh() -> Result<Self, StorageError> {
        let store = Self::at(H::place()).await?;
        store.storage.set_identity_once(&IDENTITY).await?;
        Ok(store)
    }

    /// An empty storage in which [`G`] is open.
    pub(super) async fn with_group() -> Self {
        let store = Self::fresh().await;
        store.open(G).await;
        store
    }

    pub(super) async fn at(place: H::Place) -> Result<Self, StorageError> {
        doing("open the storage");
        let storage = H::open(&place).await?;
        Ok(Self { place, storage })
    }

    /// Closes the storage and opens it again, as a restart in good order does.
    pub(super) async fn reopen(self) -> Self {
        self.try_reopen().await.expect("the storage opens again after a close")
    }

    pub(super) async fn try_reopen(self) -> Result<Self, StorageError> {
        let Self { place, storage } = self;
        doing("close the storage");
        storage.close().await;
        drop(storage);
        Self::at(place).await
    }

    /// Cuts the power and opens the storage again.
    pub(super) async fn crash(self) -> Self
    where
        H: CrashHarness,
    {
        self.try_crash().await.expect("the storage opens after a power cut")
    }

    pub(super) async fn try_crash(self) -> Result<Self, StorageError>
    where
        H: CrashHarness,
    {
        let Self { mut place, storage } = self;
        doing("cut the power");
        H::crash(&mut place, Some(storage)).await;
        Self::at(place).await
    }

    /// Opens `group`. A case does so once for each opening of the storage, before anything else of
    /// that group, as the engine does.
    pub(super) async fn open(&self, group: GroupId) -> GroupState {
        self.try_open(group).await.expect("the group opens")
    }

    pub(super) async fn try_open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        doing(format!("open {group}"));
        self.storage.open(group).await
    }

    pub(super) fn queue(&self, group: GroupId, write: Write) -> Receipt {
        let (flushed, receipt) = Flushed::pair();
        self.storage.write(group, write, flushed);
        receipt
    }

    /// Writes, and waits for the receipt.
    pub(super) async fn write(&self, group: GroupId, write: Write) {
        let what = describe(&write);
        doing(format!("wait for the receipt of a write to {group}: {what}"));
        if let Err(error) = self.queue(group, write).await {
            panic!(
                "{group}: the receipt of a write was used with an error: {error:?}; the write was: {what}"
            );
        }
    }

    /// Appends entries to [`G`], and waits for the receipt.
    pub(super) async fn append(&self, first: u64, entries: &[Bytes]) {
        self.write(G, Write::Append { first: LogIndex(first), entries: entries.to_vec() }).await;
    }

    /// One call of `read`.
    pub(super) async fn read(&self, group: GroupId, range: Range<u64>, max_bytes: usize) -> Vec<Bytes> {
        doing(format!("read {range:?} of {group}, about {max_bytes} bytes"));
        let range = LogIndex(range.start)..LogIndex(range.end);
        self.storage.read(group, range, max_bytes).await.expect("the entries can be read")
    }

    /// Everything in `range`, in as many reads as it takes.
    pub(super) async fn entries(&self, group: GroupId, range: Range<u64>) -> Vec<Bytes> {
        self.try_entries(group, range).await.expect("the entries can be read")
    }

    pub(super) async fn try_entries(
        &self,
        group: GroupId,
        mut range: Range<u64>,
    ) -> Result<Vec<Bytes>, StorageError> {
        let mut entries = Vec::new();
        while !range.is_empty() {
            let next = LogIndex(range.start)..LogIndex(range.end);
            let read = self.storage.read(group, next, 1 << 20).await?;
            if read.is_empty() {
                break;
            }
            range.start += read.len() as u64;
            entries.extend(read);
        }
        Ok(entries)
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
        self.try_read_snapshot(group).await.unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    pub(super) async fn try_read_snapshot(&self, group: GroupId) -> Result<Option<(LogId, Bytes)>, String> {
        doing(format!("read the snapshot of {group}"));
        let failed = |error: StorageError| format!("{group}: the snapshot cannot be read: {error:?}");
        let Some(mut stored) = self.storage.snapshot(group).await.map_err(failed)? else { return Ok(None) };
        let mut bytes = Vec::new();
        while let Some(chunk) = stored.reader.next().await.map_err(failed)? {
            if chunk.is_empty() {
                return Err(format!("{group}: a reader returned a chunk without bytes before the end"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if stored.len != bytes.len() as u64 {
            return Err(format!(
                "{group}: `StoredSnapshot::len` is {}, and its reader returned {} bytes",
                stored.len,
                bytes.len()
            ));
        }
        Ok(Some((stored.covers, bytes.into())))
    }
}

/// `count` short entries that tell where they belong.
pub(super) fn entries(name: &str, first: u64, count: u64) -> Vec<Bytes> {
    (first..first + count).map(|index| Bytes::from(format!("{name} {index}"))).collect()
}

/// How the lists differ, without megabytes.
pub(super) fn entries_difference(found: &[Bytes], expected: &[Bytes]) -> Option<String> {
    let short = |entry: &Bytes| format!("{} bytes {:?}..", entry.len(), entry.slice(..entry.len().min(40)));
    let other = found.iter().zip(expected).position(|(found, expected)| found != expected);
    if let Some(place) = other {
        let (found_there, expected_there) = (short(&found[place]), short(&expected[place]));
        return Some(format!(
            "entry {place} of {} is another one: {found_there}, expected {expected_there}",
            found.len()
        ));
    }
    (found.len() != expected.len())
        .then(|| format!("{} entries were found, expected {}", found.len(), expected.len()))
}

/// Fails unless both lists are the same.
pub(super) fn assert_entries(found: &[Bytes], expected: &[Bytes], what: &str) {
    if let Some(difference) = entries_difference(found, expected) {
        panic!("{what}: {difference}");
    }
}
