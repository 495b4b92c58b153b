//! How files survive a crash: nothing counts before it was flushed, names of files included.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use quorate::error::StorageError;

/// Says what failed, and on which file.
pub(crate) fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StorageError + 'a {
    move |error| StorageError::io(doing, path.to_owned(), error)
}

/// Flushes the names in a directory: until then a power cut can take a file with all its bytes.
fn sync_names(dir: Option<&Path>) -> io::Result<()> {
    dir.map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Gives a flushed file its name: a crash leaves the file that had it before, or this one.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_names(to.parent())
}

/// Writes a small file, completely or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(&temporary, path)
}

/// Removes files that a crash left without their name, and makes sure of the names there are.
pub(crate) fn clean(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(path)?;
        }
    }
    sync_names(Some(dir))?;
    sync_names(dir.canonicalize()?.parent())
}
