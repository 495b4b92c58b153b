//! What is known of a machine and its disk, and whether its node may stop.

use std::time::Duration;

use quorate::error::{BootstrapError, StartError};
use quorate::types::{DiskId, NodeId};

use super::nodes::Up;
use crate::disk::{Crash, FlushTime, SimDisk};
use crate::runtime::Clock;
use crate::workload::Workload;

/// How long after its disk has room again a node may still stop because of it: it may be starting just
/// then, and have found it full; or have failed while it had nothing to write, which takes a second of its
/// own clock to stop it, and as long again as it is paused.
const FULL: Duration = Duration::from_secs(5);

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
    /// The others do not let it in.
    pub(super) refused: Option<Refusal>,
}

/// Why others do not let a node in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// They know it with another disk.
    OtherDisk,
    /// One does not know its key, or its dials are refused for a while, which is told in the same words.
    Key,
}

impl Refusal {
    /// What the error of a start is.
    pub(super) fn of(error: &StartError) -> Option<Self> {
        match error {
            StartError::Bootstrap(BootstrapError::DiskReplaced { .. }) => Some(Self::OtherDisk),
            StartError::Bootstrap(BootstrapError::NotAdmitted { .. }) => Some(Self::Key),
            _ => None,
        }
    }
}

impl Why {
    /// A node that ran, or waited for others, stopped for `reason`.
    pub(super) fn stopped(node: u64, reason: &str) -> Self {
        let refused = is_of_another_disk(node, reason).then_some(Refusal::OtherDisk);
        Self { text: format!("the node stopped: {reason}"), refused }
    }
}

/// Whether a reason is [`BootstrapError::DiskReplaced`], of which a node that has stopped tells the text
/// alone.
fn is_of_another_disk(node: u64, reason: &str) -> bool {
    let any = DiskId([0; 16]);
    let error = BootstrapError::DiskReplaced { node_id: NodeId(node), recorded: any, found: any };
    let (text, any) = (error.to_string(), any.to_string());
    let mut rest = reason;
    let mut parts = text.split(&*any);
    let starts = parts.next().is_some_and(|first| rest.starts_with(first));
    starts
        && parts.all(|part| {
            let found = rest.find(part);
            rest = found.map_or("", |at| &rest[at + part.len()..]);
            found.is_some()
        })
}

impl From<String> for Why {
    fn from(text: String) -> Self {
        Self { text, refused: None }
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
            () if slot.wiped && why.refused == Some(Refusal::OtherDisk) => Self::Refused,
            () if slot.wiped && why.refused == Some(Refusal::Key) => Self::Excused,
            () if slot.excuse.is_some() || now < slot.full_until => Self::Excused,
            () if slot.rotten => Self::Damaged,
            () => Self::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::types::PeerId;

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
        assert_eq!((fate(&slot, 104), fate(&slot, 105)), (Fate::Excused, Fate::Unexpected));
        // It fills up again before that moment is over.
        slot.fill(100);
        slot.make_room(Duration::from_secs(200));
        slot.fill(100);
        assert_eq!(fate(&slot, 202), Fate::Excused);
        // The calm gives it room, whoever was to do so.
        slot.calm(Duration::from_secs(303));
        assert_eq!((fate(&slot, 307), fate(&slot, 308)), (Fate::Excused, Fate::Unexpected));
    }

    #[test]
    fn only_who_is_known_with_another_disk_is_refused() {
        let (recorded, found) = (DiskId([7; 16]), DiskId([9; 16]));
        let replaced = |node| BootstrapError::DiskReplaced { node_id: NodeId(node), recorded, found };
        let mut slot = slot();
        let mut fate = |wiped, reason: &str| {
            slot.wiped = wiped;
            Fate::of(&slot, &Why::stopped(2, reason), Duration::ZERO)
        };
        assert_eq!(fate(true, &replaced(2).to_string()), Fate::Refused);
        assert_eq!(fate(false, &replaced(2).to_string()), Fate::Unexpected);
        let others = [
            replaced(3),
            BootstrapError::NothingRecorded,
            BootstrapError::OtherNode { recorded: NodeId(1), offered: NodeId(2) },
        ];
        for other in others {
            assert_eq!(fate(true, &other.to_string()), Fate::Unexpected, "{other}");
        }
        assert_eq!(fate(true, "the storage failed"), Fate::Unexpected);

        // Only who has lost its disk asks others before it starts.
        let start = |error: BootstrapError| {
            let error = StartError::Bootstrap(error);
            Why { text: error.to_string(), refused: Refusal::of(&error) }
        };
        let identity = PeerId::new([1]).expect("one byte");
        let no_key = start(BootstrapError::NotAdmitted { peer: NodeId(1), identity });
        for (wiped, expected) in [(true, Fate::Excused), (false, Fate::Unexpected)] {
            slot.wiped = wiped;
            assert_eq!(Fate::of(&slot, &no_key, Duration::ZERO), expected);
        }
        slot.wiped = true;
        assert_eq!(Fate::of(&slot, &start(replaced(2)), Duration::ZERO), Fate::Refused);
        let other = start(BootstrapError::NothingRecorded);
        assert_eq!(Fate::of(&slot, &other, Duration::ZERO), Fate::Unexpected);
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
