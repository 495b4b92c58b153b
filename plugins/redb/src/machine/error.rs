//! Why tables could not be read or written.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use quorate::error::{MachineError, StorageError};

/// Tables could not be read or written: the node stops. Never a business error, which is a value in
/// a response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The machine does not declare this table, so that no snapshot would hold it.
    #[error("table `{table}` is not among the machine's `TABLES`, so that no snapshot would hold it")]
    Undeclared {
        /// Its name.
        table: String,
    },
    /// There is no room for what is to be written to the machine's file. Nothing is lost: what was not
    /// flushed is applied again from the log, once the node is started with more room.
    #[error("no space left on the disk of {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file is closed.
    #[error("the machine's file is closed")]
    Closed,
    /// redb refused or failed.
    #[error(transparent)]
    Redb(#[from] redb::Error),
}

macro_rules! from_redb {
    ($($error:ident)*) => {
        $(impl From<redb::$error> for TableError {
            fn from(error: redb::$error) -> Self {
                Self::Redb(error.into())
            }
        })*
    };
}

from_redb!(StorageError TableError TransactionError CommitError DatabaseError SetDurabilityError);

impl From<TableError> for io::Error {
    fn from(error: TableError) -> Self {
        Self::other(error)
    }
}

/// What the caller of `open` is told of an error at `path`.
pub(super) fn told(path: &Path, doing: &'static str, error: TableError) -> MachineError {
    let damaged = |detail: String| StorageError::Corrupt { what: path.display().to_string(), detail }.into();
    match error {
        TableError::Full { .. } => StorageError::Full { doing }.into(),
        TableError::Redb(redb::Error::DatabaseAlreadyOpen) => {
            StorageError::InUse { path: path.to_owned() }.into()
        }
        TableError::Redb(redb::Error::Corrupted(detail)) => damaged(detail),
        // How redb says that the file is not one of its own.
        TableError::Redb(redb::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            damaged(error.to_string())
        }
        TableError::Redb(redb::Error::Io(error)) => StorageError::io(doing, path.to_owned(), error).into(),
        TableError::Redb(
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_)),
        ) => damaged(error.to_string()),
        error => StorageError::plugin(doing, error).into(),
    }
}

/// Calls redb: on a damaged file it may panic where it meets what cannot be.
pub(super) fn guarded<T>(
    path: &Path,
    doing: &'static str,
    call: impl FnOnce() -> Result<T, TableError>,
) -> Result<T, MachineError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| told(path, doing, error)),
        Err(panic) => {
            let (what, detail) = (path.display().to_string(), panic_text(panic.as_ref()));
            Err(StorageError::Corrupt { what, detail }.into())
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("redb panicked: {}", text.unwrap_or("no message"))
}
