//! What the tests have in common.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{Flushed, GroupState, Identity, Receipt, Storage, Write};
use quorate::types::{ClusterId, DiskId, GroupId, LogId, LogIndex, NodeId};
use quorate_redb::RedbStorage;
use redb::{Database, ReadableDatabase, TableDefinition};

pub(crate) const G0: GroupId = GroupId(0);
pub(crate) const G1: GroupId = GroupId(1);

pub(crate) fn identity(node: u64) -> Identity {
    Identity { cluster_id: ClusterId([0xc1; 32]), node_id: NodeId(node), disk_id: DiskId([0xd1; 16]) }
}

/// A storage that has its identity, as every node's has before it writes.
pub(crate) fn open(dir: &Path) -> RedbStorage {
    let storage = RedbStorage::open(dir).expect("it opens");
    block_on(storage.set_identity_once(&identity(1))).expect("its own identity");
    storage
}

/// What entry `index` of `group` says, `len` bytes of it.
pub(crate) fn entry(group: GroupId, index: u64, len: usize) -> Bytes {
    let text = format!("{group}/{index}/");
    text.bytes().cycle().take(len).collect()
}

pub(crate) fn append_of(group: GroupId, range: Range<u64>, len: usize) -> Write {
    let entries = range.clone().map(|index| entry(group, index, len)).collect();
    Write::Append { first: LogIndex(range.start), entries }
}

pub(crate) fn purge_of(upto: u64) -> Write {
    Write::Purge { upto: LogIndex(upto), marker: Bytes::from(format!("upto {upto}")) }
}

pub(crate) fn truncate_of(from: u64) -> Write {
    Write::Truncate { from: LogIndex(from) }
}

pub(crate) fn vote_of(text: &str) -> Write {
    Write::Vote(Bytes::copy_from_slice(text.as_bytes()))
}

/// Queues `write`.
pub(crate) fn queue(storage: &RedbStorage, group: GroupId, write: Write) -> Receipt {
    let (flushed, receipt) = Flushed::pair();
    storage.write(group, write, flushed);
    receipt
}

/// Queues `write` and waits for the flush.
pub(crate) fn try_write(storage: &RedbStorage, group: GroupId, write: Write) -> Result<(), StorageError> {
    block_on(queue(storage, group, write))
}

/// Queues `write` and waits for the flush, which must come.
pub(crate) fn write(storage: &RedbStorage, group: GroupId, write: Write) {
    try_write(storage, group, write).expect("a sound disk");
}

pub(crate) fn state(storage: &RedbStorage, group: GroupId) -> GroupState {
    block_on(storage.open(group)).expect("a sound log")
}

pub(crate) fn try_read(
    storage: &RedbStorage,
    group: GroupId,
    range: Range<u64>,
    max_bytes: usize,
) -> Result<Vec<Bytes>, StorageError> {
    block_on(storage.read(group, LogIndex(range.start)..LogIndex(range.end), max_bytes))
}

pub(crate) fn read(storage: &RedbStorage, group: GroupId, range: Range<u64>) -> Vec<Bytes> {
    try_read(storage, group, range, usize::MAX).expect("a sound log")
}

/// Asserts that `group` has exactly the entries of `range`, as [`entry`] makes them.
#[track_caller]
pub(crate) fn assert_log(storage: &RedbStorage, group: GroupId, range: Range<u64>, len: usize) {
    assert_eq!(state(storage, group).log, range, "the log of {group}");
    let expected: Vec<Bytes> = range.clone().map(|index| entry(group, index, len)).collect();
    assert!(read(storage, group, range.start..u64::MAX) == expected, "the entries of {group} differ");
}

/// Writes and commits a snapshot.
pub(crate) fn snapshot(
    storage: &RedbStorage,
    group: GroupId,
    covers: LogId,
    chunks: &[&[u8]],
) -> Result<(), StorageError> {
    block_on(async {
        let mut writer = storage.snapshot_writer(group).await?;
        for chunk in chunks {
            writer.write(Bytes::copy_from_slice(chunk)).await?;
        }
        writer.commit(covers).await
    })
}

/// Reads the current snapshot: what it covers, and its bytes.
pub(crate) fn read_snapshot(
    storage: &RedbStorage,
    group: GroupId,
) -> Result<Option<(LogId, Vec<u8>)>, StorageError> {
    block_on(async {
        let Some(mut stored) = storage.snapshot(group).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        while let Some(chunk) = stored.reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(bytes.len() as u64, stored.len);
        Ok(Some((stored.covers, bytes)))
    })
}

pub(crate) const LOG: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("log");

/// The rows of `group` as they are in the file: first index and bytes.
pub(crate) fn rows(dir: &Path, group: GroupId) -> Vec<(u64, Vec<u8>)> {
    let database = Database::open(dir.join("log.redb")).expect("closed before");
    let log = database.begin_read().expect("readable").open_table(LOG).expect("the table");
    let rows = log.range((group.get(), 0)..=(group.get(), u64::MAX)).expect("readable");
    rows.map(|row| row.map(|(key, value)| (key.value().1, value.value().to_vec())).expect("readable"))
        .collect()
}
