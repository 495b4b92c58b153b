//! The room on the disk, and the reserve.
//!
//! Below a mark the node is told before the disk is full. The ballast is space that nobody uses: a
//! full disk would otherwise refuse even a purge, which writes before it frees. redb keeps the
//! pages that a purge frees; while space is short the file is compacted after it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate::error::StorageError;
use quorate::storage::Health;
use quorate::watch::Watched;

use crate::database::Db;
use crate::hooks::Files;

/// The reserve's file.
pub(crate) const BALLAST: &str = "ballast";

/// What is worth giving back, and how much is written between two looks, when there is no mark.
const GRAIN: u64 = 1 << 20;

/// How many transactions may pass without a look at the file system.
const LOOK_EVERY: u32 = 256;

/// The room there is.
pub(crate) struct Space {
    files: Arc<dyn Files>,
    dir: PathBuf,
    low_water: u64,
    ballast_bytes: u64,
    /// Whether the reserve is on the disk.
    ballast: bool,
    health: Arc<Watched<Health>>,
    /// Whether others are short of room, maybe on this disk, and whether that was heard since the last
    /// look.
    wanted: bool,
    heard: bool,
    /// Bytes and transactions written since the last look.
    bytes: u64,
    transactions: u32,
    /// Whether what redb's file has to spare may have changed much since it was measured.
    spare_is_stale: bool,
    since_spare: u64,
}

impl Space {
    /// Puts the reserve in place if there is room for it.
    pub(crate) fn open(
        files: Arc<dyn Files>,
        dir: &Path,
        low_water: u64,
        ballast_bytes: u64,
        health: Arc<Watched<Health>>,
    ) -> Self {
        let mut space = Self {
            files,
            dir: dir.to_owned(),
            low_water,
            ballast_bytes,
            ballast: false,
            health,
            wanted: false,
            heard: false,
            bytes: 0,
            transactions: 0,
            spare_is_stale: true,
            since_spare: 0,
        };
        let len = space.files.open(&space.path()).and_then(|file| file.len());
        space.ballast = len.is_ok_and(|len| len == ballast_bytes && len > 0);
        space
    }

    fn path(&self) -> PathBuf {
        self.dir.join(BALLAST)
    }

    /// How much room makes a difference.
    fn grain(&self) -> u64 {
        if self.low_water == 0 { GRAIN } else { (self.low_water / 16).max(1) }
    }

    /// Whether there is less room than the mark.
    fn short(&self) -> bool {
        matches!(self.health.get(), Health::Low | Health::Full)
    }

    /// Others are short of room, or no longer.
    pub(crate) fn want(&mut self, wanted: bool) {
        (self.wanted, self.heard) = (wanted, true);
    }

    /// Whether what can be spared is to be given back.
    pub(crate) fn matters(&self) -> bool {
        self.wanted || self.short()
    }

    /// A transaction wrote so many bytes. `freed`: purged rows are gone.
    pub(crate) fn written(&mut self, bytes: u64, freed: bool) {
        self.bytes += bytes;
        self.transactions += 1;
        self.since_spare += bytes;
        self.spare_is_stale |= freed || self.since_spare >= 2 * self.grain();
    }

    /// Whether it is time to look.
    pub(crate) fn due(&self) -> bool {
        self.heard || self.matters() || self.transactions >= LOOK_EVERY || self.bytes >= self.grain()
    }

    /// Looks how much room there is, and says so. When there is little, here or for others, and redb's
    /// file has some to spare, it is compacted, unless rows are being removed from it: then that is to come.
    pub(crate) fn check(&mut self, db: &Db, removing: bool) -> Result<(), StorageError> {
        (self.bytes, self.transactions, self.heard) = (0, 0, false);
        self.look();
        if self.matters() && self.spare_is_stale && !removing {
            (self.spare_is_stale, self.since_spare) = (false, 0);
            let spare = db.spare(self.files.as_ref())?;
            if spare >= self.grain() {
                tracing::info!(spare, "space is short; log.redb gives back what it does not use");
                db.compact()?;
                self.look();
            }
        }
        db.set_thrifty(self.matters());
        Ok(())
    }

    fn look(&mut self) {
        let available = match self.files.available(&self.dir) {
            Ok(available) => available,
            Err(error) => {
                tracing::warn!(%error, "the free space is unknown");
                return;
            }
        };
        // Some more to come back than to go away, or the state flaps.
        let enough = if self.short() { self.low_water + self.low_water / 4 } else { self.low_water };
        let wants = self.ballast_bytes > 0 && !self.ballast;
        if wants && available >= enough + self.ballast_bytes {
            self.restore();
        }
        let reserve = self.ballast || self.ballast_bytes == 0;
        // Without a reserve the next time would be the last.
        let health = if !reserve {
            Health::Full
        } else if available < enough {
            Health::Low
        } else {
            Health::Ok
        };
        self.set(health);
    }

    /// Gives the reserve back; `false` when there is none.
    pub(crate) fn give_back(&mut self) -> bool {
        if !self.ballast {
            return false;
        }
        match self.files.remove(&self.path()) {
            Ok(()) => {
                tracing::warn!("the disk is full; the reserve is given back");
                self.ballast = false;
                self.set(Health::Full);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the disk is full and the reserve cannot be given back");
                false
            }
        }
    }

    /// It has failed for good.
    pub(crate) fn fail(&self) {
        self.health.set(Health::Failed);
    }

    fn restore(&mut self) {
        let reserved = self.files.reserve(&self.path(), self.ballast_bytes);
        self.ballast = reserved.is_ok();
        if let Err(error) = reserved {
            tracing::warn!(%error, "no room for the reserve");
            // Half a reserve is not one.
            drop(self.files.remove(&self.path()));
        }
    }

    fn set(&self, health: Health) {
        self.health.update(|current| {
            if *current != Health::Failed {
                *current = health;
            }
        });
    }
}
