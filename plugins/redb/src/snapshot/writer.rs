//! Writes a snapshot: a file under another name, then its own.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use quorate::error::StorageError;
use quorate::storage::SnapshotWriter;
use quorate::types::{GroupId, LogId};

use super::partial::Kept;
use super::trailer::Trailer;
use super::{Snapshots, remove};
use crate::hooks::WriteFile;

/// How many bytes may be lost of what has arrived of another node's snapshot.
const KEEP_EVERY: u64 = 8 << 20;

/// Another writer goes on with the same snapshot.
#[derive(Debug, thiserror::Error)]
#[error("another transfer of the snapshot has taken over")]
pub(super) struct TakenOver;

/// A snapshot being written. Dropping it removes the file, or flushes it to go on with later.
pub(super) struct Writer {
    store: Arc<Snapshots>,
    group: GroupId,
    number: u64,
    path: PathBuf,
    /// `None` once it is committed or discarded.
    file: Option<Box<dyn WriteFile>>,
    at: Kept,
    /// How much of it the record says, for one that may be gone on with.
    kept: Option<Kept>,
}

impl Writer {
    /// Writes to the empty `file` at `path`.
    pub(super) fn new(
        store: Arc<Snapshots>,
        group: GroupId,
        number: u64,
        path: PathBuf,
        file: Box<dyn WriteFile>,
    ) -> Self {
        let at = Kept { len: 0, crc: crc32c::crc32c(&[]) };
        Self { store, group, number, path, file: Some(file), at, kept: None }
    }

    /// After the first bytes of it, and to be gone on with later in its turn.
    pub(super) fn after(mut self, kept: Kept) -> Self {
        (self.at, self.kept) = (kept, Some(kept));
        self
    }

    /// Whether nobody has taken over.
    fn owns(&self) -> bool {
        self.kept.is_none() || self.store.owns(self.group, self.number)
    }

    fn file(&mut self) -> &mut dyn WriteFile {
        self.file.as_mut().expect("the file is there until the commit, which ends the writer").as_mut()
    }

    fn io(&self, doing: &'static str) -> impl Fn(std::io::Error) -> StorageError + use<> {
        let path = self.path.clone();
        move |error| StorageError::io(doing, path.clone(), error)
    }

    /// Flushes what there is and records how much.
    fn keep(&mut self) -> Result<(), StorageError> {
        let flush = self.io("flush");
        self.file().sync().map_err(flush)?;
        self.at.write(self.store.files.as_ref(), &self.path)?;
        self.kept = Some(self.at);
        Ok(())
    }

    fn remove(&mut self) {
        if self.file.take().is_some() {
            if self.kept.is_some() {
                self.store.remove_partial(self.group, self.number, &self.path);
            } else {
                remove(self.store.files.as_ref(), &self.path);
            }
        }
    }
}

#[async_trait]
impl SnapshotWriter for Writer {
    /// Writing blocks the task for one chunk, and now and then for a flush.
    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        if !self.owns() {
            return Err(StorageError::plugin("write a snapshot", TakenOver));
        }
        self.store.check_room(chunk.len())?;
        let io = self.io("write");
        self.file().append(&chunk).map_err(io)?;
        self.at.len += chunk.len() as u64;
        self.at.crc = crc32c::crc32c_append(self.at.crc, &chunk);
        if self.kept.is_some_and(|kept| self.at.len - kept.len >= KEEP_EVERY) {
            self.keep()?;
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>, covers: LogId) -> Result<(), StorageError> {
        let trailer = Trailer { group: self.group, covers, len: self.at.len, crc: self.at.crc };
        let (write, flush) = (self.io("write"), self.io("flush"));
        let owner = self.kept.map(|_| self.number);
        let (store, group) = (self.store.clone(), self.group);
        // Where another has taken over, a trailer would land in the middle of what it writes.
        store.owned(group, owner, || self.file().append(&trailer.encode()).map_err(write))?;
        self.file().sync().map_err(flush)?;
        if self.store.commit(self.group, covers, &self.path, owner)? {
            // Renamed: there is nothing to remove any more, but for the record.
            self.file = None;
            if self.kept.is_some() {
                self.store.remove_partial(self.group, self.number, &self.path);
            }
        } else {
            // A newer one is there: nobody will go on with this.
            self.remove();
        }
        Ok(())
    }

    async fn discard(mut self: Box<Self>) {
        self.remove();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.file.is_none() {
            return;
        }
        if self.kept.is_none() {
            return self.remove();
        }
        // Whoever has taken over has the file.
        if self.owns() {
            let kept = if self.kept == Some(self.at) { Ok(()) } else { self.keep() };
            if let Err(error) = kept {
                tracing::warn!(%error, "part of a snapshot will be sent again");
            }
            self.store.release(self.group, self.number);
        }
    }
}
