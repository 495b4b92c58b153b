//! Snapshots in memory: invisible until committed, readable until dropped.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::disk::Job;
use super::{Shared, StorageOperation};
use crate::error::StorageError;
use crate::storage::{Flushed, SnapshotReader, SnapshotWriter, StoredSnapshot};
use crate::types::{GroupId, LogId};

/// The most bytes a reader hands out at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A committed snapshot.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) covers: LogId,
    /// None of them is empty.
    pub(super) chunks: Vec<Bytes>,
}

/// Opens `snapshot` for reading.
pub(super) fn open(snapshot: Arc<Snapshot>) -> StoredSnapshot {
    let len = snapshot.chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let covers = snapshot.covers;
    let reader = MemorySnapshotReader { snapshot, next: 0, rest: Bytes::new() };
    StoredSnapshot { covers, len, reader: Box::new(reader) }
}

pub(super) struct MemorySnapshotWriter {
    shared: Arc<Shared>,
    group: GroupId,
    chunks: Vec<Bytes>,
}

impl MemorySnapshotWriter {
    pub(super) fn new(shared: Arc<Shared>, group: GroupId) -> Self {
        Self { shared, group, chunks: Vec::new() }
    }
}

#[async_trait]
impl SnapshotWriter for MemorySnapshotWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        drop(self.shared.begin(StorageOperation::SnapshotWrite)?);
        if !chunk.is_empty() {
            self.chunks.push(chunk);
        }
        Ok(())
    }

    async fn commit(self: Box<Self>, covers: LogId) -> Result<(), StorageError> {
        let (flushed, receipt) = Flushed::pair();
        let snapshot = Snapshot { covers, chunks: self.chunks };
        self.shared.submit(self.group, Job::Snapshot(Arc::new(snapshot)), flushed);
        receipt.await
    }
}

struct MemorySnapshotReader {
    snapshot: Arc<Snapshot>,
    next: usize,
    rest: Bytes,
}

#[async_trait]
impl SnapshotReader for MemorySnapshotReader {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        if self.rest.is_empty() {
            let Some(chunk) = self.snapshot.chunks.get(self.next) else { return Ok(None) };
            self.rest = chunk.clone();
            self.next += 1;
        }
        Ok(Some(self.rest.split_to(self.rest.len().min(CHUNK_BYTES))))
    }
}
