//! What is known of a machine and its disk, and whether its node may stop.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::Ticket;
use quorate::error::{BootstrapError, JoinError, ShutdownError, StartError};
use quorate::types::{DiskId, NodeId};

use super::nodes::Up;
use crate::disk::{Crash, FlushTime, Fuse, SimDisk};
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
    /// What the disk is left as when a fuse blows, and for how long the machine is down then.
    at_the_fuse: BTreeMap<Fuse, (Crash, Duration)>,
    /// A flush of its disk fails in this boot: it may stop.
    pub(super) flush_fails: bool,
    /// Its disk is full, or was lately, until then: it may stop, or not start.
    full_until: Duration,
    /// Its disk may be damaged: it may stop, and is then lost.
    pub(super) rotten: bool,
    /// It has an empty disk under an old name: it must not start.
    pub(super) wiped: bool,
    /// It stays down.
    pub(super) held: bool,
    /// What it joins with, when it is none of the first members.
    pub(super) ticket: Option<Ticket>,
    /// Somebody asked to remove it.
    pub(super) may_go: bool,
    /// How many ask to make it a member, or a voter.
    pub(super) asked_for: usize,
    /// It is to be removed, and nobody asks for that any more.
    pub(super) leaves: bool,
    /// Who asked to remove it was told that this is done.
    pub(super) gone: bool,
    /// Its id was another machine's before, which was removed.
    pub(super) again: bool,
}

impl<W: Workload> Slot<W> {
    pub(super) fn new(disk: SimDisk, clock: Clock) -> Self {
        Self {
            disk,
            clock,
            up: None,
            at_the_fuse: BTreeMap::new(),
            flush_fails: false,
            full_until: Duration::ZERO,
            rotten: false,
            wiped: false,
            held: false,
            ticket: None,
            may_go: false,
            asked_for: 0,
            leaves: false,
            gone: false,
            again: false,
        }
    }

    /// Another machine has its id, with an empty disk, and is not invited yet.
    pub(super) fn is_another(&mut self) {
        self.disk.wipe();
        (self.wiped, self.rotten, self.held) = (false, false, false);
        (self.may_go, self.leaves, self.gone, self.again) = (false, false, false, true);
        self.ticket = None;
    }

    /// The power fails at a change of its disk, `then` is what it leaves and how long that lasts.
    pub(super) fn set_fuse(&mut self, changes: u64, then: (Crash, Duration)) -> Fuse {
        let fuse = self.disk.set_fuse(changes);
        self.at_the_fuse.insert(fuse, then);
        fuse
    }

    /// The same, counted from when a file is created in `folder`.
    pub(super) fn set_fuse_in(&mut self, folder: &str, changes: u64, then: (Crash, Duration)) {
        let fuse = self.disk.set_fuse_in(folder, changes);
        self.at_the_fuse.insert(fuse, then);
    }

    /// What the fuse that has blown leaves, and for how long.
    pub(super) fn at_the_fuse(&self) -> (Crash, Duration) {
        let then = self.disk.blown().and_then(|fuse| self.at_the_fuse.get(&fuse));
        then.copied().unwrap_or((Crash::LoseAll, Duration::ZERO))
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
        self.flush_fails = true;
        self.disk.fail_flushes(1);
    }

    /// Nothing goes wrong with its disk any more.
    pub(super) fn calm(&mut self, now: Duration) {
        self.disk.set_flush_time(FlushTime::default());
        // One that has failed is about to stop it.
        if self.disk.fail_flushes(0) > 0 {
            self.flush_fails = false;
        }
        self.disk.take_out_all();
        self.make_room(now);
    }

    /// Whether nothing is expected of it any more: its disk is gone, or may be damaged.
    pub(super) fn is_lost(&self) -> bool {
        self.rotten || self.wiped
    }
}

/// Why a node does not run.
pub(super) struct Why {
    pub(super) text: String,
    /// The others do not let it in.
    pub(super) refused: Option<Refusal>,
    /// It was asked to shut down, and did that and nothing else.
    pub(super) in_good_order: bool,
}

/// Why others do not let a node in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// They know it with another disk.
    OtherDisk,
    /// Its dials are refused for a while, which is told in the words for a key that nobody knows. That key
    /// would be none: they know it.
    Dials,
    /// It joins, and those it asks know no such member: they have not heard of it yet, or it was removed.
    NoMember,
}

/// What [`Status::stopped`](quorate::node::status::Status::stopped) says of a node that was shut down.
const SHUT_DOWN: &str = "shut down";

impl Refusal {
    /// What the error of a start is; `are_dials_refused` knows whether those to a node were.
    pub(super) fn of(error: &StartError, are_dials_refused: impl FnOnce(NodeId) -> bool) -> Option<Self> {
        match error {
            StartError::Bootstrap(BootstrapError::DiskReplaced { .. })
            | StartError::Join(JoinError::DiskReplaced { .. }) => Some(Self::OtherDisk),
            StartError::Bootstrap(BootstrapError::NotAdmitted { peer, .. }) => {
                are_dials_refused(*peer).then_some(Self::Dials)
            }
            StartError::Join(JoinError::NotAdmitted { .. }) => Some(Self::NoMember),
            _ => None,
        }
    }
}

impl Why {
    /// A node that ran, or waited for others, stopped for `reason`.
    pub(super) fn stopped(node: u64, reason: &str) -> Self {
        let refused = is_of_another_disk(node, reason).then_some(Refusal::OtherDisk);
        Self { text: format!("the node stopped: {reason}"), refused, in_good_order: false }
    }

    /// A node that was asked to shut down came to this, for `reason`.
    pub(super) fn shut_down(node: u64, ended: Result<(), ShutdownError>, reason: Option<&str>) -> Self {
        let mut text = format!("the node was shut down: {ended:?}");
        let in_good_order = ended.is_ok() && reason == Some(SHUT_DOWN);
        let Some(other) = reason.filter(|reason| *reason != SHUT_DOWN) else {
            return Self { text, refused: None, in_good_order };
        };
        // Something else had stopped it, or did meanwhile.
        let stopped = Self::stopped(node, other);
        text = format!("{text}, and {}", stopped.text);
        Self { text, ..stopped }
    }
}

/// Whether a reason is [`BootstrapError::DiskReplaced`] or [`JoinError::DiskReplaced`], of which a node that
/// has stopped tells the text alone.
fn is_of_another_disk(node: u64, reason: &str) -> bool {
    let (any, node_id) = (DiskId([0; 16]), NodeId(node));
    let born = BootstrapError::DiskReplaced { node_id, recorded: any, found: any }.to_string();
    let joins = JoinError::DiskReplaced { node_id, recorded: any, found: any }.to_string();
    is_with_other_disks(&born, reason) || is_with_other_disks(&joins, reason)
}

/// Whether a reason is this text but for its disks.
fn is_with_other_disks(text: &str, reason: &str) -> bool {
    let any = DiskId([0; 16]).to_string();
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
        Self { text, refused: None, in_good_order: false }
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
            () if why.in_good_order => Self::Excused,
            () if slot.wiped && why.refused == Some(Refusal::OtherDisk) => Self::Refused,
            () if why.refused == Some(Refusal::Dials) => Self::Excused,
            () if why.refused == Some(Refusal::NoMember) && slot.ticket.is_some() => Self::Excused,
            () if slot.flush_fails || now < slot.full_until => Self::Excused,
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

        // Who is not born yet asks others before it starts, on a new disk or on one in the place of another.
        let start = |error: BootstrapError| {
            let error = StartError::Bootstrap(error);
            let refused = Refusal::of(&error, |peer| peer == NodeId(3));
            Why { text: error.to_string(), refused, in_good_order: false }
        };
        let identity = PeerId::new([1]).expect("one byte");
        let no_key =
            |peer| start(BootstrapError::NotAdmitted { peer: NodeId(peer), identity: identity.clone() });
        for (wiped, peer, expected) in [
            (true, 3, Fate::Excused),
            (false, 3, Fate::Excused),
            (false, 1, Fate::Unexpected),
            // Nobody refuses the dials to it, and it knows the key.
            (true, 1, Fate::Unexpected),
        ] {
            slot.wiped = wiped;
            assert_eq!(Fate::of(&slot, &no_key(peer), Duration::ZERO), expected, "{wiped}, {peer}");
        }
        slot.wiped = true;
        assert_eq!(Fate::of(&slot, &start(replaced(2)), Duration::ZERO), Fate::Refused);
        let other = start(BootstrapError::NothingRecorded);
        assert_eq!(Fate::of(&slot, &other, Duration::ZERO), Fate::Unexpected);

        // Who joins is told so when it starts, or later.
        let joins = JoinError::DiskReplaced { node_id: NodeId(2), recorded, found };
        let refused = |error: JoinError| Refusal::of(&StartError::Join(error), |_| false);
        assert_eq!(refused(joins.clone()), Some(Refusal::OtherDisk));
        let stopped = Why::stopped(2, &joins.to_string());
        assert_eq!(Fate::of(&slot, &stopped, Duration::ZERO), Fate::Refused);
        slot.is_another();
        assert_eq!(Fate::of(&slot, &stopped, Duration::ZERO), Fate::Unexpected);
    }

    #[test]
    fn who_is_asked_to_shut_down_may_do_that_and_nothing_else() {
        let fate = |slot: &Slot<RegistersWorkload>, ended, reason| {
            Fate::of(slot, &Why::shut_down(2, ended, reason), Duration::ZERO)
        };
        let mut slot = slot();
        assert_eq!(fate(&slot, Ok(()), Some(SHUT_DOWN)), Fate::Excused);
        assert_eq!(fate(&slot, Ok(()), Some("the storage failed")), Fate::Unexpected);
        assert_eq!(fate(&slot, Err(ShutdownError::Panicked), Some(SHUT_DOWN)), Fate::Unexpected);
        assert_eq!(fate(&slot, Ok(()), None), Fate::Unexpected);
        let why = Why::shut_down(2, Ok(()), Some("the storage failed"));
        assert_eq!(why.text, "the node was shut down: Ok(()), and the node stopped: the storage failed");
        // Another fault explains it.
        slot.rotten = true;
        assert_eq!(fate(&slot, Ok(()), Some("the storage failed")), Fate::Damaged);
        slot.fail_a_flush();
        assert_eq!(fate(&slot, Ok(()), Some("the storage failed")), Fate::Excused);
    }

    #[test]
    fn each_fuse_leaves_what_it_was_to_leave() {
        let mut slot = slot();
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(9));
        let files = slot.disk.hooks().files;
        files.create_dir("snap".as_ref()).expect("there is power");
        slot.set_fuse_in("snap", 0, (Crash::Subset, long));
        let before = slot.set_fuse(90, (Crash::Process, short));
        // The file lights the one that waits for it, which is in from then on.
        let _file = files.create("snap/file".as_ref()).expect("there is power");
        assert!(files.create("snap/other".as_ref()).is_err(), "there is no power");
        assert_ne!(slot.disk.blown(), Some(before));
        assert_eq!(slot.at_the_fuse(), (Crash::Subset, long));
        slot.disk.crash(Crash::LoseAll);
        assert_eq!(slot.disk.blown(), None);
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
