//! Real files on a disk of a size of its own, which a test can also break.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use quorate::error::StorageError;
use quorate::transport::{MemoryNetwork, MemoryTransport};
use quorate::types::{LogIndex, Member, PeerId};
use quorate_redb::RedbStorage;
use quorate_redb::hooks::{Files, Hooks, Lock, Open, ReadFile, StdFiles, StorageBackend, WriteFile};

use crate::rig::{Rig, flip_in};

const BLOCK: u64 = 4096;
const MIB: u64 = 1 << 20;

#[derive(Debug, Default)]
struct State {
    capacity: Option<u64>,
    flushes_fail: bool,
    /// The blocks of a file under redb that take space, as on a sparse file.
    blocks: BTreeMap<PathBuf, BTreeSet<u64>>,
    /// How many bytes any other file takes.
    files: BTreeMap<PathBuf, u64>,
}

impl State {
    fn used(&self) -> u64 {
        let blocks: usize = self.blocks.values().map(BTreeSet::len).sum();
        blocks as u64 * BLOCK + self.files.values().sum::<u64>()
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if self.used() + bytes > capacity => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

/// A disk. A clone is the same one.
#[derive(Clone, Debug, Default)]
pub struct SmallDisk(Arc<Mutex<State>>);

impl SmallDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes fit on it; as many as there are by default.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = Some(bytes);
    }

    /// How many bytes are taken.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// From now on, or no longer, flushes fail.
    pub fn fail_flushes(&self, fail: bool) {
        self.lock().flushes_fail = fail;
    }

    fn flush(&self) -> io::Result<()> {
        if self.lock().flushes_fail { Err(io::Error::other("the flush failed")) } else { Ok(()) }
    }

    /// Hooks of a storage on this disk.
    pub fn hooks(&self) -> Hooks {
        let (disk, base) = (self.clone(), Hooks::default());
        let open = base.backend.clone();
        let backend = move |path: &Path, how: Open| {
            let inner = open(path, how)?;
            let mut state = disk.lock();
            if how == Open::New {
                state.blocks.remove(path);
            }
            state.blocks.entry(path.to_owned()).or_default();
            drop(state);
            let backend = Backend { inner, path: path.to_owned(), disk: disk.clone() };
            Ok(Box::new(backend) as Box<dyn StorageBackend>)
        };
        Hooks { files: Arc::new(self.clone()), backend: Arc::new(backend), ..base }
    }
}

/// The file under redb.
#[derive(Debug)]
struct Backend {
    inner: Box<dyn StorageBackend>,
    path: PathBuf,
    disk: SmallDisk,
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        // A longer file is sparse and takes nothing.
        let mut state = self.disk.lock();
        drop(state.blocks.entry(self.path.clone()).or_default().split_off(&len.div_ceil(BLOCK)));
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.flush()?;
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let wanted = offset / BLOCK..(offset + data.len() as u64).div_ceil(BLOCK);
        let mut state = self.disk.lock();
        let known = state.blocks.entry(self.path.clone()).or_default();
        let new = wanted.clone().filter(|block| !known.contains(block)).count() as u64;
        state.take(new * BLOCK)?;
        state.blocks.entry(self.path.clone()).or_default().extend(wanted);
        drop(state);
        self.inner.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
    fn try_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, quorate_redb::hooks::BackendError> {
        self.inner.try_lock_range(start, end)
    }
    fn unlock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<(), quorate_redb::hooks::BackendError> {
        self.inner.unlock_range(start, end)
    }
}

/// Any other file.
struct Writing {
    inner: Box<dyn WriteFile>,
    path: PathBuf,
    disk: SmallDisk,
}

impl WriteFile for Writing {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.take(bytes.len() as u64)?;
        *state.files.entry(self.path.clone()).or_default() += bytes.len() as u64;
        drop(state);
        self.inner.append(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.disk.flush()?;
        self.inner.sync()
    }
}

impl Files for SmallDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        StdFiles.create_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        StdFiles.list(dir)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        StdFiles.open(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let inner = StdFiles.create(path)?;
        self.lock().files.insert(path.to_owned(), 0);
        Ok(Box::new(Writing { inner, path: path.to_owned(), disk: self.clone() }))
    }
    fn resume(&self, path: &Path, len: u64) -> io::Result<Box<dyn WriteFile>> {
        let inner = StdFiles.resume(path, len)?;
        self.lock().files.insert(path.to_owned(), len);
        Ok(Box::new(Writing { inner, path: path.to_owned(), disk: self.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        StdFiles.rename(from, to)?;
        let mut state = self.lock();
        if let Some(bytes) = state.files.remove(from) {
            state.files.insert(to.to_owned(), bytes);
        }
        if let Some(blocks) = state.blocks.remove(from) {
            state.blocks.insert(to.to_owned(), blocks);
        }
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        StdFiles.remove(path)?;
        let mut state = self.lock();
        state.files.remove(path);
        state.blocks.remove(path);
        Ok(())
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.flush()?;
        StdFiles.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        StdFiles.lock(path)
    }
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        SmallDisk::lock(self).take(bytes)?;
        StdFiles.reserve(path, bytes)?;
        SmallDisk::lock(self).files.insert(path.to_owned(), bytes);
        Ok(())
    }
    fn allocated(&self, path: &Path) -> io::Result<u64> {
        let state = SmallDisk::lock(self);
        let blocks = state.blocks.get(path).map(|blocks| blocks.len() as u64 * BLOCK);
        Ok(blocks.or_else(|| state.files.get(path).copied()).unwrap_or_default())
    }
    fn available(&self, _dir: &Path) -> io::Result<u64> {
        let state = SmallDisk::lock(self);
        Ok(state.capacity.unwrap_or(u64::MAX).saturating_sub(state.used()))
    }
}

/// redb on a small disk for each node, and a network in memory.
pub struct SmallDiskRig {
    network: MemoryNetwork,
    dir: tempfile::TempDir,
    disks: Vec<SmallDisk>,
    /// What each storage is opened with: the mark, and the reserve, in MiB.
    pub low_water: u64,
    /// The reserve.
    pub ballast: u64,
}

impl SmallDiskRig {
    /// The disk of a node.
    pub fn disk(&self, node: u64) -> &SmallDisk {
        &self.disks[node as usize - 1]
    }

    /// The data directory of a node.
    pub fn dir(&self, node: u64) -> PathBuf {
        self.dir.path().join(format!("n{node}"))
    }
}

#[async_trait]
impl Rig for SmallDiskRig {
    type Storage = RedbStorage;
    type Transport = MemoryTransport;

    fn new(nodes: u64) -> Self {
        Self {
            network: MemoryNetwork::new(),
            dir: tempfile::tempdir().expect("a temporary directory"),
            disks: (0..nodes).map(|_| SmallDisk::default()).collect(),
            low_water: 8,
            ballast: 2,
        }
    }
    fn members(&self) -> Vec<Member> {
        let member = |node| {
            let name = format!("n{node}");
            Member::new(node, PeerId::new(name.clone()).expect("a short name"), name)
        };
        (1..=self.disks.len() as u64).map(member).collect()
    }
    fn open(&self, node: u64) -> Result<RedbStorage, StorageError> {
        RedbStorage::builder(self.dir(node))
            .hooks(self.disk(node).hooks())
            .preallocate_bytes(256 << 10)
            .low_water_bytes(self.low_water * MIB)
            .ballast_bytes(self.ballast * MIB)
            .open()
    }
    async fn transport(&self, node: u64) -> MemoryTransport {
        self.network.endpoint(&format!("n{node}"))
    }
    fn cut_power(&self, _: u64) {}
    fn wipe(&self, node: u64) {
        std::fs::remove_dir_all(self.dir(node)).expect("a directory of ours");
    }
    fn flip(&self, node: u64, _: LogIndex, text: &str) {
        flip_in(&self.dir(node), text);
    }
    async fn rogue(&self, node: u64) -> MemoryTransport {
        self.transport(node).await
    }
}
