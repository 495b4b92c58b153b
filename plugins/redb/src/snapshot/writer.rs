//! Writes a snapshot: a temporary file, then its name.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use quorate::error::StorageError;
use quorate::storage::SnapshotWriter;
use quorate::types::{GroupId, LogId};

use super::trailer::Trailer;
use super::{Snapshots, remove};
use crate::hooks::WriteFile;

/// A snapshot being written. Dropping it removes the file.
pub(super) struct Writer {
    store: Arc<Snapshots>,
    group: GroupId,
    path: PathBuf,
    /// `None` once it is committed.
    file: Option<Box<dyn WriteFile>>,
    len: u64,
    crc: u32,
}

impl Writer {
    /// Writes to the empty `file` at `path`.
    pub(super) fn new(
        store: Arc<Snapshots>,
        group: GroupId,
        path: PathBuf,
        file: Box<dyn WriteFile>,
    ) -> Self {
        Self { store, group, path, file: Some(file), len: 0, crc: crc32c::crc32c(&[]) }
    }

    fn file(&mut self) -> &mut dyn WriteFile {
        self.file.as_mut().expect("the file is there until the commit, which ends the writer").as_mut()
    }

    fn io(&self, doing: &'static str) -> impl Fn(std::io::Error) -> StorageError + use<> {
        let path = self.path.clone();
        move |error| StorageError::io(doing, path.clone(), error)
    }
}

#[async_trait]
impl SnapshotWriter for Writer {
    /// Writing blocks the task for one chunk.
    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        let io = self.io("write");
        self.file().append(&chunk).map_err(io)?;
        self.len += chunk.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, &chunk);
        Ok(())
    }

    async fn commit(mut self: Box<Self>, covers: LogId) -> Result<(), StorageError> {
        let trailer = Trailer { group: self.group, covers, len: self.len, crc: self.crc };
        let (write, flush) = (self.io("write"), self.io("flush"));
        self.file().append(&trailer.encode()).map_err(write)?;
        self.file().sync().map_err(flush)?;
        if self.store.commit(self.group, covers, &self.path)? {
            // Renamed: there is nothing to remove any more.
            self.file = None;
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            remove(self.store.files.as_ref(), &self.path);
        }
    }
}
