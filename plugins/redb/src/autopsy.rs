//! Which entry or value a damaged file has lost.
//!
//! redb checks its pages when the file is opened, and says that some page differs, not what it
//! held. Here the file is read once more without that check, only to give the error a name. Nothing
//! that is read here is used for anything else, and nothing is written.

use std::cell::Cell;
use std::io;
use std::ops::Bound;
use std::panic;
use std::sync::Once;

use quorate::error::StorageError;
use redb::{BackendError, ConcurrencyMode, Database, ReadableDatabase, StorageBackend};

use crate::check;
use crate::database::{LOG, META, Settings, Tables};
use crate::error::{at, guarded};
use crate::hooks::Open;

/// The name of the first entry or value of the file that is damaged, such as `entry 17 of g0`.
/// `None` when none is, or when nothing can be told.
pub(crate) fn first_damaged(settings: &Settings) -> Option<String> {
    let inner = (settings.backend)(&settings.path, Open::Existing).ok()?;
    match quietly(|| guarded(|| examine(Corpse { inner }))) {
        // redb's own words name the file, which is known already.
        Err(StorageError::Corrupt { what, .. }) if what != crate::error::FILE => Some(what),
        _ => None,
    }
}

fn examine(corpse: Corpse) -> Result<(), StorageError> {
    const DOING: &str = "examine log.redb";
    let mut builder = Database::builder();
    // As one who reads beside a writer: redb then takes the last commit as it is recorded, and
    // looks at nothing but the pages that are asked for.
    builder.set_concurrency_mode(ConcurrencyMode::SingleWriter);
    let database = builder.open_read_only_with_backend(corpse).map_err(at(DOING))?;
    let txn = database.begin_read().map_err(at(DOING))?;
    let log = txn.open_table(LOG).map_err(at(DOING))?;
    let meta = txn.open_table(META).map_err(at(DOING))?;
    check::examine(&Tables { log, meta })
}

/// Runs `f` without what a panic prints.
///
/// The hook belongs to the whole process, so it is replaced once, and only where a file was found
/// damaged; it silences this thread while it is here, and passes on everything else.
fn quietly<T>(f: impl FnOnce() -> T) -> T {
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let result = f();
    QUIET.set(false);
    result
}

/// The byte of redb's header that says how the file was left.
const LEFT: u64 = 9;
/// A writer died, or died before its last flush.
const UNCLEAN: u8 = 2 | 8;

/// The file, taken for one that was closed well, and never written.
#[derive(Debug)]
struct Corpse {
    inner: Box<dyn StorageBackend>,
}

impl StorageBackend for Corpse {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)?;
        let at = LEFT.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
        if let Some(left) = at.and_then(|at| out.get_mut(at)) {
            *left &= !UNCLEAN;
        }
        Ok(())
    }
    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, _offset: u64, _data: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
    // The directory is locked, so that nobody else has the file.
    fn try_lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }
    fn try_lock_shared_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }
    fn lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
    fn lock_shared_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
    fn query_lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}
