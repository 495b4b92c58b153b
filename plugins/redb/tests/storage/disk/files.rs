//! What the plugin does with the disk: files, names, locks.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use quorate_redb::hooks::{Files, Lock, ReadFile, StorageBackend, WriteFile};
use redb::BackendError;

use super::{Change, Disk, Naming, State, no_power};

/// An open file of one boot.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) disk: Disk,
    pub(super) inode: u64,
    pub(super) boot: u64,
}

impl Handle {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        if state.boot != self.boot {
            return Err(no_power());
        }
        state.alive()?;
        Ok(state)
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.inodes[&self.inode].live.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state()?;
        state.reads += 1;
        match &mut state.reads_left {
            Some(0) => return Err(io::Error::other("the disk does not read")),
            Some(left) => *left -= 1,
            None => {}
        }
        let bytes = &state.inodes[&self.inode].live;
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
        let end = state.inodes[&self.inode].live.len() as u64;
        state.apply(self.inode, Change::Write(end, bytes.to_vec()))
    }
    fn sync(&mut self) -> io::Result<()> {
        self.state()?.sync(self.inode)
    }
}

impl ReadFile for Handle {
    fn len(&self) -> io::Result<u64> {
        let len = StorageBackend::len(self)?;
        self.state()?.looked()?;
        Ok(len)
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        StorageBackend::read(self, offset, buffer)
    }
}

struct Locked {
    disk: Disk,
    path: PathBuf,
    boot: u64,
}

impl Lock for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if state.boot == self.boot {
            state.locked.remove(&self.path);
        }
    }
}

impl Files for Disk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        if state.read_only && !state.dirs.contains(dir) {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        // Directories are durable at once here; their names are not what is tested.
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.alive()?;
        if !state.dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let state = self.lock();
        Ok(Box::new(self.handle(state.find(path)?, state.boot)))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.lock();
        let inode = state.create(path)?;
        self.counted.notify_waiters();
        Ok(Box::new(self.handle(inode, state.boot)))
    }
    fn resume(&self, path: &Path, len: u64) -> io::Result<Box<dyn WriteFile>> {
        let mut state = Disk::lock(self);
        let inode = state.find(path)?;
        state.apply(inode, Change::Len(len))?;
        Ok(Box::new(self.handle(inode, state.boot)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.find(from)?;
        state.change()?;
        // One change for both names would be needed where the order of two could be split; a
        // journal keeps a rename whole, and a file under both names is harmless.
        state.rename_to(Naming::Put(to.to_owned(), inode));
        state.rename_to(Naming::Remove(from.to_owned()));
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.find(path)?;
        state.change()?;
        if state.stuck.as_deref() == Some(path) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        state.rename_to(Naming::Remove(path.to_owned()));
        Ok(())
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.change()?;
        if state.syncs_fail {
            return Err(io::Error::other("the flush failed"));
        }
        let all = std::mem::take(&mut state.unsynced_names);
        let (synced, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|naming| naming.dir() == Some(dir));
        for naming in synced {
            naming.apply(&mut state.durable_names);
        }
        state.unsynced_names = rest;
        Ok(())
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut state = Disk::lock(self);
        state.alive()?;
        if !state.locked.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Locked { disk: self.clone(), path: path.to_owned(), boot: state.boot })))
    }
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut state = Disk::lock(self);
        if state.used() + bytes > state.capacity.unwrap_or(u64::MAX) {
            return Err(ErrorKind::StorageFull.into());
        }
        let inode = state.create(path)?;
        // It has its space and its length, and no bytes that matter.
        state.apply(inode, Change::Len(bytes))?;
        state.inodes.get_mut(&inode).expect("just made").reserved = bytes;
        state.sync(inode)
    }
    fn allocated(&self, path: &Path) -> io::Result<u64> {
        let state = Disk::lock(self);
        Ok(state.inodes[&state.find(path)?].space())
    }
    fn available(&self, _dir: &Path) -> io::Result<u64> {
        let mut state = Disk::lock(self);
        state.looks += 1;
        self.counted.notify_waiters();
        let available = state.capacity.unwrap_or(u64::MAX).saturating_sub(state.used());
        state.looked()?;
        Ok(available)
    }
}
