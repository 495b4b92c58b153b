//! How a fault of each class is drawn.

use std::time::Duration;

use super::Fault;
use crate::disk::{Crash, FlushTime};
use crate::rng::Rng;
use crate::wire::LinkTime;

/// Faults of a kind: a seed switches all of them on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Processes,
    Power,
    Partitions,
    Streams,
    Slowness,
    Pauses,
    Disks,
    Clocks,
    Leaders,
    Space,
    Damage,
    Members,
    Snapshots,
    Shutdowns,
}

impl Class {
    pub(super) const ALL: [Self; 14] = [
        Self::Processes,
        Self::Power,
        Self::Partitions,
        Self::Streams,
        Self::Slowness,
        Self::Pauses,
        Self::Disks,
        Self::Clocks,
        Self::Leaders,
        Self::Space,
        Self::Damage,
        Self::Members,
        Self::Snapshots,
        Self::Shutdowns,
    ];

    /// How many nodes there must be for a fault of it to be one, and to be one that a cluster survives.
    pub(super) fn least_nodes(self) -> u64 {
        match self {
            // What is lost must be lost at a minority.
            Self::Damage | Self::Members => 3,
            // Between nodes.
            Self::Partitions | Self::Streams | Self::Slowness => 2,
            _ => 1,
        }
    }

    /// Draws a fault for nodes 1 to `nodes`, at least [`Self::least_nodes`]. Only those of the `minority`
    /// lose what does not come back.
    pub(super) fn fault(self, nodes: u64, minority: &[u64], rng: &mut Rng) -> Fault {
        let node = rng.within(1..nodes + 1);
        match self {
            Self::Processes => {
                Fault::Crash { node, crash: Crash::Process, down: rng.millis(1..1_500), again_at: None }
            }
            Self::Power => power(node, rng),
            Self::Partitions => partition(node, nodes, rng),
            Self::Streams => {
                let (a, b) = two(nodes, rng);
                match rng.below(3) {
                    0 => Fault::Reset { a, b },
                    1 => Fault::HalfOpen { gone: a, left: b },
                    _ => Fault::Refuse { node, time: rng.millis(100..4_000) },
                }
            }
            Self::Slowness => {
                let usual_us = (rng.within(100..5_000), rng.within(5_000..60_000));
                let link = LinkTime { usual_us, late_per_mille: rng.below(100), late_ms: (50, 600) };
                Fault::SlowLinks { node, link, time: rng.millis(500..6_000) }
            }
            Self::Pauses => Fault::Pause { node, time: rng.millis(50..3_000) },
            Self::Disks if rng.chance(250) => Fault::FlushError { node },
            Self::Disks => {
                let usual_ms = (1, rng.within(5..60));
                let flush = FlushTime { usual_ms, slow_per_mille: 100, slow_ms: (50, 900) };
                Fault::SlowDisk { node, flush, time: rng.millis(500..6_000) }
            }
            Self::Clocks => {
                let jump = if rng.chance(500) { Duration::ZERO } else { rng.millis(1..20_000) };
                Fault::Clock { node, jump, drift_ppm: rng.below(100_000) as i32 - 50_000 }
            }
            Self::Leaders if rng.chance(350) => Fault::Transfer { to: node },
            Self::Leaders if rng.chance(500) => Fault::IsolateLeader { time: rng.millis(500..4_000) },
            Self::Leaders => {
                let crash = if rng.chance(500) { Crash::Process } else { loss(rng) };
                Fault::CrashLeader { crash, down: rng.millis(1..800) }
            }
            Self::Space => {
                // From nothing at all to what the storage's own reserve bridges.
                let most = *rng.pick(&[1, 32 << 10, 256 << 10, 3 << 20]);
                Fault::Full { node, spare: rng.below(most), time: rng.millis(1_000..6_000) }
            }
            Self::Damage => Fault::Rot {
                node: *rng.pick(minority),
                bits: *rng.pick(&[1, 8, 64, 512]),
                stopped: rng.chance(500),
            },
            Self::Members => Fault::Wipe { node: *rng.pick(minority) },
            Self::Snapshots if rng.chance(300) => Fault::BreakSnapshot { answers: rng.within(1..8) },
            Self::Snapshots if rng.chance(500) => {
                let (changes, crash) = (rng.below(12), loss(rng));
                Fault::SnapshotFuse { node, changes, crash, down: rng.millis(1..2_000) }
            }
            Self::Snapshots => Fault::FallBehind { node, time: rng.millis(200..2_000) },
            Self::Shutdowns => Fault::Shutdown { node },
        }
    }
}

fn loss(rng: &mut Rng) -> Crash {
    let torn = |sector| Crash::Torn { sector };
    *rng.pick(&[Crash::LoseAll, Crash::Subset, torn(512), torn(4096)])
}

fn power(node: u64, rng: &mut Rng) -> Fault {
    if rng.chance(400) {
        let (changes, crash) = (rng.below(60), loss(rng));
        return Fault::Fuse { node, changes, crash, down: rng.millis(1..3_000) };
    }
    // A boot changes little before it serves.
    let again_at = rng.chance(500).then(|| {
        let most = *rng.pick(&[8, 40]);
        rng.below(most)
    });
    Fault::Crash { node, crash: loss(rng), down: rng.millis(1..3_000), again_at }
}

fn two(nodes: u64, rng: &mut Rng) -> (u64, u64) {
    let one = rng.within(1..nodes + 1);
    let other = 1 + (one + rng.below(nodes - 1)) % nodes;
    (one, other)
}

fn partition(node: u64, nodes: u64, rng: &mut Rng) -> Fault {
    let time = rng.millis(200..5_000);
    match rng.below(7) {
        0 => {
            let (from, to) = two(nodes, rng);
            Fault::CutOneWay { from, to, time }
        }
        1 => Fault::Isolate { node, time, hears: true, is_heard: false },
        2 => Fault::Isolate { node, time, hears: false, is_heard: true },
        3 => {
            let (a, b) = two(nodes, rng);
            Fault::CutLink { a, b, time }
        }
        4 => Fault::Split { half: rng.within(1..(1 << nodes) - 1) << 1, time },
        5 => {
            let (off, on) = (rng.millis(20..600), rng.millis(20..600));
            Fault::Flap { node, times: rng.within(2..8), off, on }
        }
        _ => Fault::Isolate { node, time, hears: false, is_heard: false },
    }
}
