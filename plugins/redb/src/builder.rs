//! Options of a storage, and how its directory is opened.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use quorate::error::StorageError;
use quorate::storage::{Health, Identity};
use quorate::types::GroupId;
use quorate::watch::Watched;
use redb::ReadableTable;

use crate::check;
use crate::database::{self, Db, Durability, Settings};
use crate::error::at;
use crate::hooks::{Hooks, Lock, spawn_thread};
use crate::node_file;
use crate::read;
use crate::snapshot::{self, Snapshots};
use crate::storage::{RedbStorage, Shared};
use crate::witness::{self, Witness};
use crate::writer::{Done, Parts, Space, Writer, queue};

const MIB: u64 = 1024 * 1024;

/// The file that is locked while the directory is in use.
const LOCK: &str = "LOCK";

/// Options of a [`RedbStorage`]. Each has a default that is right for most.
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `open`"]
pub struct Builder {
    dir: PathBuf,
    durability: Durability,
    cache_bytes: usize,
    preallocate_bytes: u64,
    batch_bytes: usize,
    deep_check: bool,
    low_water_bytes: u64,
    ballast_bytes: u64,
    hooks: Hooks,
}

impl Builder {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            durability: Durability::default(),
            cache_bytes: 32 << 20,
            preallocate_bytes: 16 * MIB,
            batch_bytes: 2 << 20,
            deep_check: false,
            low_water_bytes: 64 * MIB,
            ballast_bytes: 16 * MIB,
            hooks: Hooks::default(),
        }
    }

    /// Whether a commit is flushed once, the default, or twice.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How many bytes redb may cache. 32 MiB by default; more does not make appends faster.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// By how many bytes the file takes space ahead of need, rounded up to pages of 4 KiB. 16 MiB
    /// by default; 0 takes none. The step that is being written and the one after it are filled a piece
    /// at a time, between commits.
    pub fn preallocate_bytes(mut self, bytes: u64) -> Self {
        self.preallocate_bytes = bytes;
        self
    }

    /// How many bytes of writes go into one transaction before the next begins. 2 MiB by default.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes.max(1);
        self
    }

    /// Whether opening checks every row of the log as well, beyond the checksum of every page, which
    /// it always checks. Off by default. It finds what was written wrong, not what changed since.
    pub fn deep_check(mut self, check: bool) -> Self {
        self.deep_check = check;
        self
    }

    /// Below how many free bytes the storage reports [`Health::Low`]. 64 MiB by default. What the
    /// framework has queued by then must fit.
    pub fn low_water_bytes(mut self, bytes: u64) -> Self {
        self.low_water_bytes = bytes;
        self
    }

    /// How many bytes are kept in reserve for the time when the disk is full. 16 MiB by default;
    /// with 0 a full disk is final.
    pub fn ballast_bytes(mut self, bytes: u64) -> Self {
        self.ballast_bytes = bytes;
        self
    }

    /// Replaces the file system, what is under redb, and how the writer runs: for a simulator, or a
    /// test that breaks them.
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Opens the directory, and creates what is missing in one that was never used.
    ///
    /// # Errors
    /// [`StorageError::InUse`] when it is open elsewhere; [`StorageError::IdentityMissing`] when
    /// it holds a log and no `NODE`; [`StorageError::Corrupt`] and [`StorageError::Version`] when
    /// a file is damaged, missing or of another version. Nothing is ever made anew in their place.
    pub fn open(self) -> Result<RedbStorage, StorageError> {
        let lock = self.prepare()?;
        let (identity, db) = self.open_log()?;
        let floor = self.low_water_bytes / 8;
        let snapshots = Snapshots::open(self.hooks.files.clone(), self.dir.join(snapshot::DIR), floor)?;
        if identity.is_none() && !(snapshots.is_empty() && db.read(check::is_empty)?) {
            return Err(StorageError::IdentityMissing { path: self.dir });
        }
        if self.deep_check {
            db.read(check::check)?;
        }
        let purged = db.read(|tables| purge_markers(&tables.meta))?;
        let health = Arc::new(Watched::new(Health::Ok));
        let files = self.hooks.files.clone();
        let mut space =
            Space::open(files, &self.dir, self.low_water_bytes, self.ballast_bytes, health.clone());
        space.check(&db, !purged.is_empty())?;
        Ok(self.start(lock, identity, db, snapshots, purged, health, space))
    }

    /// Creates the directories and takes the lock. Only then may anything be removed.
    fn prepare(&self) -> Result<Box<dyn Lock>, StorageError> {
        let (files, dir) = (self.hooks.files.as_ref(), self.dir.as_path());
        let io = |doing| move |error| StorageError::io(doing, dir.to_owned(), error);
        let missing = |dir: &Path| files.list(dir).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let made: Vec<&Path> = dir.ancestors().take_while(|dir| is_named(dir) && missing(dir)).collect();
        files.create_dir(&dir.join(snapshot::DIR)).map_err(io("create"))?;
        files.sync_dir(dir).map_err(io("flush"))?;
        for parent in made.iter().filter_map(|made| made.parent()) {
            let parent = if is_named(parent) { parent } else { Path::new(".") };
            files.sync_dir(parent).map_err(io("flush what holds"))?;
        }
        let lock = files.lock(&dir.join(LOCK)).map_err(io("lock"))?;
        let lock = lock.ok_or_else(|| StorageError::InUse { path: dir.to_owned() })?;
        for temp in [node_file::TEMP, database::TEMP, witness::TEMP] {
            if self.exists(temp)? {
                match files.remove(&dir.join(temp)) {
                    // Nothing that happens to the witness stops a node.
                    Err(error) if temp == witness::TEMP => {
                        tracing::warn!(%error, path = %dir.join(temp).display(), "a leftover stays");
                    }
                    removed => removed.map_err(io("clean up"))?,
                }
            }
        }
        Ok(lock)
    }

    /// Opens NODE and the log, or creates a log where there is neither.
    fn open_log(&self) -> Result<(Option<Identity>, Db), StorageError> {
        let files = self.hooks.files.as_ref();
        let identity = node_file::find(files, &self.dir)?;
        let mut settings = Settings {
            path: self.dir.join(database::NAME),
            backend: self.hooks.backend.clone(),
            step: self.preallocate_bytes,
            known: 0,
            cache_bytes: self.cache_bytes,
            // As a start after a crash does anyway: a flipped bit in the tree would lose a tail or a
            // vote without a word.
            check_pages: true,
        };
        let seen = witness::last_seen(files, &self.dir, identity.map(|identity| identity.disk_id));
        if !self.exists(database::NAME)? {
            if identity.is_some() || seen.any {
                // NODE is written after the log was made, and so is a witness: someone removed it.
                let what = settings.path.display().to_string();
                return Err(StorageError::Corrupt { what, detail: "it is missing".to_owned() });
            }
            Db::create(files, &self.dir, &settings)?;
        }
        let known = files.allocated(&settings.path);
        settings.known = known.map_err(|error| StorageError::io("measure", settings.path.clone(), error))?;
        Ok((identity, Db::open(settings, seen.number)?))
    }

    fn exists(&self, name: &str) -> Result<bool, StorageError> {
        let names = self.hooks.files.list(&self.dir);
        let names = names.map_err(|error| StorageError::io("list", self.dir.clone(), error))?;
        Ok(names.iter().any(|found| found == name))
    }

    #[allow(clippy::too_many_arguments)] // the last step of one function, split for its length
    fn start(
        self,
        lock: Box<dyn Lock>,
        identity: Option<Identity>,
        db: Db,
        snapshots: Snapshots,
        purged: BTreeMap<GroupId, u64>,
        health: Arc<Watched<Health>>,
        space: Space,
    ) -> RedbStorage {
        let owner = Arc::new(OnceLock::new());
        if let Some(identity) = identity {
            let _ = owner.set(identity.disk_id);
        }
        let files = self.hooks.files.clone();
        let witness = Witness::begin(files, &self.dir, owner.clone(), db.last_flushed());
        let (db, done) = (Arc::new(db), Arc::new(Done::new()));
        let snapshots = Arc::new(snapshots);
        let (queue, jobs) = queue();
        let writer = Writer::new(Parts {
            queue: jobs,
            db: db.clone(),
            snapshots: snapshots.clone(),
            durability: self.durability,
            batch_bytes: self.batch_bytes,
            pause: self.hooks.pause,
            own_thread: self.hooks.spawn.is_none(),
            sleep: self.hooks.sleep,
            space,
            witness,
            purged,
            lock: Some(lock),
            done: done.clone(),
        });
        let waits = self.hooks.spawn.is_none();
        let writer = Box::pin(writer.run());
        match self.hooks.spawn {
            Some(spawn) => spawn(WRITER, writer),
            None => {
                if let Err(error) = spawn_thread(WRITER, writer) {
                    // The writer is dropped: every write fails, and the health says so.
                    tracing::error!(%error, "no thread for the writer");
                }
            }
        }
        RedbStorage::new(
            Shared { dir: self.dir, files: self.hooks.files, db, snapshots, health, done, owner },
            identity,
            queue,
            waits,
        )
    }
}

const WRITER: &str = "quorate-redb";

/// The parent of a relative path such as `n1` is the empty path.
fn is_named(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// The purge marker of each group that has one.
fn purge_markers(
    meta: &impl ReadableTable<database::MetaKey, &'static [u8]>,
) -> Result<BTreeMap<GroupId, u64>, StorageError> {
    let mut markers = BTreeMap::new();
    for row in meta.iter().map_err(at("read log.redb"))? {
        let (key, _) = row.map_err(at("read log.redb"))?;
        let group = GroupId(key.value().0);
        if let Some(purged) = read::purged(meta, group)? {
            markers.insert(group, purged.upto);
        }
    }
    Ok(markers)
}

impl RedbStorage {
    /// Opens the storage in `dir` with the default options. A directory that is missing is
    /// created.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StorageError> {
        Self::builder(dir).open()
    }

    /// A storage in `dir` with other options.
    pub fn builder(dir: impl AsRef<Path>) -> Builder {
        Builder::new(dir.as_ref().to_owned())
    }
}
