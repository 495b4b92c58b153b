//! `log.redb`: created so that a crash leaves it whole or not there, opened, reopened, closed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use quorate::error::StorageError;
use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition,
    WriteTransaction,
};

use crate::autopsy;
use crate::backend::{PAGE, Preallocated, Shared};
use crate::error::{at, damaged, guarded, in_file};
use crate::hooks::{Files, Open, OpenBackend};
use crate::read;

/// The file's name.
pub(crate) const NAME: &str = "log.redb";
/// Its name before it is whole.
pub(crate) const TEMP: &str = "log.redb.tmp";

/// How many bytes are taken ahead of need between two commits: the next flush writes them, too.
const GROW: u64 = 1 << 20;

/// Group and index of the first entry.
pub(crate) type LogKey = (u64, u64);
/// Group and name.
pub(crate) type MetaKey = (u64, &'static str);

/// Rows of entries.
pub(crate) const LOG: TableDefinition<LogKey, &[u8]> = TableDefinition::new("log");
/// Vote, committed, purged.
pub(crate) const META: TableDefinition<MetaKey, &[u8]> = TableDefinition::new("meta");

/// How to open the file.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The file.
    pub(crate) path: PathBuf,
    /// Opens what is under redb.
    pub(crate) backend: OpenBackend,
    /// Bytes of zeros ahead of need.
    pub(crate) step: u64,
    /// How many bytes of the file take space, when it is opened.
    pub(crate) known: u64,
    /// Bytes that redb may cache.
    pub(crate) cache_bytes: usize,
    /// Whether an open checks every page of the file.
    pub(crate) check_pages: bool,
}

/// The tables as one moment left them.
pub(crate) struct Tables {
    /// Rows of entries.
    pub(crate) log: ReadOnlyTable<LogKey, &'static [u8]>,
    /// Vote, committed, purged.
    pub(crate) meta: ReadOnlyTable<MetaKey, &'static [u8]>,
}

/// The open file. Readers share it; only the writer replaces or closes it.
pub(crate) struct Db {
    slot: RwLock<Option<Database>>,
    settings: Settings,
    shared: Arc<Shared>,
    /// The number of the last commit that is known to be flushed.
    flushed: AtomicU64,
}

impl Db {
    /// Creates the file in `dir` with its tables, crash-safe: redb's own creation is not, a death
    /// in its middle leaves a file that nothing opens.
    pub(crate) fn create(files: &dyn Files, dir: &Path, settings: &Settings) -> Result<(), StorageError> {
        let temp = Settings { path: dir.join(TEMP), check_pages: false, step: 0, ..settings.clone() };
        let shared = Arc::new(Shared::default());
        guarded(|| {
            let database = open(&temp, Open::New, shared)?;
            let txn = database.begin_write().map_err(at("create log.redb"))?;
            txn.open_table(LOG).map_err(at("create log.redb"))?;
            txn.open_table(META).map_err(at("create log.redb"))?;
            txn.commit().map_err(at("create log.redb"))?;
            database.close().map_err(at("create log.redb"))
        })?;
        let renamed = files.rename(&temp.path, &settings.path).and_then(|()| files.sync_dir(dir));
        renamed.map_err(|error| StorageError::io("create", settings.path.clone(), error))
    }

    /// Opens the file, which is there. An error of a damaged one names what it lost. Commit `seen` was
    /// flushed, 0 is none: redb goes back to the commit before one whose checksums differ, which is
    /// right for one that was torn, and a loss for one that was flushed.
    pub(crate) fn open(settings: Settings, seen: u64) -> Result<Self, StorageError> {
        let shared = Arc::new(Shared::default());
        let opened = guarded(|| open(&settings, Open::Existing, shared.clone()));
        let database = opened.map_err(|error| match error {
            StorageError::Corrupt { what, detail } => {
                let what = autopsy::first_damaged(&settings).unwrap_or(what);
                in_file(&settings.path)(StorageError::Corrupt { what, detail })
            }
            error => error,
        })?;
        let db = Self { slot: RwLock::new(Some(database)), settings, shared, flushed: AtomicU64::new(seen) };
        // A file without the tables is some other program's.
        let number = db.with(|database| last_commit(database, seen))?;
        db.flushed(number);
        Ok(db)
    }

    /// The number of the last commit that is known to be flushed; 0 is none.
    pub(crate) fn last_flushed(&self) -> u64 {
        self.flushed.load(Ordering::Relaxed)
    }

    /// Commit `number` is flushed.
    pub(crate) fn flushed(&self, number: u64) {
        self.flushed.store(number, Ordering::Relaxed);
    }

    /// Whether to take no space ahead of need.
    pub(crate) fn set_thrifty(&self, thrifty: bool) {
        self.shared.set_thrifty(thrifty);
    }

    /// Takes some space ahead of need; whether there is more to take. The thread that writes calls
    /// it, when nobody waits for a commit.
    pub(crate) fn grow(&self) -> bool {
        self.shared.grow(GROW)
    }

    /// Forgets how operations of the backend failed.
    pub(crate) fn forget_failures(&self) {
        self.shared.forget();
    }

    /// Whether nothing failed since but a write for which there was no space.
    pub(crate) fn only_space_failed(&self) -> bool {
        self.shared.only_space_failed()
    }

    /// Reads the tables as the last commit left them.
    pub(crate) fn read<T>(
        &self,
        f: impl FnOnce(&Tables) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.with(|database| {
            let txn = database.begin_read().map_err(at("read log.redb"))?;
            let log = txn.open_table(LOG).map_err(at("read log.redb"))?;
            let meta = txn.open_table(META).map_err(at("read log.redb"))?;
            f(&Tables { log, meta })
        })
    }

    /// Calls redb: panics become damage.
    pub(crate) fn with<T>(
        &self,
        f: impl FnOnce(&Database) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let database = slot.as_ref().ok_or(StorageError::Closed)?;
        guarded(|| f(database)).map_err(in_file(&self.settings.path))
    }

    /// Closes and opens the file again: after an error redb does nothing more before that.
    pub(crate) fn reopen(&self) -> Result<(), StorageError> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        self.open_into(&mut slot)
    }

    /// Moves what the file holds to its front and gives the rest back to the file system. Readers
    /// and the writer wait, up to seconds for a large file: for a disk that is nearly full alone.
    pub(crate) fn compact(&self) -> Result<(), StorageError> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        let database = slot.as_mut().ok_or(StorageError::Closed)?;
        self.shared.forget();
        match guarded(|| database.compact().map_err(at("compact log.redb"))) {
            // It got as far as there was room for its own copies.
            Err(_) if self.shared.only_space_failed() => self.open_into(&mut slot),
            result => result.map(drop),
        }
    }

    fn open_into(&self, slot: &mut Option<Database>) -> Result<(), StorageError> {
        release(slot.take());
        self.shared.forget();
        // A check of the whole file is for the start; this is in the middle of a write.
        let settings = Settings { check_pages: false, known: u64::MAX, ..self.settings.clone() };
        let opened = guarded(|| {
            let database = open(&settings, Open::Existing, self.shared.clone())?;
            last_commit(&database, self.last_flushed())?;
            Ok(database)
        });
        *slot = Some(opened.map_err(in_file(&settings.path))?);
        Ok(())
    }

    /// Closes the file; every later call fails.
    pub(crate) fn close(&self) {
        release(self.slot.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Bytes inside the file that take space and hold nothing. redb uses them again, but does not
    /// prefer them to such as take no space yet. Walks the tree: not for the path of a write.
    pub(crate) fn spare(&self, files: &dyn Files) -> Result<u64, StorageError> {
        let path = &self.settings.path;
        let taken =
            files.allocated(path).map_err(|error| StorageError::io("measure", path.clone(), error))?;
        self.with(|database| {
            let txn = database.begin_write().map_err(at("measure log.redb"))?;
            let used = txn.stats().map_err(at("measure log.redb"))?.allocated_pages() * PAGE;
            txn.abort().map_err(at("measure log.redb"))?;
            Ok(taken.saturating_sub(used))
        })
    }
}

/// The number of the last commit that the file holds: an error when it is before `seen`, which was
/// flushed.
fn last_commit(database: &Database, seen: u64) -> Result<u64, StorageError> {
    const READING: &str = "read log.redb";
    let txn = database.begin_read().map_err(at(READING))?;
    txn.open_table(LOG).map_err(at(READING))?;
    let number = read::commit(&txn.open_table(META).map_err(at(READING))?)?;
    if number < seen {
        return Err(damaged(format!(
            "commit {seen} was flushed, and is lost: the last one that is whole is {number}. If an older \
             copy of the file was put back: put back the newest, as what it has promised since is binding"
        )));
    }
    Ok(number)
}

/// Closes what was open. The data is safe whatever this says: each commit was flushed, and a file
/// that was not closed well is repaired by the next open.
fn release(database: Option<Database>) {
    let closed =
        database.map_or(Ok(()), |database| guarded(|| database.close().map_err(at("close log.redb"))));
    if let Err(error) = closed {
        tracing::warn!(%error, "log.redb was not closed cleanly; the next open repairs it");
    }
}

fn open(settings: &Settings, how: Open, shared: Arc<Shared>) -> Result<Database, StorageError> {
    let io = |error| StorageError::io("open", settings.path.clone(), error);
    let backend = (settings.backend)(&settings.path, how).map_err(io)?;
    let backend = Preallocated::new(backend, settings.step, settings.known, shared).map_err(io)?;
    // redb would start afresh in an empty file.
    if how == Open::Existing && backend.len().map_err(io)? == 0 {
        return Err(damaged("it is empty"));
    }
    let mut builder = Database::builder();
    builder.set_cache_size(settings.cache_bytes).set_check_integrity_on_open(settings.check_pages);
    builder.create_with_backend(backend).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StorageError::InUse { path: settings.path.clone() },
        error => at("open log.redb")(error),
    })
}

/// Whether a commit is flushed once or twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// One flush a commit. What a power cut tears is told by checksums when the file is opened.
    ///
    /// A bit that flips in the last commit looks the same. After a death of the process `log.seen`
    /// says that the commit was flushed, and the open fails. After a power cut `log.seen` may lag
    /// behind, since it is not flushed: then damage to the very last commit before the cut is taken
    /// for a torn write, and that commit is lost without an error.
    #[default]
    OnePhase,
    /// Two flushes a commit: the data first, then the switch to it. Damage to the last commit is then
    /// an error after a power cut, too. Also for a disk whose users could craft entries so that torn
    /// ones have the right checksum.
    TwoPhase,
}

impl Durability {
    /// Begins a write that is flushed this way.
    pub(crate) fn begin(self, database: &Database) -> Result<WriteTransaction, StorageError> {
        let mut txn = database.begin_write().map_err(at("write log.redb"))?;
        txn.set_two_phase_commit(self == Self::TwoPhase);
        Ok(txn)
    }
}
