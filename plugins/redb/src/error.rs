//! redb's errors and panics as ours.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use quorate::error::StorageError;

/// The version of redb's own file format that this build reads and writes.
const REDB_FORMAT: u32 = 3;

/// Wraps an error of redb that came up while `doing` something.
pub(crate) fn at<E: Into<redb::Error>>(doing: &'static str) -> impl Fn(E) -> StorageError {
    move |error| wrap(doing, error.into())
}

fn wrap(doing: &'static str, error: redb::Error) -> StorageError {
    match error {
        redb::Error::Corrupted(detail) => damaged(detail),
        // How redb says that the file is not one of its own.
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => damaged(error.to_string()),
        redb::Error::Io(error) => StorageError::io(doing, None, error),
        redb::Error::UpgradeRequired(found) => {
            StorageError::Version { what: "log.redb", found: found.into(), supported: REDB_FORMAT }
        }
        redb::Error::DatabaseClosed => StorageError::Closed,
        redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. } => damaged(error.to_string()),
        error => StorageError::plugin(doing, error),
    }
}

/// What the errors of this file call the whole of it, until its path is known.
pub(crate) const FILE: &str = "log.redb";

/// `log.redb` is not what was written.
pub(crate) fn damaged(detail: impl Into<String>) -> StorageError {
    StorageError::Corrupt { what: FILE.to_owned(), detail: detail.into() }
}

/// Adds the file to an error that names what is damaged in it.
pub(crate) fn in_file(path: &Path) -> impl Fn(StorageError) -> StorageError {
    move |error| match error {
        StorageError::Corrupt { what, detail } if what == FILE => {
            StorageError::Corrupt { what: path.display().to_string(), detail }
        }
        StorageError::Corrupt { what, detail } => {
            StorageError::Corrupt { what: format!("{what} in {}", path.display()), detail }
        }
        error => error,
    }
}

/// Runs `f`, which calls redb: on a damaged file redb may panic where it meets what cannot be.
pub(crate) fn guarded<T>(f: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
    // Whatever `f` left half done is redb's, which marks itself, or is thrown away by the caller.
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| Err(damaged(panic_text(panic.as_ref()))))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("redb panicked: {}", text.unwrap_or("no message"))
}

/// The same error again, for the next receipt: an error of the operating system cannot be cloned.
pub(crate) fn again(error: &StorageError) -> StorageError {
    match error {
        StorageError::Io { doing, path, source } => StorageError::Io {
            doing,
            path: path.clone(),
            source: io::Error::new(source.kind(), source.to_string()),
        },
        StorageError::Full { doing } => StorageError::Full { doing },
        StorageError::Corrupt { what, detail } => {
            StorageError::Corrupt { what: what.clone(), detail: detail.clone() }
        }
        StorageError::Version { what, found, supported } => {
            StorageError::Version { what, found: *found, supported: *supported }
        }
        StorageError::Plugin { doing, source } => StorageError::plugin(doing, source.to_string()),
        _ => StorageError::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_redb_is_damage() {
        let caught = guarded::<()>(|| panic!("page {} is not there", 7));
        match caught {
            Err(StorageError::Corrupt { what, detail }) => {
                assert_eq!(
                    (what.as_str(), detail.as_str()),
                    ("log.redb", "redb panicked: page 7 is not there")
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let full = at("write")(redb::Error::Io(io::ErrorKind::StorageFull.into()));
        assert!(matches!(full, StorageError::Full { doing: "write" }));
        let junk = at("open")(redb::Error::Io(io::ErrorKind::InvalidData.into()));
        assert!(matches!(junk, StorageError::Corrupt { .. }));
        let old = at("open")(redb::Error::UpgradeRequired(2));
        assert!(matches!(old, StorageError::Version { found: 2, .. }));
    }
}
