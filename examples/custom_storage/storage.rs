//! The plugin: what the framework calls, over the log and the snapshots.

use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use quorate::error::StorageError;
use quorate::storage::{Flushed, GroupState, Identity, SnapshotWriter, Storage, StoredSnapshot, Write};
use quorate::types::{GroupId, LogIndex};

use crate::files::{clean, failed, replace};
use crate::frame::{damaged, frame, frame_at};
use crate::group::{Group, Groups};
use crate::log::{Job, Writer, load};
use crate::snapshot::{FileSnapshotWriter, open_snapshot};

/// A storage in a directory.
pub(crate) struct FileStorage {
    dir: PathBuf,
    groups: Arc<Mutex<Groups>>,
    /// To the writer, and the news of its end; `None` once closed.
    writer: Mutex<Option<(mpsc::Sender<Job>, oneshot::Receiver<()>)>>,
    /// One commit at a time: between its look at the current snapshot and its rename no newer one
    /// may come.
    commits: Arc<Mutex<()>>,
}

impl FileStorage {
    pub(crate) fn open(dir: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
        let owner = File::create(dir.join("LOCK")).map_err(failed("open", &dir))?;
        owner.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StorageError::InUse { path: dir.clone() },
            TryLockError::Error(error) => failed("lock", &dir)(error),
        })?;
        clean(&dir).map_err(failed("clean", &dir))?;
        let path = dir.join("LOG");
        let (groups, log, end) = load(&path)?;
        let groups = Arc::new(Mutex::new(groups));
        let writer = Writer { log, path, end, groups: groups.clone(), queued: Vec::new(), failed: false };
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
        let json = frame_at(&bytes.into(), 0).ok_or_else(|| damaged(&path, "it is not whole"))?;
        let (cluster_id, node_id, disk_id) =
            serde_json::from_slice(&json).map_err(|error| damaged(&path, error.to_string()))?;
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
                replace(&path, &frame(json.as_bytes(), 0)).map_err(failed("write", &path))
            }
        }
    }

    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        Ok(locked(&self.groups).get(&group).map(Group::state).unwrap_or_default())
    }

    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        let refused = match &*locked(&self.writer) {
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
        let groups = locked(&self.groups);
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
        let writer = locked(&self.writer).take();
        if let Some((jobs, end)) = writer {
            // Without a sender the writer ends, once its queue is empty.
            drop(jobs);
            let _ = end.await;
        }
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
