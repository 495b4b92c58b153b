//! An append-only log file, as one would write it for speed alone: one write and one `fdatasync` a
//! batch, into blocks that were written before, so that no flush waits for the file system's own
//! journal.
//!
//! It cannot truncate, read or recover; its bytes have what a recovery would need.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::group_commit::Engine;
use super::{KEEP_BYTES, disk};

const SEGMENT_BYTES: u64 = 64 << 20;

const HEAD: usize = 20;

/// What becomes of a full segment.
enum Full {
    /// The next is a new file, zero-filled before its first use; those that hold nothing but what
    /// is older than what is kept are removed.
    Next { dir: PathBuf, number: u64, old: VecDeque<PathBuf> },
    /// It is used again from its start: as if its content had been purged in time.
    Again,
}

/// The file, and where it goes on.
pub struct LogFile {
    file: File,
    at: u64,
    bytes: u64,
    full: Full,
    /// The batch that is being built; reused.
    buffer: Vec<u8>,
}

impl LogFile {
    /// A log in segments in `dir`: what a log file costs with everything that belongs to it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn in_segments(dir: &Path) -> io::Result<Self> {
        let path = segment(dir, 0);
        let file = disk::written(&path, SEGMENT_BYTES)?;
        let full = Full::Next { dir: dir.to_owned(), number: 0, old: [path].into() };
        Ok(Self { file, at: 0, bytes: SEGMENT_BYTES, full, buffer: Vec::new() })
    }

    /// A ring in `dir`, written once and for all: the least that a log file can cost.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn ring(dir: &Path) -> io::Result<Self> {
        let bytes = 4 * KEEP_BYTES;
        let file = disk::written(&dir.join("ring"), bytes)?;
        Ok(Self { file, at: 0, bytes, full: Full::Again, buffer: Vec::new() })
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

    fn start_over(&mut self) -> io::Result<()> {
        self.at = 0;
        match &mut self.full {
            Full::Again => self.file.seek(SeekFrom::Start(0)).map(drop),
            Full::Next { dir, number, old } => {
                *number += 1;
                let path = segment(dir, *number);
                self.file = disk::written(&path, SEGMENT_BYTES)?;
                File::open(dir)?.sync_all()?;
                old.push_back(path);
                // The new one is empty, and the one before it is kept whole.
                while old.len() as u64 > 1 + KEEP_BYTES.div_ceil(SEGMENT_BYTES) {
                    old.pop_front().map_or(Ok(()), fs::remove_file)?;
                }
                Ok(())
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let len = self.buffer.len() as u64;
        if self.at + len > self.bytes {
            self.start_over()?;
        }
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()?;
        self.at += len;
        Ok(())
    }
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("segment-{number}"))
}

impl Engine for LogFile {
    fn commit(&mut self, first: u64, entries: &[Bytes]) {
        self.encode(first, entries);
        self.write().expect("a healthy disk");
    }
}
