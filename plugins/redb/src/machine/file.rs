//! The file of a machine: created so that a crash leaves it whole or not there, opened, replaced,
//! closed.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use quorate::error::{MachineError, RestoreError, StorageError};
use quorate::storage::Health;
use redb::{Database, ReadTransaction, ReadableDatabase, StorageBackend, TableDefinition, WriteTransaction};

use super::error::{guarded, told};
use super::{DeclaredTable, TableError};
use crate::backend::{Preallocated, Shared, lacks_space};
use crate::hooks::{Hooks, Lock, Open};

/// What the file is, and the framework's record.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("quorate");

const FORMAT_KEY: &str = "format";
const MACHINE_KEY: &str = "machine";
const VERSION_KEY: &str = "version";
const FORMAT: u32 = 1;

/// More than a file takes whose tables are empty.
const EMPTY: u64 = 128 << 10;

/// What belongs into the file, and how it is opened.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) path: PathBuf,
    pub(super) cache_bytes: usize,
    pub(super) low_water_bytes: u64,
    pub(super) hooks: Hooks,
    pub(super) name: &'static str,
    pub(super) version: u32,
    pub(super) tables: &'static [&'static dyn DeclaredTable],
}

/// An open file. It stays open for those who read it when another takes its place.
pub(super) struct Opened {
    database: RwLock<Option<Database>>,
    path: PathBuf,
    /// How its operations failed.
    failed: Arc<Shared>,
}

impl Opened {
    fn with<T>(&self, call: impl FnOnce(&Database) -> Result<T, TableError>) -> Result<T, TableError> {
        let slot = self.database.read().unwrap_or_else(PoisonError::into_inner);
        call(slot.as_ref().ok_or(TableError::Closed)?)
    }

    pub(super) fn read(&self) -> Result<ReadTransaction, TableError> {
        self.with(|database| Ok(database.begin_read()?))
    }

    pub(super) fn write(&self) -> Result<WriteTransaction, TableError> {
        self.with(|database| Ok(database.begin_write()?))
    }

    /// Says that there is no space when that is what made `error`. redb tells the first failed
    /// operation to whoever asked for it, which may be itself, and of all others only that there was
    /// one before.
    pub(super) fn explain(&self, error: TableError) -> TableError {
        let caused = match &error {
            TableError::Redb(redb::Error::Io(error)) => lacks_space(error),
            TableError::Redb(redb::Error::PreviousIo) => self.failed.only_space_failed(),
            _ => false,
        };
        if caused { TableError::Full { path: self.path.clone() } } else { error }
    }

    /// Closes it, whoever still reads.
    fn close(&self) {
        let path = &self.path;
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        let closed = database.map_or(Ok(()), |database| guarded(path, "close", || Ok(database.close()?)));
        if let Err(error) = closed {
            tracing::warn!(%error, "the machine's file was not closed cleanly; the next open repairs it");
        }
    }
}

/// The file that is the machine's now.
pub(super) struct File {
    settings: Settings,
    current: RwLock<Option<Arc<Opened>>>,
    /// Whether there was little room when it was last looked.
    short: AtomicBool,
    lock: Mutex<Option<Box<dyn Lock>>>,
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(suffix);
    path.with_file_name(name)
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn io(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> MachineError {
    let path = path.to_owned();
    move |error| StorageError::io(doing, path.clone(), error).into()
}

impl Settings {
    fn temp(&self) -> PathBuf {
        beside(&self.path, ".tmp")
    }

    /// Makes the folder, and makes it survive a power cut.
    fn make_folder(&self) -> Result<(), MachineError> {
        let files = &self.hooks.files;
        let missing = |dir: &Path| files.list(dir).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let dir = folder(&self.path);
        let made: Vec<&Path> = dir.ancestors().take_while(|dir| missing(dir)).collect();
        files.create_dir(dir).map_err(io("create", dir))?;
        for made in made {
            files.sync_dir(folder(made)).map_err(io("flush what holds", made))?;
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> Result<bool, MachineError> {
        let dir = folder(path);
        let names = self.hooks.files.list(dir).map_err(io("list", dir))?;
        Ok(names.iter().any(|name| path.file_name().is_some_and(|own| own == name.as_str())))
    }

    fn remove_temp(&self) -> Result<(), MachineError> {
        let temp = self.temp();
        if self.exists(&temp)? {
            self.hooks.files.remove(&temp).map_err(io("remove", &temp))?;
        }
        Ok(())
    }

    fn database(&self, path: &Path, how: Open, failed: &Arc<Shared>) -> Result<Database, MachineError> {
        let backend = (self.hooks.backend)(path, how).map_err(io("open", path))?;
        // redb would start afresh in an empty file.
        if how == Open::Existing && StorageBackend::len(&*backend).map_err(io("open", path))? == 0 {
            let what = path.display().to_string();
            return Err(StorageError::Corrupt { what, detail: "it is empty".to_owned() }.into());
        }
        // Space is not taken ahead: a flush comes seldom, and with much to write.
        let backend = Preallocated::new(backend, 0, 0, failed.clone()).map_err(io("open", path))?;
        guarded(path, "open", || {
            let mut builder = Database::builder();
            builder.set_cache_size(self.cache_bytes);
            Ok(builder.create_with_backend(backend)?)
        })
    }

    /// Makes every table that is missing, and says whose they are.
    fn lay_out(&self, txn: &WriteTransaction) -> Result<(), TableError> {
        let mut meta = txn.open_table(META)?;
        meta.insert(FORMAT_KEY, &FORMAT.to_le_bytes()[..])?;
        meta.insert(MACHINE_KEY, self.name.as_bytes())?;
        meta.insert(VERSION_KEY, &self.version.to_le_bytes()[..])?;
        self.tables.iter().try_for_each(|table| table.create(txn))
    }

    /// Fills a new file and puts it into the place of the old one, if there is one. redb's own
    /// creation of a file is not crash-safe: a death in its middle leaves one that nothing opens.
    fn make<E: From<MachineError>>(&self, fill: impl FnOnce(&Database) -> Result<(), E>) -> Result<(), E> {
        self.remove_temp()?;
        let temp = self.temp();
        let failed = Arc::new(Shared::default());
        let filled = (|| {
            let database = self.database(&temp, Open::New, &failed)?;
            guarded(&temp, "create", || {
                let txn = database.begin_write()?;
                self.lay_out(&txn)?;
                Ok(txn.commit()?)
            })?;
            fill(&database)?;
            Ok(guarded(&temp, "create", || Ok(database.close()?))?)
        })();
        if let Err(error) = filled {
            // Should this fail as well, the next open removes it.
            drop(self.remove_temp());
            if failed.only_space_failed() {
                return Err(told(&temp, "fill", TableError::Full { path: temp.clone() }).into());
            }
            return Err(error);
        }
        let files = &self.hooks.files;
        let put = files.rename(&temp, &self.path).and_then(|()| files.sync_dir(folder(&self.path)));
        Ok(put.map_err(io("put into its place", &self.path))?)
    }

    /// Opens the file, which is there, and checks whose it is.
    fn open(&self) -> Result<Arc<Opened>, MachineError> {
        let failed = Arc::new(Shared::default());
        let database = self.database(&self.path, Open::Existing, &failed)?;
        let (name, version) = guarded(&self.path, "read", || {
            let txn = database.begin_read()?;
            let meta = match txn.open_table(META) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok((None, None)),
                meta => meta?,
            };
            let number = |key| -> Result<Option<u32>, TableError> {
                let value = meta.get(key)?;
                Ok(value.and_then(|value| value.value().try_into().ok()).map(u32::from_le_bytes))
            };
            let name = meta.get(MACHINE_KEY)?.map(|name| String::from_utf8_lossy(name.value()).into_owned());
            Ok((name.zip(number(FORMAT_KEY)?), number(VERSION_KEY)?))
        })?;
        let (Some((name, format)), Some(found)) = (name, version) else {
            let detail = "it is not the file of a state machine".to_owned();
            return Err(StorageError::Corrupt { what: self.path.display().to_string(), detail }.into());
        };
        if format != FORMAT {
            let what = "the machine's file";
            return Err(StorageError::Version { what, found: format, supported: FORMAT }.into());
        }
        if name != self.name {
            return Err(MachineError::OtherMachine { found: name, expected: self.name.to_owned() });
        }
        if found > self.version {
            return Err(MachineError::NewerVersion { found, supported: self.version });
        }
        if found < self.version {
            guarded(&self.path, "upgrade", || {
                let txn = database.begin_write()?;
                self.lay_out(&txn)?;
                Ok(txn.commit()?)
            })?;
        }
        // A table of other types, or one that was forgotten when the version was raised.
        guarded(&self.path, "read", || {
            let txn = database.begin_write()?;
            self.tables.iter().try_for_each(|table| table.create(&txn))?;
            Ok(txn.abort()?)
        })?;
        let database = RwLock::new(Some(database));
        Ok(Arc::new(Opened { database, path: self.path.clone(), failed }))
    }
}

impl File {
    /// Opens the file, and creates it when there is none.
    pub(super) fn open(settings: Settings) -> Result<Self, MachineError> {
        settings.make_folder()?;
        let lock_path = beside(&settings.path, ".lock");
        let lock = settings.hooks.files.lock(&lock_path).map_err(io("lock", &lock_path))?;
        let lock = lock.ok_or_else(|| StorageError::InUse { path: settings.path.clone() })?;
        settings.remove_temp()?;
        if settings.exists(&settings.path)? {
            // Whoever put it there may have died before its name was flushed.
            let folder = folder(&settings.path);
            settings.hooks.files.sync_dir(folder).map_err(io("flush what holds", &settings.path))?;
        } else {
            settings.make::<MachineError>(|_| Ok(()))?;
        }
        let opened = settings.open()?;
        let (current, lock) = (RwLock::new(Some(opened)), Mutex::new(Some(lock)));
        Ok(Self { settings, current, short: AtomicBool::new(false), lock })
    }

    /// Whether there is room for what is still to be written.
    pub(super) fn health(&self) -> Health {
        let Settings { path, cache_bytes, low_water_bytes: low, hooks, .. } = &self.settings;
        if *low == 0 {
            return Health::Ok;
        }
        let short = self.short.load(Ordering::Relaxed);
        // Some more to come back than to go away, or the state flaps.
        let enough = if short { low + low / 4 } else { *low } + *cache_bytes as u64;
        let short = match hooks.files.available(folder(path)) {
            Ok(available) => available < enough,
            Err(error) => {
                tracing::warn!(%error, "the free space is unknown");
                short
            }
        };
        self.short.store(short, Ordering::Relaxed);
        if short { Health::Low } else { Health::Ok }
    }

    /// Whether a snapshot of so many bytes has room as a file beside this one.
    pub(super) fn room_for(&self, snapshot_bytes: u64) -> Result<(), RestoreError> {
        let Settings { path, low_water_bytes, hooks, .. } = &self.settings;
        // redb rounds a large value up to a power of two of pages, and splits a full page into halves.
        let needed =
            snapshot_bytes.saturating_mul(2).saturating_add(EMPTY).saturating_add(low_water_bytes / 8);
        match hooks.files.available(folder(path)) {
            Ok(available) if available < needed => Err(RestoreError::NoRoom { needed, available }),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the free space is unknown");
                Ok(())
            }
        }
    }

    pub(super) fn current(&self) -> Result<Arc<Opened>, TableError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or(TableError::Closed)
    }

    /// Replaces the file by one that `fill` fills, when that one is whole and flushed.
    pub(super) fn replace<E: From<MachineError>>(
        &self,
        fill: impl FnOnce(&Database) -> Result<(), E>,
    ) -> Result<(), E> {
        self.current().map_err(|error| self.told("replace", error))?;
        self.settings.make(fill)?;
        let opened = self.settings.open()?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        Ok(())
    }

    pub(super) fn told(&self, doing: &'static str, error: TableError) -> MachineError {
        told(&self.settings.path, doing, error)
    }

    /// Closes the file, so that it can be opened again.
    pub(super) fn close(&self) {
        let current = self.current.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(current) = current {
            current.close();
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.close();
    }
}
