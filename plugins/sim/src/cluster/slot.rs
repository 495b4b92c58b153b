//! What is known of a machine and its disk, and whether its node may stop.

use std::time::Duration;

use super::nodes::Up;
use crate::disk::{Crash, FlushTime, SimDisk};
use crate::runtime::Clock;
use crate::workload::Workload;

/// How long after its disk has room again a node may still stop because of it: it may be starting just
/// then, and have found it full.
const FULL: Duration = Duration::from_secs(1);

/// A machine and its disk.
pub(super) struct Slot<W: Workload> {
    pub(super) disk: SimDisk,
    pub(super) clock: Clock,
    pub(super) up: Option<Up<W>>,
    /// What the disk is left as when its fuse blows, and for how long the machine is down then.
    pub(super) at_the_fuse: (Crash, Duration),
    /// Why it may stop by itself, in this boot.
    pub(super) excuse: Option<Excuse>,
    /// Its disk is full, or was lately, until then: it may stop, or not start.
    full_until: Duration,
    /// Its disk may be damaged: it may stop, and is then lost.
    pub(super) rotten: bool,
    /// It has an empty disk under an old name: it must not start.
    pub(super) wiped: bool,
    /// It stays down.
    pub(super) held: bool,
}

impl<W: Workload> Slot<W> {
    pub(super) fn new(disk: SimDisk, clock: Clock) -> Self {
        Self {
            disk,
            clock,
            up: None,
            at_the_fuse: (Crash::LoseAll, Duration::ZERO),
            excuse: None,
            full_until: Duration::ZERO,
            rotten: false,
            wiped: false,
            held: false,
        }
    }

    /// Its disk fills up but for `spare` bytes.
    pub(super) fn fill(&mut self, spare: u64) {
        self.full_until = Duration::MAX;
        self.disk.set_capacity(Some(self.disk.used() + spare));
    }

    /// Its disk has room again.
    pub(super) fn make_room(&mut self, now: Duration) {
        self.disk.set_capacity(None);
        if self.full_until == Duration::MAX {
            self.full_until = now + FULL;
        }
    }

    /// Its next flush in this boot fails.
    pub(super) fn fail_a_flush(&mut self) {
        self.excuse.get_or_insert(Excuse::FlushFails);
        self.disk.fail_flushes(1);
    }

    /// Nothing goes wrong with its disk any more.
    pub(super) fn calm(&mut self, now: Duration) {
        self.disk.set_flush_time(FlushTime::default());
        // One that has failed is about to stop it.
        if self.disk.fail_flushes(0) > 0 {
            self.excuse.take_if(|excuse| *excuse == Excuse::FlushFails);
        }
        self.disk.set_fuse(None);
        self.disk.set_fuse_in(None);
        self.make_room(now);
    }

    /// Whether nothing is expected of it any more: its disk is gone, or may be damaged.
    pub(super) fn is_lost(&self) -> bool {
        self.rotten || self.wiped
    }
}

/// Why a node may stop by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excuse {
    /// A flush of its disk fails.
    FlushFails,
    /// It was asked to shut down.
    ShutsDown,
}

/// Why a node does not run.
pub(super) struct Why {
    pub(super) text: String,
    /// It never took part, because it was not let in or did not find its own.
    pub(super) refused: bool,
}

impl From<String> for Why {
    fn from(text: String) -> Self {
        Self { text, refused: false }
    }
}

/// What it means that a node stopped by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It had a reason that passes.
    Excused,
    /// It came with an empty disk under an old name.
    Refused,
    /// Its disk is damaged.
    Damaged,
    /// Nothing was wrong with it.
    Unexpected,
}

impl Fate {
    pub(super) fn of<W: Workload>(slot: &Slot<W>, why: &Why, now: Duration) -> Self {
        match () {
            () if slot.wiped && why.refused => Self::Refused,
            () if slot.excuse.is_some() || now < slot.full_until => Self::Excused,
            () if slot.rotten => Self::Damaged,
            () => Self::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::workload::RegistersWorkload;

    fn slot() -> Slot<RegistersWorkload> {
        Slot::new(SimDisk::new(Rng::new(1)), Clock::default())
    }

    fn fate(slot: &Slot<RegistersWorkload>, second: u64) -> Fate {
        Fate::of(slot, &String::from("it stopped").into(), Duration::from_secs(second))
    }

    #[test]
    fn a_full_disk_excuses_a_node_as_long_as_it_is_full_and_a_moment_more() {
        let mut slot = slot();
        assert_eq!(fate(&slot, 0), Fate::Unexpected);
        slot.fill(100);
        assert_eq!(fate(&slot, 90), Fate::Excused);
        slot.make_room(Duration::from_secs(100));
        assert_eq!((fate(&slot, 100), fate(&slot, 102)), (Fate::Excused, Fate::Unexpected));
        // It fills up again before that moment is over.
        slot.fill(100);
        slot.make_room(Duration::from_secs(200));
        slot.fill(100);
        assert_eq!(fate(&slot, 202), Fate::Excused);
        // The calm gives it room, whoever was to do so.
        slot.calm(Duration::from_secs(303));
        assert_eq!((fate(&slot, 303), fate(&slot, 305)), (Fate::Excused, Fate::Unexpected));
    }

    #[test]
    fn a_flush_that_was_to_fail_and_did_not_excuses_nothing() {
        let mut slot = slot();
        slot.fail_a_flush();
        assert_eq!(fate(&slot, 1), Fate::Excused);
        slot.calm(Duration::from_secs(2));
        assert_eq!(fate(&slot, 2), Fate::Unexpected);
    }
}
