//! What must happen sometimes: a campaign in which it never did proves less than it seems to.

use crate::cluster::Counts;

/// Something that happens in some runs and not in others.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What.
    pub name: &'static str,
    /// How often it happened.
    pub count: fn(&Counts) -> u64,
    /// Within how many seeds of the full mix it must have happened; `None` when it may never.
    pub within: Option<u64>,
}

const fn event(name: &'static str, within: Option<u64>, count: fn(&Counts) -> u64) -> Event {
    Event { name, count, within }
}

/// All of them.
pub const EVENTS: &[Event] = &[
    event("a node crashed", Some(20), |counts| counts.crashes),
    event("a leader crashed", Some(50), |counts| counts.leader_crashes),
    event("a leader crashed and led again", Some(200), |counts| counts.bounces),
    event("leadership was handed over", Some(200), |counts| counts.handovers),
    event("a machine joined the running cluster", Some(100), |counts| counts.joined),
    event("a learner was made a voter", Some(100), |counts| counts.promoted),
    event("a member was removed", Some(100), |counts| counts.removed),
    event("a leader was removed", Some(200), |counts| counts.leaders_removed),
    event("the members changed while a link was cut", Some(500), |counts| counts.changed_in_partition),
    event("a machine that had joined lost its disk", Some(500), |counts| counts.spares_wiped),
    event("an id was given again, and its node joined", Some(500), |counts| counts.ids_again),
    event("what became of a change of the members stayed unknown", None, |counts| counts.changes_unknown),
    event("a node was shut down", Some(50), |counts| counts.shutdowns),
    event("a snapshot was made", Some(20), |counts| counts.snapshots),
    event("a snapshot was installed from a leader", Some(100), |counts| counts.installs),
    event("a snapshot broke off on its way", Some(1_000), |counts| counts.wire.transfers_broken),
    event("a snapshot went on where it broke off", None, |counts| counts.resumed),
    event("a machine went on with what was on its disk", Some(50), |counts| counts.machines_resumed),
    event("a snapshot replaced what was on a machine's disk", Some(1_000), |counts| counts.tables_replaced),
    event("a conflicting tail was truncated", Some(200), |counts| counts.truncations),
    event("a crash lost unflushed writes", Some(50), |counts| counts.disk.losses),
    event("a crash tore a write", Some(200), |counts| counts.disk.torn),
    event("the power failed at a named write", Some(50), |counts| counts.disk.fuses_blown),
    event("the power failed in recovery", Some(200), |counts| counts.cuts_in_recovery),
    event("the power failed while a snapshot was written", Some(200), |counts| counts.disk.blown_in_folder),
    event("a disk ran low and said so", Some(100), |counts| counts.low_disks),
    event("a disk was full", Some(200), |counts| counts.disk.full),
    event("a node with flipped bits on its disk stopped", Some(200), |counts| counts.damaged),
    event("an empty disk under an old name was refused", Some(200), |counts| counts.wiped_refused),
    event("a flush failed", Some(200), |counts| counts.disk.failed_flushes),
    event("a clock jumped or drifted anew", Some(50), |counts| counts.clock_faults),
    event("a dial was refused", Some(50), |counts| counts.wire.refused),
    event("a stream was reset", Some(20), |counts| counts.wire.resets),
    event("a stream was given up as silent", Some(20), |counts| counts.wire.idle),
    event("a frame arrived after its sender died", Some(50), |counts| counts.wire.posthumous),
    event("a fault point of the framework fired", Some(20), |counts| counts.points),
    event("the outcome of a write stayed unknown", Some(20), |counts| counts.unknown),
    event("a client sent a command once more", Some(50), |counts| counts.retries),
    event("a command of a session was known again", Some(50), |counts| counts.repeats_known),
    event("a command came after its session had ended", Some(200), |counts| counts.sessions_ended),
    event("a command that was sent once more was applied twice", Some(200), |counts| counts.applied_again),
];
