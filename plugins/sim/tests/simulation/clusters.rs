//! Clusters under faults drawn from seeds.

use std::time::Duration;

use quorate_sim::cluster::{Counts, Setup};
use quorate_sim::plan::Plan;
use quorate_sim::runtime::Points;

use crate::support::{LENGTH, passes};

/// How many seeds a plain test run takes; another number, and where to begin, can be asked for by
/// the variables below.
const SEEDS: u64 = 12;

fn asked_for(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |number| number.parse().expect("a whole number"))
}

#[test]
fn a_cluster_without_faults_serves_everybody() {
    for nodes in [3, 5] {
        let plan = Plan::calm();
        let counts = passes(Setup { nodes, plan, ..Setup::of_seed(nodes, Duration::from_secs(5)) }).counts;
        assert!(counts.acknowledged > 50 && counts.reads > 50, "{counts:?}");
        assert_eq!((counts.unknown, counts.crashes, counts.wire.idle), (0, 0, 0), "{counts:?}");
    }
}

#[test]
fn clusters_hold_their_promises_whatever_goes_wrong() {
    let mut sum = Counts::default();
    let (from, seeds) = (asked_for("QUORATE_SIM_FROM", 0), asked_for("QUORATE_SIM_SEEDS", SEEDS));
    for seed in from..from + seeds {
        let counts = passes(Setup::of_seed(seed, LENGTH)).counts;
        println!("seed {seed}: {counts:?}");
        sum.acknowledged += counts.acknowledged;
        sum.crashes += counts.crashes;
        sum.leader_crashes += counts.leader_crashes;
        sum.points += counts.points;
        sum.snapshots += counts.snapshots;
        sum.truncations += counts.truncations;
        sum.wire.resets += counts.wire.resets;
        sum.wire.idle += counts.wire.idle;
        sum.disk.add(counts.disk);
    }
    println!("{seeds} seeds: {sum:?}");
    // A run in which nothing happened proves nothing.
    assert!(sum.acknowledged > 50 * seeds, "{sum:?}");
    if seeds < SEEDS {
        return;
    }
    let Counts { crashes, leader_crashes, snapshots, disk, wire, .. } = sum;
    let happened =
        [crashes, leader_crashes, snapshots, wire.resets, wire.idle, disk.losses, disk.fuses_blown];
    assert!(happened.iter().all(|count| *count > 0), "{sum:?}");
}

#[test]
fn clusters_hold_their_promises_with_every_fault_point_live() {
    let (from, seeds) = (asked_for("QUORATE_SIM_FROM", 1_000), asked_for("QUORATE_SIM_SEEDS", 4));
    let mut fired = 0;
    for seed in from..from + seeds {
        fired += passes(Setup { points: Points::All, ..Setup::of_seed(seed, LENGTH) }).counts.points;
    }
    println!("{fired} times in {seeds} seeds");
    assert!(fired > 100 * seeds, "only {fired} times");
}
