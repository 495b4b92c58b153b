//! A disk in memory that loses, tears and refuses what a real one may: what the storage plugin runs
//! on in a simulation.
//!
//! Every file has the bytes that its users see, the bytes that a power cut would leave, and the list
//! of writes between the two. This folder owns that, the faults, and the two faces of the disk: the
//! backend under redb's file and the file system beside it. It takes no time; slowness is the pause
//! before each commit.

mod crash;
mod faces;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate::watch::Watcher;
use quorate_redb::hooks::{Hooks, Pause};
use serde::{Deserialize, Serialize};

pub use self::crash::Crash;
use self::faces::Boot;
use self::state::State;
use crate::rng::Rng;
use crate::runtime::SimSleep;

/// How long commits take: before each of them the writer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlushTime {
    /// The least and the most, in milliseconds.
    pub usual_ms: (u64, u64),
    /// How many in a thousand take longer.
    pub slow_per_mille: u64,
    /// The least and the most of those, in milliseconds.
    pub slow_ms: (u64, u64),
}

impl Default for FlushTime {
    fn default() -> Self {
        Self { usual_ms: (1, 3), slow_per_mille: 0, slow_ms: (20, 200) }
    }
}

/// What a disk has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskEvents {
    /// Operations that changed something.
    pub changes: u64,
    /// Flushes of a file that succeeded.
    pub flushes: u64,
    /// Flushes that failed because they were made to.
    pub failed_flushes: u64,
    /// Crashes that lost a write or a name.
    pub losses: u64,
    /// Writes of which a crash left some sectors and not others.
    pub torn: u64,
    /// How often the power failed at the operation that a fuse named.
    pub fuses_blown: u64,
    /// Those of them that were counted from a new file in a folder, which was not whole yet.
    pub blown_in_folder: u64,
    /// Operations that failed because no space was left.
    pub full: u64,
}

impl DiskEvents {
    /// Adds what another disk has been through.
    pub fn add(&mut self, other: Self) {
        self.changes += other.changes;
        self.flushes += other.flushes;
        self.failed_flushes += other.failed_flushes;
        self.losses += other.losses;
        self.torn += other.torn;
        self.fuses_blown += other.fuses_blown;
        self.blown_in_folder += other.blown_in_folder;
        self.full += other.full;
    }
}

/// A fuse of a disk, which is in until it blows, is taken out, or gives way to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fuse(u64);

/// The disk. Clones are the same disk; it outlives the nodes that use it.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk that draws its faults from `rng`.
    pub fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(State::new(rng))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the storage plugin is given: this disk in the place of files, a task in the place of its
    /// thread, and simulated time for its commits. Good until the next crash.
    pub fn hooks(&self) -> Hooks {
        let boot = Boot { disk: self.clone(), number: self.lock().boot };
        let (backend, pausing) = (boot.clone(), self.clone());
        let pause: Pause = Arc::new(move || {
            let time = pausing.lock().commit_time();
            Box::pin(SimSleep::exactly(time))
        });
        Hooks {
            files: Arc::new(boot),
            backend: Arc::new(move |path, open| backend.backend(path, open)),
            spawn: Some(Arc::new(|_name, writer| drop(madsim::task::spawn(writer)))),
            pause: Some(pause),
            sleep: Arc::new(|time: Duration| Box::pin(SimSleep::exactly(time))),
        }
    }

    /// The process or its machine stops: handles of before are dead, and `crash` says what is left
    /// of what was not flushed. The next boot finds that.
    pub fn crash(&self, crash: Crash) {
        self.lock().crash(crash);
    }

    /// The power fails before the `n`th change from now, counted from 0, and stays off until
    /// [`SimDisk::crash`]. The fuse is in the place of one that is in.
    pub fn set_fuse(&self, n: u64) -> Fuse {
        let mut state = self.lock();
        let fuse = state.next_fuse();
        // What a file has lit is not in any more.
        (state.fuse, state.fuse_of_file) = (Some((n, fuse)), None);
        fuse
    }

    /// As [`Self::set_fuse`], counted from when the next file is created in `folder`. A crash before
    /// that leaves it in. Until then it is in the place of another of this kind, and from then on of any.
    pub fn set_fuse_in(&self, folder: impl Into<PathBuf>, n: u64) -> Fuse {
        let mut state = self.lock();
        let fuse = state.next_fuse();
        state.fuse_in = Some((folder.into(), n, fuse));
        fuse
    }

    /// Takes out this fuse, if it still is in, and no other.
    pub fn take_out(&self, fuse: Fuse) {
        let mut state = self.lock();
        if state.fuse.take_if(|(_, is_in)| *is_in == fuse).is_some() {
            state.fuse_of_file = None;
        }
        state.fuse_in.take_if(|(.., is_in)| *is_in == fuse);
    }

    /// Takes out every fuse.
    pub fn take_out_all(&self) {
        let mut state = self.lock();
        (state.fuse, state.fuse_in, state.fuse_of_file) = (None, None, None);
    }

    /// The fuse that has blown, as long as the power is off.
    pub fn blown(&self) -> Option<Fuse> {
        self.lock().blown
    }

    /// Whether a fuse has blown and the power is still off.
    pub fn is_dead(&self) -> bool {
        self.lock().dead.get()
    }

    /// Watches whether a fuse has blown and the power is still off.
    pub fn watch_death(&self) -> Watcher<bool> {
        self.lock().dead.watch()
    }

    /// How many bytes fit; `None` is without end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// How many bytes are taken.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// How long commits take from now on.
    pub fn set_flush_time(&self, time: FlushTime) {
        self.lock().flush_time = time;
    }

    /// The next so many flushes fail. What they were to flush may or may not be there after a crash.
    /// Returns how many were still to fail.
    pub fn fail_flushes(&self, count: u32) -> u32 {
        std::mem::replace(&mut self.lock().flushes_to_fail, count)
    }

    /// From now on, or no longer, flushes say that they succeeded and do nothing: a broken disk, to
    /// show that a simulation notices.
    pub fn lie_about_flushes(&self, lie: bool) {
        self.lock().lies = lie;
    }

    /// Flips one bit of a file as the power cut would leave it and as its users see it; which one is
    /// drawn. `None` when there is no such file, or it is empty.
    pub fn rot(&self, path: impl Into<PathBuf>) -> Option<u64> {
        self.lock().rot(&path.into())
    }

    /// Flips one bit of a file in `folder` that is drawn, the larger the likelier, and says which. `None`
    /// when there are none.
    pub fn rot_somewhere(&self, folder: impl AsRef<Path>) -> Option<(PathBuf, u64)> {
        let mut state = self.lock();
        let path = state.draw_file(folder.as_ref())?;
        let bit = state.rot(&path)?;
        Some((path, bit))
    }

    /// Everything is gone, as with a new disk in the place of the old. To be called when nothing runs
    /// on it.
    pub fn wipe(&self) {
        self.lock().wipe();
    }

    /// What has happened so far.
    pub fn events(&self) -> DiskEvents {
        self.lock().events
    }

    /// A hash of every byte that a power cut would leave now, names included.
    pub fn image_hash(&self) -> u64 {
        self.lock().image_hash()
    }
}
