//! The two faces of the disk: the backend under redb's file, and the file system beside it.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use quorate_redb::hooks::{Files, Lock, Open, ReadFile, StorageBackend, WriteFile};
use redb::BackendError;

use super::SimDisk;
use super::state::{Change, Naming, State, no_power};

/// The disk as one boot sees it: what a process that died still does in its destructors fails.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    pub(super) disk: SimDisk,
    pub(super) number: u64,
}

impl Boot {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        if state.boot != self.number {
            return Err(no_power());
        }
        state.alive()?;
        Ok(state)
    }

    pub(super) fn backend(&self, path: &Path, open: Open) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.state()?;
        let inode = match open {
            Open::New => state.create(path)?,
            Open::Existing => state.find(path)?,
        };
        Ok(Box::new(self.handle(inode)))
    }

    fn handle(&self, inode: u64) -> Handle {
        Handle { boot: self.clone(), inode }
    }
}

/// An open file of one boot.
#[derive(Debug)]
struct Handle {
    boot: Boot,
    inode: u64,
}

impl Handle {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        self.boot.state()
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.inode(self.inode)?.live.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state()?;
        let bytes = &state.inode(self.inode)?.live;
        let found = bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state()?.apply(self.inode, Change::Len(len))
    }
    fn sync_data(&self) -> io::Result<()> {
        self.state()?.sync(self.inode)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.state()?.apply(self.inode, Change::Write(offset, data.to_vec()))
    }
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Err(BackendError::Unsupported)
    }
}

impl WriteFile for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        let end = state.inode(self.inode)?.live.len() as u64;
        state.apply(self.inode, Change::Write(end, bytes.to_vec()))
    }
    fn sync(&mut self) -> io::Result<()> {
        self.state()?.sync(self.inode)
    }
}

impl ReadFile for Handle {
    fn len(&self) -> io::Result<u64> {
        StorageBackend::len(self)
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        StorageBackend::read(self, offset, buffer)
    }
}

struct Locked {
    boot: Boot,
    path: PathBuf,
}

impl Lock for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        // A crash has released it already.
        if let Ok(mut state) = self.boot.state() {
            state.locked.remove(&self.path);
        }
    }
}

impl Files for Boot {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        // Directories are durable at once; what a crash does to their own names is not simulated.
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state()?;
        if !state.dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let state = self.state()?;
        let inode = state.find(path)?;
        Ok(Box::new(self.handle(inode)))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.state()?;
        let inode = state.create(path)?;
        Ok(Box::new(self.handle(inode)))
    }
    fn resume(&self, path: &Path, len: u64) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.state()?;
        let inode = state.find(path)?;
        state.apply(inode, Change::Len(len))?;
        Ok(Box::new(self.handle(inode)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        let inode = state.find(from)?;
        state.change()?;
        state.name(Naming::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.find(path)?;
        state.change()?;
        state.name(Naming::Remove(path.to_owned()));
        Ok(())
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state()?.sync_names(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut state = self.state()?;
        if !state.locked.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Locked { boot: self.clone(), path: path.to_owned() })))
    }
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut state = self.state()?;
        if state.used() + bytes > state.capacity.unwrap_or(u64::MAX) {
            return Err(ErrorKind::StorageFull.into());
        }
        let inode = state.create(path)?;
        // It has its space and its length, and no bytes that matter.
        state.apply(inode, Change::Len(bytes))?;
        state.inode(inode)?.reserved = bytes;
        state.sync(inode)
    }
    fn allocated(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state()?;
        let inode = state.find(path)?;
        Ok(state.inode(inode)?.space())
    }
    fn available(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state()?;
        Ok(state.capacity.unwrap_or(u64::MAX).saturating_sub(state.used()))
    }
}
