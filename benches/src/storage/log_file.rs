//! An append-only log file, as one would write it for speed alone.
//!
//! One write and one `fdatasync` a batch, into a file whose blocks were written before and are used
//! in a ring, as by databases that recycle their segments: no flush ever waits for the file
//! system's own journal. It cannot truncate, purge, be read or be recovered by anything here; its
//! bytes have what a recovery would need.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;

use super::group_commit::Engine;
use super::{KEEP_BYTES, disk};

/// Room for what is kept, as much again, and the headers.
const FILE_BYTES: u64 = 4 * KEEP_BYTES;

const HEAD: usize = 20;

/// The file, and where it goes on.
pub struct LogFile {
    file: File,
    at: u64,
    /// The batch that is being built; reused.
    buffer: Vec<u8>,
}

impl LogFile {
    /// Writes an empty ring in `dir`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let file = disk::written(&dir.join("log"), FILE_BYTES)?;
        Ok(Self { file, at: 0, buffer: Vec::new() })
    }

    /// `crc u32 | bytes u32 | first u64 | count u32 | (bytes u32 | entry) * count`.
    fn encode(&mut self, first: u64, entries: &[Bytes]) {
        self.buffer.clear();
        self.buffer.resize(HEAD, 0);
        for entry in entries {
            self.buffer.extend_from_slice(&(entry.len() as u32).to_le_bytes());
            self.buffer.extend_from_slice(entry);
        }
        let bytes = self.buffer.len() as u32;
        self.buffer[4..8].copy_from_slice(&bytes.to_le_bytes());
        self.buffer[8..16].copy_from_slice(&first.to_le_bytes());
        self.buffer[16..HEAD].copy_from_slice(&(entries.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c(&self.buffer[4..]);
        self.buffer[..4].copy_from_slice(&crc.to_le_bytes());
    }
}

impl Engine for LogFile {
    fn commit(&mut self, first: u64, entries: &[Bytes]) {
        self.encode(first, entries);
        let len = self.buffer.len() as u64;
        if self.at + len > FILE_BYTES {
            self.file.seek(SeekFrom::Start(0)).expect("a file of ours");
            self.at = 0;
        }
        let written = self.file.write_all(&self.buffer).and_then(|()| self.file.sync_data());
        written.expect("a healthy disk");
        self.at += len;
    }
}
