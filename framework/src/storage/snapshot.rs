//! Snapshots as byte streams with an atomic commit.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StorageError;
use crate::types::LogId;

/// Which bytes a snapshot is, so that a transfer that broke off goes on with the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotId {
    /// The last log id it covers.
    pub covers: LogId,
    /// How many bytes it has.
    pub len: u64,
    /// As [`SnapshotReader::fingerprint`] of where they come from says.
    pub fingerprint: u32,
}

/// A snapshot to go on with, as [`Storage::resume_snapshot`](super::Storage::resume_snapshot) gives it.
pub struct ResumedSnapshot {
    /// Writes the bytes after those it holds.
    pub writer: Box<dyn SnapshotWriter>,
    /// The bytes it holds, durably. Read them before the next is written.
    pub held: Box<dyn SnapshotReader>,
}

impl ResumedSnapshot {
    /// One that holds nothing yet.
    pub fn fresh(writer: Box<dyn SnapshotWriter>) -> Self {
        Self { writer, held: Box::new(Nothing) }
    }
}

impl std::fmt::Debug for ResumedSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResumedSnapshot")
    }
}

/// Has no bytes.
struct Nothing;

#[async_trait]
impl SnapshotReader for Nothing {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        Ok(None)
    }
}

/// Writes one snapshot. Dropping it without [`SnapshotWriter::commit`] removes what was written.
#[async_trait]
pub trait SnapshotWriter: Send + Sync {
    /// Adds `chunk` at the end.
    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError>;

    /// Makes the snapshot the group's current one, durably and atomically, before returning.
    ///
    /// # Contract
    /// - After a crash the current snapshot is the old one or this one, whole, and this one once the
    ///   commit has returned (`snapshot_commit_is_atomic`, `snapshot_survives_crash_after_commit`).
    /// - A snapshot whose `covers` is smaller than the current one's never replaces it: then the
    ///   commit succeeds and changes nothing (`snapshot_never_replaces_a_newer`). One that covers
    ///   the same replaces it (`snapshot_of_the_same_log_id_replaces`).
    ///
    /// # Called by
    /// the engine, when every byte has been written and checked.
    async fn commit(self: Box<Self>, covers: LogId) -> Result<(), StorageError>;

    /// Removes what was written, where dropping might keep it to go on with. The default drops it.
    async fn discard(self: Box<Self>) {}
}

/// Reads one snapshot. It stays readable until dropped, even when a newer one is committed.
///
/// # Conformance
/// `snapshot_stays_readable_when_replaced`.
#[async_trait]
pub trait SnapshotReader: Send + Sync {
    /// The next bytes, `None` at the end. Never empty. The plugin picks the size: 64 KiB to 1 MiB
    /// is sensible.
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError>;

    /// What tells these bytes from others that cover the same and are as many, where it is known before
    /// they are read. A CRC-32C of them all will not do: they end in one of the framework's, and its
    /// CRC is always the same. Without a fingerprint a transfer that breaks off begins anew, which is
    /// the default.
    ///
    /// # Conformance
    /// `snapshots_have_fingerprints_of_their_own`.
    fn fingerprint(&self) -> Option<u32> {
        None
    }
}

/// A committed snapshot.
pub struct StoredSnapshot {
    /// The last log id the snapshot covers, as given to its commit.
    pub covers: LogId,
    /// How many bytes it has.
    pub len: u64,
    /// Its bytes.
    pub reader: Box<dyn SnapshotReader>,
}

impl std::fmt::Debug for StoredSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredSnapshot {{ covers: {}, len: {} }}", self.covers, self.len)
    }
}
