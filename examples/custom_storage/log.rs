//! The log file: replayed when it is opened, and written by a thread.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};

use bytes::{Buf, Bytes};
use quorate::error::StorageError;
use quorate::storage::{Flushed, Write};
use quorate::types::GroupId;

use crate::files::{failed, replace};
use crate::frame::{HEADER, damaged, decode, encode, frame, frame_at};
use crate::group::Groups;
use crate::storage::locked;

/// Replays the log, and returns it open for more, which begins at the position that comes with it.
pub(crate) fn load(path: &Path) -> Result<(Groups, File, usize), StorageError> {
    if !path.exists() {
        // It is older than the identity: a directory that has only that has lost its log.
        if path.with_file_name("IDENTITY").exists() {
            return Err(damaged(path, "it is missing, and so are the votes in it"));
        }
        replace(path, &[]).map_err(failed("create", path))?;
    }
    let bytes = Bytes::from(fs::read(path).map_err(failed("read", path))?);
    let (mut groups, mut end) = (Groups::new(), 0);
    while let Some(mut writes) = frame_at(&bytes, end) {
        end += HEADER + writes.len();
        while writes.has_remaining() {
            let (group, write) = decode(&mut writes)?;
            groups.entry(group).or_default().apply(write);
        }
    }
    // Only the last frame can be torn: each is flushed before the next is written.
    if let Some(later) = (end..bytes.len()).find(|at| frame_at(&bytes, *at).is_some()) {
        return Err(damaged(path, format!("there is no frame at byte {end}, but one at byte {later}")));
    }
    let file = OpenOptions::new().append(true).open(path).map_err(failed("open", path))?;
    // Flushed even when it is whole: the process may have died between a write and its flush.
    let settled = file.set_len(end as u64).and_then(|()| file.sync_all());
    settled.map_err(failed("cut the torn end of", path))?;
    Ok((groups, file, end))
}

/// A write with its receipt.
pub(crate) type Job = (GroupId, Write, Flushed);

/// The thread that writes: takes all that has queued up, flushes it, and uses the receipts.
pub(crate) struct Writer {
    pub(crate) log: File,
    pub(crate) path: PathBuf,
    /// Where the next frame begins.
    pub(crate) end: usize,
    pub(crate) groups: Arc<Mutex<Groups>>,
    /// Encoded, and not written yet.
    pub(crate) queued: Vec<u8>,
    /// A flush has failed: what the log holds now is known only when it is opened again.
    pub(crate) failed: bool,
}

impl Writer {
    pub(crate) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let batch = iter::once(first).chain(jobs.try_iter().take(255));
            let (writes, receipts): (Vec<_>, Vec<_>) =
                batch.map(|(group, write, flushed)| ((group, write), flushed)).unzip();
            match self.flush(writes) {
                Ok(()) => receipts.into_iter().for_each(Flushed::durable),
                Err(error) => {
                    let errors = iter::once(error).chain(iter::repeat_with(|| StorageError::Closed));
                    receipts.into_iter().zip(errors).for_each(|(flushed, error)| flushed.failed(error));
                }
            }
        }
    }

    fn flush(&mut self, writes: Vec<(GroupId, Write)>) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Closed);
        }
        for (group, write) in &writes {
            encode(*group, write, &mut self.queued);
        }
        // A committed marker never forces a flush: it waits for the next write of another kind.
        if !writes.iter().all(|(_, write)| matches!(write, Write::Committed(_))) {
            let frame = frame(&self.queued, self.end);
            let written = self.log.write_all(&frame).and_then(|()| self.log.sync_data());
            self.failed = written.is_err();
            written.map_err(failed("flush", &self.path))?;
            self.queued.clear();
            self.end += frame.len();
        }
        let mut groups = locked(&self.groups);
        for (group, write) in writes {
            groups.entry(group).or_default().apply(write);
        }
        Ok(())
    }
}
