//! A disk in memory that fails on demand: no power, no space, no flush.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_redb::hooks::{Hooks, Open, StorageBackend};
use tokio::sync::Notify;

use self::files::Handle;

/// A write to a file that was not flushed.
#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let end = *offset as usize + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset as usize..end].copy_from_slice(data);
            }
            Self::Len(len) => bytes.resize(*len as usize, 0),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// The blocks that take space.
    blocks: BTreeSet<u64>,
    /// Space it takes without blocks.
    reserved: u64,
}

impl Inode {
    fn space(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK + self.reserved
    }
}

const BLOCK: u64 = 4096;

/// A change to names that was not flushed.
#[derive(Clone, Debug)]
enum Naming {
    Put(PathBuf, u64),
    Remove(PathBuf),
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Put(path, inode) => drop(names.insert(path.clone(), *inode)),
            Self::Remove(path) => drop(names.remove(path)),
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Put(path, _) | Self::Remove(path) => path.parent(),
        }
    }
}

/// What a power cut leaves of what was not flushed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Crash {
    /// Nothing.
    LoseAll,
    /// Everything, as when only the process died.
    KeepAll,
    /// Some sectors of some writes, and the first few changes to names, drawn from a seed.
    Tear(u64),
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<Naming>,
    dirs: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    next: u64,
    /// Changes with every crash: handles from before it are dead.
    boot: u64,
    /// How many operations that change something the power lasts for.
    fuse: Option<u64>,
    dead: bool,
    ops: u64,
    syncs: u64,
    capacity: Option<u64>,
    syncs_fail: bool,
    /// There is no space for writes to this name, and to what is to take it.
    full_for: Option<PathBuf>,
    read_only: bool,
    /// The file of this name cannot be removed.
    stuck: Option<PathBuf>,
    /// How many reads of the file under redb succeed before they fail.
    reads_left: Option<u64>,
    reads: u64,
    shrinks_to_fail: u32,
    /// How often it was asked how much space there is.
    looks: u64,
    /// How many files were created in each directory.
    created: BTreeMap<PathBuf, u64>,
    /// The file that grows after the next look at space or a length, and by how many bytes.
    grows: Option<(PathBuf, u64)>,
}

/// The disk. A clone is the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
    /// Tells of what is counted.
    counted: Arc<Notify>,
}

fn no_power() -> io::Error {
    io::Error::other("no power")
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("unpoisoned")
    }

    pub(crate) fn hooks(&self) -> Hooks {
        let disk = self.clone();
        Hooks {
            files: Arc::new(self.clone()),
            backend: Arc::new(move |path, open| disk.backend(path, open)),
            ..Hooks::default()
        }
    }

    /// The power fails before the operation after so many that change something.
    pub(crate) fn cut_power_after(&self, ops: u64) {
        self.lock().fuse = Some(ops);
    }

    /// How many operations have changed something.
    pub(crate) fn ops(&self) -> u64 {
        self.lock().ops
    }

    /// How often a file was flushed.
    pub(crate) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// How many bytes fit on the disk.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = Some(bytes);
    }

    /// How many bytes are taken.
    pub(crate) fn used(&self) -> u64 {
        self.lock().used()
    }

    /// From now on, or no longer, there is no space for a file of this name, with `.tmp` behind it as
    /// well, or for what is in a folder of this name.
    pub(crate) fn fail_writes_of(&self, path: Option<&Path>) {
        self.lock().full_for = path.map(Path::to_owned);
    }

    /// What was written to a file and its name are on the disk, whatever a power cut does.
    pub(crate) fn keep(&self, path: &Path) {
        let mut state = self.lock();
        let Some(inode) = state.names.get(path).copied() else { return };
        state.durable_names.insert(path.to_owned(), inode);
        let inode = state.inodes.get_mut(&inode).expect("a name has an inode");
        inode.durable = inode.live.clone();
        inode.unsynced.clear();
    }

    /// Removes a file, behind everyone's back.
    pub(crate) fn remove(&self, path: &Path) {
        let mut state = self.lock();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    /// From now on, or no longer, flushes fail.
    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.lock().syncs_fail = fail;
    }

    /// Nothing can be changed any more, or can be again.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        self.lock().read_only = read_only;
    }

    /// From now on, or no longer, this file cannot be removed.
    pub(crate) fn fail_removes_of(&self, path: Option<&Path>) {
        self.lock().stuck = path.map(Path::to_owned);
    }

    /// After so many more, reads of the file under redb fail; `None`: no longer.
    pub(crate) fn fail_reads_after(&self, reads: Option<u64>) {
        self.lock().reads_left = reads;
    }

    /// How often the file under redb was read since the last time this was asked.
    pub(crate) fn take_reads(&self) -> u64 {
        std::mem::take(&mut self.lock().reads)
    }

    /// The next so many times that a file is made shorter fail for want of space, as they may where
    /// files are copied on write. How many are left.
    pub(crate) fn fail_shrinks(&self, count: u32) {
        self.lock().shrinks_to_fail = count;
    }

    /// How often it was asked how much space there is.
    pub(crate) fn looks(&self) -> u64 {
        self.lock().looks
    }

    /// Somebody adds so many bytes to a file after the next look at the space there is, or at the length of a
    /// file beside redb's.
    pub(crate) fn grow_after_a_look(&self, path: &Path, bytes: u64) {
        self.lock().grows = Some((path.to_owned(), bytes));
    }

    /// Waits until what was looked at or created so far is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Self) -> bool) {
        loop {
            // Listens before it looks, so that nothing is missed in between.
            let counted = self.counted.notified();
            if wanted(self) {
                return;
            }
            counted.await;
        }
    }

    /// How many files were ever created in a directory.
    pub(crate) fn created_in(&self, dir: &Path) -> u64 {
        self.lock().created.get(dir).copied().unwrap_or_default()
    }

    pub(crate) fn shrinks_to_fail(&self) -> u32 {
        self.lock().shrinks_to_fail
    }

    /// The bytes of a file as a reader sees them.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.lock();
        state.inodes[&state.names[path]].live.clone()
    }

    /// Replaces the bytes of a file, behind everyone's back.
    pub(crate) fn set_bytes(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.lock();
        let inode = state.names[path];
        let inode = state.inodes.get_mut(&inode).expect("a name has an inode");
        (inode.live, inode.durable) = (bytes.to_vec(), bytes.to_vec());
        inode.unsynced.clear();
    }

    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.lock().names.contains_key(path)
    }

    /// The machine starts again.
    pub(crate) fn crash(&self, crash: Crash) {
        let mut state = self.lock();
        let mut seed = match crash {
            Crash::Tear(seed) => seed.wrapping_mul(2).wrapping_add(1),
            _ => 1,
        };
        let mut heads = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 40 & 1 == 0
        };
        for naming in std::mem::take(&mut state.unsynced_names) {
            let keep = match crash {
                Crash::LoseAll => false,
                Crash::KeepAll => true,
                Crash::Tear(_) => heads(),
            };
            if !keep {
                // Names change in order, as a journal keeps them.
                break;
            }
            naming.apply(&mut state.durable_names);
        }
        state.names = state.durable_names.clone();
        for inode in state.inodes.values_mut() {
            for change in std::mem::take(&mut inode.unsynced) {
                match (crash, &change) {
                    (Crash::LoseAll, _) => {}
                    (Crash::KeepAll, _) => change.apply(&mut inode.durable),
                    (Crash::Tear(_), Change::Len(_)) => {
                        if heads() {
                            change.apply(&mut inode.durable);
                        }
                    }
                    (Crash::Tear(_), Change::Write(offset, data)) => {
                        for (at, sector) in (*offset..).step_by(512).zip(data.chunks(512)) {
                            // A sector past the end of the file is not part of it.
                            if heads() && at + sector.len() as u64 <= inode.durable.len() as u64 {
                                Change::Write(at, sector.to_vec()).apply(&mut inode.durable);
                            }
                        }
                    }
                }
            }
            inode.live = inode.durable.clone();
        }
        state.boot += 1;
        state.locked.clear();
        (state.fuse, state.dead) = (None, false);
    }

    /// Another disk, as this one is now.
    pub(crate) fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.lock().clone())), counted: Arc::default() }
    }

    /// The process dies, the machine goes on: what was not flushed is seen still, and a power cut may
    /// take it still.
    pub(crate) fn kill(&self) {
        let mut state = self.lock();
        state.boot += 1;
        state.locked.clear();
        (state.fuse, state.dead) = (None, false);
    }

    fn backend(&self, path: &Path, open: Open) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.lock();
        let inode = match open {
            Open::New => state.create(path)?,
            Open::Existing => state.find(path)?,
        };
        self.counted.notify_waiters();
        Ok(Box::new(Handle { disk: self.clone(), inode, boot: state.boot }))
    }

    fn handle(&self, inode: u64, boot: u64) -> Handle {
        Handle { disk: self.clone(), inode, boot }
    }
}

impl State {
    /// Takes one operation from the fuse.
    fn change(&mut self) -> io::Result<()> {
        if self.fuse == Some(0) {
            self.dead = true;
        }
        if self.dead {
            return Err(no_power());
        }
        if self.read_only {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        self.fuse = self.fuse.map(|left| left - 1);
        self.ops += 1;
        Ok(())
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(no_power()) } else { Ok(()) }
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        self.alive()?;
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.change()?;
        *self.created.entry(path.parent().map(Path::to_owned).unwrap_or_default()).or_default() += 1;
        self.next += 1;
        let inode = self.next;
        self.inodes.insert(inode, Inode::default());
        self.rename_to(Naming::Put(path.to_owned(), inode));
        Ok(inode)
    }

    /// It was looked at space or a length.
    fn looked(&mut self) -> io::Result<()> {
        let Some((path, bytes)) = self.grows.take() else { return Ok(()) };
        let inode = self.find(&path)?;
        let end = self.inodes[&inode].live.len() as u64;
        self.apply(inode, Change::Write(end, vec![1; bytes as usize]))
    }

    fn rename_to(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.unsynced_names.push(naming);
    }

    fn used(&self) -> u64 {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        named.iter().map(|inode| self.inodes[inode].space()).sum()
    }

    /// Whether [`Disk::fail_writes_of`] was told of the file.
    fn is_full_for(&self, inode: u64) -> bool {
        let Some(full) = &self.full_for else { return false };
        let named = self.names.iter().filter(|(_, of)| **of == inode).map(|(path, _)| path);
        named.into_iter().any(|path| path.starts_with(full) || path.with_extension("") == *full)
    }

    fn apply(&mut self, inode: u64, change: Change) -> io::Result<()> {
        self.change()?;
        if self.is_full_for(inode) {
            return Err(ErrorKind::StorageFull.into());
        }
        let room = self.capacity.map(|capacity| capacity.saturating_sub(self.used()));
        let inode = self.inodes.get_mut(&inode).expect("a handle has an inode");
        match &change {
            Change::Write(offset, data) => {
                let blocks = offset / BLOCK..(offset + data.len() as u64).div_ceil(BLOCK);
                let new = blocks.clone().filter(|block| !inode.blocks.contains(block)).count() as u64;
                if room.is_some_and(|room| new * BLOCK > room) {
                    return Err(ErrorKind::StorageFull.into());
                }
                inode.blocks.extend(blocks);
            }
            Change::Len(len) if *len < inode.live.len() as u64 && self.shrinks_to_fail > 0 => {
                self.shrinks_to_fail -= 1;
                return Err(ErrorKind::StorageFull.into());
            }
            // A longer file is sparse and takes nothing.
            Change::Len(len) => drop(inode.blocks.split_off(&len.div_ceil(BLOCK))),
        }
        change.apply(&mut inode.live);
        inode.unsynced.push(change);
        Ok(())
    }

    fn sync(&mut self, inode: u64) -> io::Result<()> {
        self.change()?;
        if self.syncs_fail {
            return Err(io::Error::other("the flush failed"));
        }
        self.syncs += 1;
        let inode = self.inodes.get_mut(&inode).expect("a handle has an inode");
        for change in std::mem::take(&mut inode.unsynced) {
            change.apply(&mut inode.durable);
        }
        Ok(())
    }
}
