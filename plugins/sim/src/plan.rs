//! What goes wrong in a run, drawn before it begins and from numbers of its own, so that leaving a
//! fault out changes nothing else.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::{Crash, FlushTime};
use crate::rng::Rng;
use crate::wire::LinkTime;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The process or machine of a node stops, and starts again.
    Crash {
        /// Whose.
        node: u64,
        /// What it leaves on the disk.
        crash: Crash,
        /// How long it is down.
        down: Duration,
        /// The power fails again at this change of the next boot, in recovery if it is early.
        again_at: Option<u64>,
    },
    /// The power of a node fails at a change of its disk: in the middle of a commit, say.
    Fuse {
        /// Whose.
        node: u64,
        /// At the how many-th change from then.
        changes: u64,
        /// What it leaves on the disk.
        crash: Crash,
        /// How long it is down.
        down: Duration,
    },
    /// A node is cut off from all others.
    Isolate {
        /// Which.
        node: u64,
        /// How long.
        time: Duration,
        /// Whether it still hears the others.
        hears: bool,
        /// Whether the others still hear it.
        is_heard: bool,
    },
    /// A link is cut one way.
    CutOneWay {
        /// From this node.
        from: u64,
        /// To this one.
        to: u64,
        /// How long.
        time: Duration,
    },
    /// Every stream between two nodes is reset.
    Reset {
        /// One.
        a: u64,
        /// The other.
        b: u64,
    },
    /// Every stream between two nodes is left half-open.
    HalfOpen {
        /// Whose ends fail.
        gone: u64,
        /// Who is not told.
        left: u64,
    },
    /// Everything from and to a node is slow, and some of it very late.
    SlowLinks {
        /// Which.
        node: u64,
        /// How slow.
        link: LinkTime,
        /// How long.
        time: Duration,
    },
    /// Dials to a node are refused.
    Refuse {
        /// Which.
        node: u64,
        /// How long.
        time: Duration,
    },
    /// A node does nothing for a while, and goes on as if nothing had been.
    Pause {
        /// Which.
        node: u64,
        /// How long.
        time: Duration,
    },
    /// The commits of a node are slow.
    SlowDisk {
        /// Which.
        node: u64,
        /// How slow.
        flush: FlushTime,
        /// How long.
        time: Duration,
    },
    /// A flush of a node fails, which stops it.
    FlushError {
        /// Which.
        node: u64,
    },
    /// A node's clock jumps ahead and drifts from then on.
    Clock {
        /// Which.
        node: u64,
        /// How far it jumps.
        jump: Duration,
        /// How many microseconds it gains in a second from then on; negative when it loses.
        drift_ppm: i32,
    },
    /// The leader is asked to hand over.
    Transfer {
        /// To whom.
        to: u64,
    },
    /// Whoever leads is cut off from all others, and what it appends is not committed.
    IsolateLeader {
        /// How long.
        time: Duration,
    },
    /// Whoever leads crashes.
    CrashLeader {
        /// What it leaves on the disk.
        crash: Crash,
        /// How long it is down.
        down: Duration,
    },
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// When, from the start of the run.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.6}s {:?}", self.at.as_secs_f64(), self.fault)
    }
}

/// What a minority suffers for good while the others must go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lasting {
    /// Nothing: all are well.
    Nothing,
    /// They are down.
    Down,
    /// They hear everyone, and nobody hears them.
    Mute,
    /// Everyone hears them, and they hear nobody.
    Deaf,
}

/// Everything that goes wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In order of time.
    pub faults: Vec<Planned>,
    /// What ails the minority at the end.
    pub lasting: Lasting,
    /// The minority.
    pub minority: Vec<u64>,
}

/// What may go wrong: a class at a time is switched on or off by the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Processes,
    Power,
    Partitions,
    Streams,
    Slowness,
    Pauses,
    Disks,
    Clocks,
    Leaders,
}

const CLASSES: [Class; 9] = [
    Class::Processes,
    Class::Power,
    Class::Partitions,
    Class::Streams,
    Class::Slowness,
    Class::Pauses,
    Class::Disks,
    Class::Clocks,
    Class::Leaders,
];

impl Plan {
    /// Nothing goes wrong.
    pub fn calm() -> Self {
        Self { faults: Vec::new(), lasting: Lasting::Nothing, minority: Vec::new() }
    }

    /// Draws a plan for nodes 1 to `nodes` and a run of `length`.
    pub fn draw(seed: u64, nodes: u64, length: Duration) -> Self {
        let mut rng = Rng::stream(seed, "plan");
        let mut classes: Vec<Class> = CLASSES.into_iter().filter(|_| rng.chance(500)).collect();
        if classes.is_empty() {
            classes.push(*rng.pick(&CLASSES));
        }
        // From a fault a second to one in five.
        let every_ms = rng.within(1_000..5_000);
        let mut faults = Vec::new();
        let mut at = rng.millis(500..2_500);
        while at < length {
            let class = *rng.pick(&classes);
            faults.push(Planned { at, fault: fault(class, nodes, &mut rng) });
            at += rng.millis(every_ms / 4..every_ms * 2);
        }
        let lasting = *rng.pick(&[Lasting::Nothing, Lasting::Down, Lasting::Mute, Lasting::Deaf]);
        let mut minority: Vec<u64> = (1..=nodes).collect();
        while minority.len() as u64 > (nodes - 1) / 2 {
            minority.remove(rng.below(minority.len() as u64) as usize);
        }
        Self { faults, lasting, minority }
    }
}

fn power(rng: &mut Rng) -> Crash {
    let torn = |sector| Crash::Torn { sector };
    *rng.pick(&[Crash::LoseAll, Crash::Subset, torn(512), torn(4096)])
}

fn two(nodes: u64, rng: &mut Rng) -> (u64, u64) {
    let one = rng.within(1..nodes + 1);
    let other = 1 + (one + rng.below(nodes - 1)) % nodes;
    (one, other)
}

fn fault(class: Class, nodes: u64, rng: &mut Rng) -> Fault {
    let node = rng.within(1..nodes + 1);
    match class {
        Class::Processes => {
            Fault::Crash { node, crash: Crash::Process, down: rng.millis(1..1_500), again_at: None }
        }
        Class::Power if rng.chance(400) => {
            let (changes, crash) = (rng.below(60), power(rng));
            Fault::Fuse { node, changes, crash, down: rng.millis(1..3_000) }
        }
        Class::Power => {
            let again_at = rng.chance(300).then(|| rng.below(40));
            Fault::Crash { node, crash: power(rng), down: rng.millis(1..3_000), again_at }
        }
        Class::Partitions => partition(node, nodes, rng),
        Class::Streams => {
            let (a, b) = two(nodes, rng);
            match rng.below(3) {
                0 => Fault::Reset { a, b },
                1 => Fault::HalfOpen { gone: a, left: b },
                _ => Fault::Refuse { node, time: rng.millis(100..4_000) },
            }
        }
        Class::Slowness => {
            let usual_us = (rng.within(100..5_000), rng.within(5_000..60_000));
            let link = LinkTime { usual_us, late_per_mille: rng.below(100), late_ms: (50, 600) };
            Fault::SlowLinks { node, link, time: rng.millis(500..6_000) }
        }
        Class::Pauses => Fault::Pause { node, time: rng.millis(50..3_000) },
        Class::Disks if rng.chance(250) => Fault::FlushError { node },
        Class::Disks => {
            let flush =
                FlushTime { usual_ms: (1, rng.within(5..60)), slow_per_mille: 100, slow_ms: (50, 900) };
            Fault::SlowDisk { node, flush, time: rng.millis(500..6_000) }
        }
        Class::Clocks => {
            let jump = if rng.chance(500) { Duration::ZERO } else { rng.millis(1..20_000) };
            Fault::Clock { node, jump, drift_ppm: rng.below(100_000) as i32 - 50_000 }
        }
        Class::Leaders if rng.chance(350) => Fault::Transfer { to: node },
        Class::Leaders if rng.chance(500) => Fault::IsolateLeader { time: rng.millis(500..4_000) },
        Class::Leaders => {
            let crash = if rng.chance(500) { Crash::Process } else { power(rng) };
            Fault::CrashLeader { crash, down: rng.millis(1..800) }
        }
    }
}

fn partition(node: u64, nodes: u64, rng: &mut Rng) -> Fault {
    let time = rng.millis(200..5_000);
    match rng.below(4) {
        0 => {
            let (from, to) = two(nodes, rng);
            Fault::CutOneWay { from, to, time }
        }
        1 => Fault::Isolate { node, time, hears: true, is_heard: false },
        2 => Fault::Isolate { node, time, hears: false, is_heard: true },
        _ => Fault::Isolate { node, time, hears: false, is_heard: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_same_again_and_names_only_nodes_there_are() {
        for seed in 0..300 {
            let nodes = 3 + seed % 3;
            let plan = Plan::draw(seed, nodes, Duration::from_mins(1));
            assert_eq!(plan, Plan::draw(seed, nodes, Duration::from_mins(1)));
            assert!(plan.faults.is_sorted_by_key(|planned| planned.at) && plan.faults.len() > 3);
            assert!(plan.minority.len() as u64 <= (nodes - 1) / 2);
            for Planned { fault, .. } in &plan.faults {
                if let Fault::CutOneWay { from, to, .. } | Fault::Reset { a: from, b: to } = fault {
                    assert!(from != to && (1..=nodes).contains(from) && (1..=nodes).contains(to));
                }
            }
        }
    }
}
