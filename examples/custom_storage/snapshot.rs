//! Snapshots: files whose last bytes say what they cover, which is known only at the commit.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use quorate::error::StorageError;
use quorate::storage::{SnapshotReader, SnapshotWriter, StoredSnapshot};
use quorate::types::LogId;

use crate::files::{failed, rename};
use crate::frame::{HEADER, damaged, frame, frame_at};
use crate::storage::locked;

/// A frame of a term and an index. The framework checks the bytes before it.
const TRAILER: usize = HEADER + 16;

pub(crate) struct FileSnapshotWriter {
    pub(crate) file: File,
    pub(crate) temporary: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) commits: Arc<Mutex<()>>,
}

#[async_trait]
impl SnapshotWriter for FileSnapshotWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        self.file.write_all(&chunk).map_err(failed("write", &self.temporary))
    }

    async fn commit(mut self: Box<Self>, covers: LogId) -> Result<(), StorageError> {
        let covered = [covers.term.0.to_le_bytes(), covers.index.0.to_le_bytes()].concat();
        let flushed = self.file.write_all(&frame(&covered, 0)).and_then(|()| self.file.sync_all());
        flushed.map_err(failed("flush", &self.temporary))?;
        let _one_at_a_time = locked(&self.commits);
        if open_snapshot(&self.path)?.is_some_and(|current| current.covers > covers) {
            return Ok(());
        }
        rename(&self.temporary, &self.path).map_err(failed("rename", &self.temporary))
    }
}

impl Drop for FileSnapshotWriter {
    fn drop(&mut self) {
        // Once committed, it is not there under this name.
        let _ = fs::remove_file(&self.temporary);
    }
}

pub(crate) fn open_snapshot(path: &Path) -> Result<Option<StoredSnapshot>, StorageError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open", path))?,
    };
    let mut trailer = Vec::new();
    let len = file.metadata().map_err(failed("measure", path))?.len().saturating_sub(TRAILER as u64);
    let read = file.seek(io::SeekFrom::Start(len)).and_then(|_| file.read_to_end(&mut trailer));
    read.and_then(|_| file.rewind()).map_err(failed("read", path))?;
    let covered = frame_at(&trailer.into(), 0).filter(|covered| covered.len() == TRAILER - HEADER);
    let mut covered = covered.ok_or_else(|| damaged(path, "its end does not say what it covers"))?;
    let covers = LogId::new(covered.get_u64_le(), covered.get_u64_le());
    let reader = FileSnapshotReader { file: file.take(len), path: path.to_owned() };
    Ok(Some(StoredSnapshot { covers, len, reader: Box::new(reader) }))
}

struct FileSnapshotReader {
    file: io::Take<File>,
    path: PathBuf,
}

#[async_trait]
impl SnapshotReader for FileSnapshotReader {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        let mut chunk = vec![0; self.file.limit().min(256 << 10) as usize];
        self.file.read_exact(&mut chunk).map_err(failed("read", &self.path))?;
        Ok((!chunk.is_empty()).then(|| chunk.into()))
    }
}
