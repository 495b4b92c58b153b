//! The floor: what the disk does without anyone's log.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::runtime::Runtime;

use super::{Run, Side};

const PAGE: usize = 4096;
const FILE_BYTES: u64 = 16 << 20;

/// 4 KiB and an `fdatasync`, over and over, in a file that was written before.
pub struct Disk(Mutex<File>);

impl Disk {
    /// Writes the file in `dir`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(dir: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(written(&dir.join("disk"), FILE_BYTES)?)))
    }
}

/// A file of `bytes` zeros that take space on the disk, durable, at its start.
pub(super) fn written(path: &Path, bytes: u64) -> io::Result<File> {
    let mut file = File::create_new(path)?;
    let zeros = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        file.write_all(&zeros[..part as usize])?;
        left -= part;
    }
    file.sync_all()?;
    file.rewind()?;
    Ok(file)
}

impl Side for Disk {
    fn run(&self, _: &Runtime, _: usize, rounds: u64) -> Run {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let page = [0xa5; PAGE];
        let started = Instant::now();
        let waits = (0..rounds).map(|_| {
            let began = Instant::now();
            let at = file.stream_position().expect("a position");
            if at + PAGE as u64 > FILE_BYTES {
                file.seek(SeekFrom::Start(0)).expect("a file of ours");
            }
            file.write_all(&page).and_then(|()| file.sync_data()).expect("a healthy disk");
            began.elapsed()
        });
        let waits = waits.collect();
        Run { took: started.elapsed(), waits }
    }
}
