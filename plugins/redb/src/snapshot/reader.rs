//! Reads a snapshot in chunks, and vouches for all of it or for nothing.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use quorate::error::StorageError;
use quorate::storage::SnapshotReader;

use super::trailer::damaged;
use crate::hooks::ReadFile;

/// Bytes read at once.
const CHUNK: u64 = 256 * 1024;

/// A snapshot being read. The file stays readable after it was replaced.
pub(super) struct Reader {
    file: Box<dyn ReadFile>,
    path: PathBuf,
    at: u64,
    len: u64,
    crc: u32,
    expected: u32,
    fingerprint: Option<u32>,
}

/// How many bytes at the end are looked at to tell a snapshot from others.
const END: u64 = 64;

impl Reader {
    /// Reads the first `len` bytes, whose checksum is `expected`.
    pub(super) fn new(file: Box<dyn ReadFile>, path: PathBuf, len: u64, expected: u32) -> Self {
        Self { file, path, at: 0, len, crc: crc32c::crc32c(&[]), expected, fingerprint: None }
    }

    /// The same, with a fingerprint. Bytes that end in their own checksum have one checksum, all of
    /// them: so their end counts as well.
    pub(super) fn with_fingerprint(mut self) -> Result<Self, StorageError> {
        let mut end = vec![0; END.min(self.len) as usize];
        self.file
            .read_at(self.len - end.len() as u64, &mut end)
            .map_err(|error| StorageError::io("read", self.path.clone(), error))?;
        self.fingerprint = Some(crc32c::crc32c_append(self.expected, &end));
        Ok(self)
    }
}

#[async_trait]
impl SnapshotReader for Reader {
    /// The last chunk comes only when the checksum of all of them is right: a damaged snapshot
    /// never ends well. Reading blocks the task for one chunk.
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        let mut chunk = vec![0; CHUNK.min(self.len - self.at) as usize];
        self.file
            .read_at(self.at, &mut chunk)
            .map_err(|error| StorageError::io("read", self.path.clone(), error))?;
        let crc = crc32c::crc32c_append(self.crc, &chunk);
        if self.at + chunk.len() as u64 == self.len && crc != self.expected {
            return Err(damaged(&self.path, "its checksum differs".to_owned()));
        }
        self.crc = crc;
        self.at += chunk.len() as u64;
        Ok((!chunk.is_empty()).then(|| chunk.into()))
    }

    fn fingerprint(&self) -> Option<u32> {
        self.fingerprint
    }
}
