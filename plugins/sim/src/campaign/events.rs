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
    event("a snapshot was made or installed", Some(20), |counts| counts.snapshots),
    event("a conflicting tail was truncated", Some(200), |counts| counts.truncations),
    event("a crash lost unflushed writes", Some(50), |counts| counts.disk.losses),
    event("a crash tore a write", Some(200), |counts| counts.disk.torn),
    event("the power failed at a named write", Some(50), |counts| counts.disk.fuses_blown),
    event("a stream was reset", Some(20), |counts| counts.wire.resets),
    event("a stream was given up as silent", Some(20), |counts| counts.wire.idle),
    event("a frame arrived after its sender died", Some(50), |counts| counts.wire.posthumous),
    event("a fault point of the framework fired", Some(20), |counts| counts.points),
    event("the outcome of a write stayed unknown", Some(20), |counts| counts.unknown),
];
