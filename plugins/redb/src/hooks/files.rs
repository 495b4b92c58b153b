//! The little of a file system that the plugin needs beside redb's file.

use std::io;
use std::path::Path;

/// A file system, or a simulated one. Calls block; of them all [`WriteFile::append`] alone is on the
/// path of a write, with a few bytes that are not flushed.
pub trait Files: Send + Sync + 'static {
    /// Creates `dir` and what is missing above it.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in `dir`, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file for reading. It stays readable when it is removed or replaced.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// Creates an empty file, in the place of whatever had that name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Opens a file to go on writing it after its first `len` bytes; what lies behind them is cut off.
    /// Where it is [`io::ErrorKind::Unsupported`], as it is by default, a file is begun anew.
    fn resume(&self, path: &Path, len: u64) -> io::Result<Box<dyn WriteFile>> {
        let _ = (path, len);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Renames `from` to `to`, atomically, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes what was created, renamed and removed in `dir` survive a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates the file when it is missing and locks it against everyone else, this process
    /// included. `None` when it is locked. A process that dies lets go.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;

    /// Makes `path` a file that takes `bytes` of the space there is.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// How many bytes of space a file takes, which may be fewer than it has.
    fn allocated(&self, path: &Path) -> io::Result<u64>;

    /// How many bytes the file system under `dir` has left for us.
    fn available(&self, dir: &Path) -> io::Result<u64>;
}

/// A lock that dropping it releases.
pub trait Lock: Send + Sync {}

/// A file being read.
pub trait ReadFile: Send + Sync {
    /// How many bytes it has.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has none.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset`. `UnexpectedEof` when the file ends before.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// A file being written, from its start.
pub trait WriteFile: Send + Sync {
    /// Adds `bytes` at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was added survive a power cut.
    fn sync(&mut self) -> io::Result<()>;
}
