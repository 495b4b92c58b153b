//! Files and names as they are now, as a power cut would leave them, and what lies between.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::watch::Watched;

use super::{DiskEvents, FlushTime, Fuse};
use crate::rng::Rng;
use crate::trace::Digest;

/// How space is given out.
const BLOCK: u64 = 4096;

/// A change to a file that was not flushed.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

impl Change {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
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

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
    /// The blocks that take space.
    blocks: BTreeSet<u64>,
    /// Space it takes without blocks.
    pub(super) reserved: u64,
}

impl Inode {
    pub(super) fn space(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK + self.reserved
    }
}

/// A change to names that was not flushed.
#[derive(Clone, Debug)]
pub(super) enum Naming {
    Put(PathBuf, u64),
    Remove(PathBuf),
    /// Whole, as a journal keeps it: never one name without the other.
    Rename(PathBuf, PathBuf, u64),
}

impl Naming {
    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Put(path, inode) => drop(names.insert(path.clone(), *inode)),
            Self::Remove(path) => drop(names.remove(path)),
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Put(path, _) | Self::Remove(path) | Self::Rename(_, path, _) => path.parent(),
        }
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) durable_names: BTreeMap<PathBuf, u64>,
    pub(super) unsynced_names: Vec<Naming>,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) locked: BTreeSet<PathBuf>,
    next: u64,
    /// Goes up with every crash: handles of an earlier one are dead.
    pub(super) boot: u64,
    /// How many changes the power lasts for, and by which fuse.
    pub(super) fuse: Option<(u64, Fuse)>,
    /// The same, counted from when a file is created in this folder.
    pub(super) fuse_in: Option<(PathBuf, u64, Fuse)>,
    /// The file whose creation there lit the fuse that is in.
    pub(super) fuse_of_file: Option<(PathBuf, u64)>,
    /// The fuse that was put in last.
    pub(super) last_fuse: Fuse,
    /// The one that has blown, as long as the power is off.
    pub(super) blown: Option<Fuse>,
    pub(super) dead: Watched<bool>,
    pub(super) capacity: Option<u64>,
    pub(super) flushes_to_fail: u32,
    pub(super) lies: bool,
    pub(super) flush_time: FlushTime,
    pub(super) events: DiskEvents,
}

pub(super) fn no_power() -> io::Error {
    io::Error::other("no power")
}

impl State {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            dirs: BTreeSet::new(),
            locked: BTreeSet::new(),
            next: 0,
            boot: 0,
            fuse: None,
            fuse_in: None,
            fuse_of_file: None,
            last_fuse: Fuse(0),
            blown: None,
            dead: Watched::new(false),
            capacity: None,
            flushes_to_fail: 0,
            lies: false,
            flush_time: FlushTime::default(),
            events: DiskEvents::default(),
        }
    }

    pub(super) fn commit_time(&mut self) -> Duration {
        let FlushTime { usual_ms, slow_per_mille, slow_ms } = self.flush_time;
        let (least, most) = if self.rng.chance(slow_per_mille) { slow_ms } else { usual_ms };
        self.rng.millis(least..most.max(least) + 1)
    }

    /// A fuse like no other of this disk.
    pub(super) fn next_fuse(&mut self) -> Fuse {
        self.last_fuse = Fuse(self.last_fuse.0 + 1);
        self.last_fuse
    }

    /// Takes one change from the fuse.
    pub(super) fn change(&mut self) -> io::Result<()> {
        self.alive()?;
        if let Some((_, fuse)) = self.fuse.take_if(|(left, _)| *left == 0) {
            self.blown = Some(fuse);
            self.dead.set(true);
            self.events.fuses_blown += 1;
            // Under the name it was created with, as long as it is not whole.
            let written = self.fuse_of_file.take();
            let written = written.is_some_and(|(path, inode)| self.names.get(&path) == Some(&inode));
            self.events.blown_in_folder += u64::from(written);
            return Err(no_power());
        }
        self.fuse = self.fuse.map(|(left, fuse)| (left - 1, fuse));
        self.events.changes += 1;
        Ok(())
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        if self.dead.get() { Err(no_power()) } else { Ok(()) }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        self.alive()?;
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(super) fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        // A file that was removed goes with its last name at the next crash; handles of then are dead.
        self.inodes.get_mut(&inode).ok_or_else(no_power)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.change()?;
        self.next += 1;
        let inode = self.next;
        if let Some((_, changes, fuse)) = self.fuse_in.take_if(|(folder, ..)| path.parent() == Some(folder)) {
            (self.fuse, self.fuse_of_file) = (Some((changes, fuse)), Some((path.to_owned(), inode)));
        }
        self.inodes.insert(inode, Inode::default());
        self.name(Naming::Put(path.to_owned(), inode));
        Ok(inode)
    }

    pub(super) fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.unsynced_names.push(naming);
    }

    pub(super) fn used(&self) -> u64 {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        named.iter().filter_map(|inode| self.inodes.get(inode)).map(Inode::space).sum()
    }

    pub(super) fn apply(&mut self, inode: u64, change: Change) -> io::Result<()> {
        self.change()?;
        let room = self.capacity.map(|capacity| capacity.saturating_sub(self.used()));
        let file = self.inode(inode)?;
        match &change {
            Change::Write(offset, data) => {
                let blocks = offset / BLOCK..(offset + data.len() as u64).div_ceil(BLOCK);
                let new = blocks.clone().filter(|block| !file.blocks.contains(block)).count() as u64;
                if room.is_some_and(|room| new * BLOCK > room) {
                    self.events.full += 1;
                    return Err(ErrorKind::StorageFull.into());
                }
                file.blocks.extend(blocks);
            }
            // A longer file is sparse and takes nothing.
            Change::Len(len) => drop(file.blocks.split_off(&len.div_ceil(BLOCK))),
        }
        change.apply(&mut file.live);
        file.unsynced.push(change);
        Ok(())
    }

    pub(super) fn sync(&mut self, inode: u64) -> io::Result<()> {
        self.flush()?;
        if self.lies {
            return Ok(());
        }
        let inode = self.inode(inode)?;
        for change in std::mem::take(&mut inode.unsynced) {
            change.apply(&mut inode.durable);
        }
        Ok(())
    }

    pub(super) fn sync_names(&mut self, dir: &Path) -> io::Result<()> {
        self.flush()?;
        if self.lies {
            return Ok(());
        }
        let all = std::mem::take(&mut self.unsynced_names);
        let (synced, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|naming| naming.dir() == Some(dir));
        for naming in synced {
            naming.apply(&mut self.durable_names);
        }
        self.unsynced_names = rest;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.change()?;
        if self.flushes_to_fail > 0 {
            self.flushes_to_fail -= 1;
            self.events.failed_flushes += 1;
            return Err(io::Error::other("the flush failed"));
        }
        self.events.flushes += 1;
        Ok(())
    }

    pub(super) fn rot(&mut self, path: &Path) -> Option<u64> {
        let inode = *self.names.get(path)?;
        let len = self.inodes.get(&inode)?.durable.len() as u64;
        if len == 0 {
            return None;
        }
        let bit = self.rng.below(len * 8);
        let inode = self.inodes.get_mut(&inode)?;
        for image in [&mut inode.durable, &mut inode.live] {
            // The file may have been cut since it was flushed.
            if let Some(byte) = image.get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Some(bit)
    }

    /// A file, the larger the likelier.
    pub(super) fn draw_file(&mut self, folder: &Path) -> Option<PathBuf> {
        let len = |inode| self.inodes.get(inode).map_or(0, |inode: &Inode| inode.durable.len() as u64);
        let files = self.names.iter().filter(|(path, _)| path.starts_with(folder));
        let files: Vec<_> = files.map(|(path, inode)| (path.clone(), len(inode))).collect();
        let all: u64 = files.iter().map(|(_, len)| len).sum();
        let mut place = if all == 0 { return None } else { self.rng.below(all) };
        for (path, len) in files {
            if place < len {
                return Some(path);
            }
            place -= len;
        }
        None
    }

    pub(super) fn wipe(&mut self) {
        self.inodes.clear();
        self.names.clear();
        self.durable_names.clear();
        self.unsynced_names.clear();
        self.dirs.clear();
        self.locked.clear();
        self.boot += 1;
    }

    pub(super) fn image_hash(&self) -> u64 {
        let mut digest = Digest::default();
        for (path, inode) in &self.durable_names {
            digest.write(path.as_os_str().as_encoded_bytes());
            if let Some(inode) = self.inodes.get(inode) {
                digest.write(&inode.durable);
            }
        }
        digest.finish()
    }
}
