//! A storage plugin from scratch: one append-only file on `std::fs`, written by a thread.
//!
//! ```text
//! <dir>/LOCK        held while the directory is open
//! <dir>/IDENTITY    whom it belongs to, written once
//! <dir>/LOG         frames: header | writes of any groups, in the order in which they were queued
//! <dir>/g7.snap     the snapshot of group 7: bytes | what it covers
//! ```
//!
//! All that is queued while the disk is busy becomes one frame and one flush: batching is what makes
//! a disk fast. Opening the directory replays the log. A crash can tear the last frame, of which
//! nobody was told, and no other: a torn end is cut off, damage before it is an error.
//!
//! To stay short it keeps every entry in memory too, never gives space back (what is purged stays in
//! the file), and reads and writes snapshots on the caller's thread. The tests at the end run the
//! conformance kit on it, with one line.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::{iter, slice, thread};

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes};
use crc32c::crc32c;
use futures::channel::oneshot;
use quorate::error::StorageError;
use quorate::storage::{
    Flushed, GroupState, Identity, SnapshotReader, SnapshotWriter, Storage, StoredSnapshot, Write,
};
use quorate::types::{GroupId, LogId, LogIndex};

// ---- What is kept: groups, in memory as the log tells them.

type Groups = BTreeMap<GroupId, Group>;

#[derive(Default)]
struct Group {
    first: u64,
    entries: VecDeque<Bytes>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<Bytes>,
}

impl Group {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Append { entries, .. } => self.entries.extend(entries),
            Write::Truncate { from } => self.entries.truncate(from.0.saturating_sub(self.first) as usize),
            Write::Purge { upto, marker } => {
                let first = upto.next().0;
                let count = (first - self.first).min(self.entries.len() as u64);
                self.entries.drain(..count as usize);
                (self.first, self.purged) = (first, Some(marker));
            }
            Write::Vote(vote) => self.vote = Some(vote),
            Write::Committed(marker) => self.committed = Some(marker),
        }
    }

    fn state(&self) -> GroupState {
        GroupState {
            log: self.first..self.first + self.entries.len() as u64,
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.clone(),
        }
    }
}

// ---- How it is written: every write has a group, a kind, a number and some byte strings.

fn encode(group: GroupId, write: &Write, out: &mut Vec<u8>) {
    let (kind, number, strings) = match write {
        Write::Append { first, entries } => (1, first.0, &entries[..]),
        Write::Truncate { from } => (2, from.0, &[][..]),
        Write::Purge { upto, marker } => (3, upto.0, slice::from_ref(marker)),
        Write::Vote(vote) => (4, 0, slice::from_ref(vote)),
        Write::Committed(marker) => (5, 0, slice::from_ref(marker)),
    };
    out.put_u64_le(group.0);
    out.put_u8(kind);
    out.put_u64_le(number);
    out.put_u32_le(strings.len() as u32);
    for string in strings {
        out.put_u32_le(string.len() as u32);
        out.extend_from_slice(string);
    }
}

/// Decodes the next write. The checksum was right, so these are bytes of [`encode`].
fn decode(from: &mut Bytes) -> Result<(GroupId, Write), StorageError> {
    let (group, kind, number) = (GroupId(from.get_u64_le()), from.get_u8(), LogIndex(from.get_u64_le()));
    let mut strings = Vec::new();
    for _ in 0..from.get_u32_le() {
        let len = from.get_u32_le() as usize;
        // A copy, or one entry would keep the whole file in memory.
        strings.push(Bytes::copy_from_slice(&from.split_to(len)));
    }
    let write = match (kind, &mut strings[..]) {
        (1, _) => Write::Append { first: number, entries: strings },
        (2, []) => Write::Truncate { from: number },
        (3, [marker]) => Write::Purge { upto: number, marker: std::mem::take(marker) },
        (4, [vote]) => Write::Vote(std::mem::take(vote)),
        (5, [marker]) => Write::Committed(std::mem::take(marker)),
        _ => return Err(StorageError::Version { what: "a write", found: kind.into(), supported: 5 }),
    };
    Ok((group, write))
}

const HEADER: usize = 16;

/// Length and checksum of the writes, a checksum of those two, and the writes.
fn frame(writes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + writes.len());
    frame.put_u64_le(writes.len() as u64);
    frame.put_u32_le(crc32c(writes));
    frame.put_u32_le(crc32c(&frame));
    frame.extend_from_slice(writes);
    frame
}

/// The writes of the frame at `at`, if there is a whole one.
fn frame_at(bytes: &Bytes, at: usize) -> Option<Bytes> {
    let mut header = bytes.get(at..at + HEADER)?;
    let intact = crc32c(&header[..12]);
    let (len, checksum) = (header.get_u64_le() as usize, header.get_u32_le());
    if header.get_u32_le() != intact || bytes.len() - at - HEADER < len {
        return None;
    }
    let writes = bytes.slice(at + HEADER..at + HEADER + len);
    (crc32c(&writes) == checksum).then_some(writes)
}

// ---- How it survives: nothing counts before it was flushed, names of files included.

/// Says what failed, and on which file.
fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StorageError + 'a {
    move |error| StorageError::io(doing, path.to_owned(), error)
}

/// Flushes the names in a directory: until then a power cut can take a file with all its bytes.
fn sync_names(dir: Option<&Path>) -> io::Result<()> {
    dir.map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Gives a flushed file its name: a crash leaves the file that had it before, or this one.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_names(to.parent())
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(&temporary, path)
}

/// Removes files that a crash left without their name, and makes sure of the names there are.
fn clean(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(path)?;
        }
    }
    sync_names(Some(dir))?;
    sync_names(dir.canonicalize()?.parent())
}

/// Replays the log, and returns it open for more.
fn load(path: &Path) -> Result<(Groups, File), StorageError> {
    if !path.exists() {
        // It is older than the identity: a directory that has only that has lost its log.
        if path.with_file_name("IDENTITY").exists() {
            let detail = "it is missing, and so are the votes in it".to_owned();
            return Err(StorageError::Corrupt { what: path.display().to_string(), detail });
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
        let detail = format!("there is no frame at byte {end}, but one at byte {later}");
        return Err(StorageError::Corrupt { what: path.display().to_string(), detail });
    }
    let file = OpenOptions::new().append(true).open(path).map_err(failed("open", path))?;
    // Flushed even when it is whole: the process may have died between a write and its flush.
    let settled = file.set_len(end as u64).and_then(|()| file.sync_all());
    settled.map_err(failed("cut the torn end of", path))?;
    Ok((groups, file))
}

type Job = (GroupId, Write, Flushed);

/// The thread that writes: takes all that has queued up, flushes it, and uses the receipts.
struct Writer {
    log: File,
    path: PathBuf,
    groups: Arc<Mutex<Groups>>,
    /// Encoded, and not written yet.
    queued: Vec<u8>,
    /// A flush has failed: what the log holds now is known only when it is opened again.
    failed: bool,
}

impl Writer {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
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
            let written = self.log.write_all(&frame(&self.queued)).and_then(|()| self.log.sync_data());
            self.failed = written.is_err();
            written.map_err(failed("flush", &self.path))?;
            self.queued.clear();
        }
        let mut groups = lock(&self.groups);
        for (group, write) in writes {
            groups.entry(group).or_default().apply(write);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---- The plugin.

struct FileStorage {
    dir: PathBuf,
    groups: Arc<Mutex<Groups>>,
    /// To the writer, and the news of its end; `None` once closed.
    writer: Mutex<Option<(mpsc::Sender<Job>, oneshot::Receiver<()>)>>,
    /// One commit at a time: between its look at the current snapshot and its rename no newer one
    /// may come.
    commits: Arc<Mutex<()>>,
}

impl FileStorage {
    fn open(dir: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
        let owner = File::create(dir.join("LOCK")).map_err(failed("open", &dir))?;
        owner.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StorageError::InUse { path: dir.clone() },
            TryLockError::Error(error) => failed("lock", &dir)(error),
        })?;
        clean(&dir).map_err(failed("clean", &dir))?;
        let path = dir.join("LOG");
        let (groups, log) = load(&path)?;
        let groups = Arc::new(Mutex::new(groups));
        let writer = Writer { log, path, groups: groups.clone(), queued: Vec::new(), failed: false };
        let ((jobs, queue), (done, end)) = (mpsc::channel(), oneshot::channel());
        let thread = thread::Builder::new().name("file storage".into()).spawn(move || {
            writer.run(&queue);
            drop(owner);
            // Nobody may be waiting for the end.
            let _ = done.send(());
        });
        thread.map_err(failed("start a writer for", &dir))?;
        Ok(Self { dir, groups, writer: Mutex::new(Some((jobs, end))), commits: Arc::default() })
    }

    fn snapshot_path(&self, group: GroupId) -> PathBuf {
        self.dir.join(format!("{group}.snap"))
    }
}

#[async_trait]
impl Storage for FileStorage {
    async fn identity(&self) -> Result<Option<Identity>, StorageError> {
        let path = self.dir.join("IDENTITY");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed("read", &path))?,
        };
        let (cluster_id, node_id, disk_id) = serde_json::from_slice(&bytes).map_err(|error| {
            StorageError::Corrupt { what: path.display().to_string(), detail: error.to_string() }
        })?;
        Ok(Some(Identity { cluster_id, node_id, disk_id }))
    }

    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError> {
        let Identity { cluster_id, node_id, disk_id } = identity;
        match self.identity().await? {
            Some(recorded) if recorded == *identity => Ok(()),
            Some(recorded) => {
                Err(StorageError::IdentityTaken { recorded: recorded.into(), offered: Box::new(*identity) })
            }
            None => {
                let path = self.dir.join("IDENTITY");
                let json = serde_json::json!([cluster_id, node_id, disk_id]).to_string();
                replace(&path, json.as_bytes()).map_err(failed("write", &path))
            }
        }
    }

    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        Ok(lock(&self.groups).get(&group).map(Group::state).unwrap_or_default())
    }

    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        let refused = match &*lock(&self.writer) {
            Some((jobs, _)) => jobs.send((group, write, flushed)).err().map(|job| job.0.2),
            None => Some(flushed),
        };
        if let Some(flushed) = refused {
            flushed.failed(StorageError::Closed);
        }
    }

    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let groups = lock(&self.groups);
        let Some(group) = groups.get(&group) else { return Ok(Vec::new()) };
        let Some(skip) = range.start.0.checked_sub(group.first) else { return Ok(Vec::new()) };
        let count = range.end.0.saturating_sub(range.start.0);
        let mut bytes = 0_usize;
        let within = |entry: &&Bytes| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(entry.len());
            first || bytes <= max_bytes
        };
        let entries = group.entries.iter().skip(skip as usize).take(count as usize);
        Ok(entries.take_while(within).cloned().collect())
    }

    async fn snapshot_writer(&self, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = self.snapshot_path(group);
        let temporary = path.with_extension(format!("{}.tmp", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&temporary).map_err(failed("create", &temporary))?;
        Ok(Box::new(FileSnapshotWriter { file, temporary, path, commits: self.commits.clone() }))
    }

    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        open_snapshot(&self.snapshot_path(group))
    }

    async fn close(&self) {
        let writer = lock(&self.writer).take();
        if let Some((jobs, end)) = writer {
            // Without a sender the writer ends, once its queue is empty.
            drop(jobs);
            let _ = end.await;
        }
    }
}

// ---- Snapshots: files whose last bytes say what they cover, which is known only at the commit.

const TRAILER: usize = 16;

struct FileSnapshotWriter {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    commits: Arc<Mutex<()>>,
}

#[async_trait]
impl SnapshotWriter for FileSnapshotWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        self.file.write_all(&chunk).map_err(failed("write", &self.temporary))
    }

    async fn commit(mut self: Box<Self>, covers: LogId) -> Result<(), StorageError> {
        let trailer = [covers.term.0.to_le_bytes(), covers.index.0.to_le_bytes()].concat();
        let flushed = self.file.write_all(&trailer).and_then(|()| self.file.sync_all());
        flushed.map_err(failed("flush", &self.temporary))?;
        let _one_at_a_time = lock(&self.commits);
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

fn open_snapshot(path: &Path) -> Result<Option<StoredSnapshot>, StorageError> {
    let opened = File::open(path).and_then(|mut file| {
        let (len, mut trailer) = (file.seek(io::SeekFrom::End(-16))?, [0; TRAILER]);
        file.read_exact(&mut trailer)?;
        file.rewind()?;
        Ok((len, trailer, file))
    });
    let (len, trailer, file) = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open", path))?,
    };
    let mut trailer = &trailer[..];
    let covers = LogId::new(trailer.get_u64_le(), trailer.get_u64_le());
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

/// Opens the same directory three times and writes a little more each time.
fn main() -> Result<(), StorageError> {
    let dir = std::env::temp_dir().join(format!("custom_storage-{}", std::process::id()));
    futures::executor::block_on(async {
        for start in 1..=3 {
            let storage = FileStorage::open(&dir)?;
            let GroupState { log, vote, .. } = storage.open(GroupId::MAIN).await?;
            println!("start {start}: the log holds {log:?}, the vote is {vote:?}");
            let entries = vec![Bytes::from(format!("written in start {start}")); 2];
            let append = Write::Append { first: LogIndex(log.end), entries };
            storage.write(GroupId::MAIN, append, Flushed::ignored());
            let (flushed, receipt) = Flushed::pair();
            storage.write(GroupId::MAIN, Write::Vote(format!("T{start}").into()), flushed);
            receipt.await?;
            let read = storage.read(GroupId::MAIN, LogIndex(0)..LogIndex(99), 1 << 20).await?;
            println!("  flushed; now it holds {read:?}");
            storage.close().await;
        }
        fs::remove_dir_all(&dir).map_err(failed("remove", &dir))
    })
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use quorate::testing::storage::StorageHarness;

    use super::*;

    struct InADirectory;

    impl StorageHarness for InADirectory {
        type Storage = FileStorage;
        type Place = tempfile::TempDir;

        fn place() -> tempfile::TempDir {
            tempfile::tempdir().expect("a directory")
        }

        async fn open(place: &tempfile::TempDir) -> Result<FileStorage, StorageError> {
            FileStorage::open(place.path())
        }
    }

    quorate::storage_conformance!(InADirectory);

    /// A group with three entries, each flushed by itself, and its file.
    fn three_entries() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().expect("a directory");
        let storage = FileStorage::open(dir.path()).expect("opens");
        block_on(async {
            storage.open(GroupId::MAIN).await.expect("opens");
            for index in 0..3 {
                let (flushed, receipt) = Flushed::pair();
                let append = Write::Append { first: LogIndex(index), entries: vec!["entry".into()] };
                storage.write(GroupId::MAIN, append, flushed);
                receipt.await.expect("flushed");
            }
            storage.close().await;
        });
        let path = dir.path().join("LOG");
        let bytes = fs::read(&path).expect("written");
        (dir, path, bytes)
    }

    fn log(dir: &tempfile::TempDir) -> Result<Range<u64>, StorageError> {
        let storage = FileStorage::open(dir.path())?;
        let state = block_on(storage.open(GroupId::MAIN))?;
        block_on(storage.close());
        Ok(state.log)
    }

    #[test]
    fn a_torn_end_is_cut_off_wherever_it_is_torn() {
        let (dir, path, bytes) = three_entries();
        let last = bytes.len() / 3 * 2;
        for len in last..bytes.len() {
            fs::write(&path, &bytes[..len]).expect("writes");
            assert_eq!(log(&dir).expect("a torn end is no damage"), 0..2, "torn at byte {len}");
        }
        // Longer, but its pages never got there.
        fs::write(&path, [&bytes[..last], &[0; 500]].concat()).expect("writes");
        assert_eq!(log(&dir).expect("a torn end is no damage"), 0..2);
        assert_eq!(fs::read(&path).expect("reads").len(), last, "the next frame follows at once");
    }

    #[test]
    fn damage_before_the_end_is_an_error() {
        let (dir, path, bytes) = three_entries();
        assert_eq!(log(&dir).expect("undamaged"), 0..3);
        for at in 0..bytes.len() / 3 * 2 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, damaged).expect("writes");
            assert!(matches!(log(&dir), Err(StorageError::Corrupt { .. })), "byte {at}");
        }
    }

    #[test]
    fn a_lost_log_is_not_an_empty_one() {
        let (dir, path, _) = three_entries();
        fs::write(dir.path().join("IDENTITY"), "recorded").expect("writes");
        fs::remove_file(path).expect("removes");
        assert!(matches!(log(&dir), Err(StorageError::Corrupt { .. })));
    }

    #[test]
    fn a_directory_has_one_owner() {
        let (dir, ..) = three_entries();
        let first = FileStorage::open(dir.path()).expect("opens");
        assert!(matches!(FileStorage::open(dir.path()), Err(StorageError::InUse { .. })));
        block_on(first.close());
        FileStorage::open(dir.path()).expect("released");
    }
}
