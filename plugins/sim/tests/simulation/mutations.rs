//! Bugs put in on purpose: each must be found within so many seeds, or the oracles prove nothing.

use std::time::Duration;

use quorate_sim::cluster::Setup;
use quorate_sim::disk::Crash;
use quorate_sim::observe::Mutation;
use quorate_sim::plan::{Fault, Lasting, Plan, Planned};

use crate::support::{LENGTH, passes, run};

/// Machines that lose their power one after the other, and often all of them: what is not on a disk
/// is gone.
fn power_cuts(nodes: u64) -> Plan {
    let cut = |round: u64| {
        move |node| Planned {
            at: Duration::from_millis(1_500 * (round + 1) + node),
            fault: Fault::Crash {
                node,
                crash: Crash::LoseAll,
                down: Duration::from_millis(100),
                again_at: None,
            },
        }
    };
    let faults = (0..5).flat_map(|round| (1..=nodes).map(cut(round))).collect();
    Plan { faults, lasting: Lasting::Nothing, minority: Vec::new() }
}

/// Leaders that are cut off and come back, with entries that nobody else has.
fn lonely_leaders(nodes: u64) -> Plan {
    let isolate = |round: u64| Planned {
        at: Duration::from_millis(2_000 * round),
        fault: Fault::IsolateLeader { time: Duration::from_millis(1_500) },
    };
    let minority = (1..=(nodes - 1) / 2).collect();
    Plan { faults: (1..5).map(isolate).collect(), lasting: Lasting::Nothing, minority }
}

/// Runs seeds with a bug until one is found out; says by which oracle.
fn found_within(seeds: u64, mutation: Mutation, plan: impl Fn(u64) -> Option<Plan>) -> &'static str {
    for seed in 0..seeds {
        let mut setup = Setup::of_seed(seed, LENGTH);
        setup.plan = plan(setup.nodes).unwrap_or(setup.plan);
        setup.mutation = Some(mutation);
        if let Some(violation) = run(setup).violation {
            println!("{mutation:?}: seed {seed}, {violation}");
            return violation.oracle;
        }
    }
    panic!("{mutation:?} is not found within {seeds} seeds");
}

#[test]
fn a_write_acknowledged_too_early_is_found() {
    let oracle = found_within(3, Mutation::EarlyAcknowledgement, |nodes| Some(power_cuts(nodes)));
    assert_eq!(oracle, "durability");
}

#[test]
fn a_disk_that_lies_is_found() {
    // It does not even have the node's identity any more.
    let oracle = found_within(3, Mutation::LyingDisk, |nodes| Some(power_cuts(nodes)));
    assert!(["durability", "nodes keep running"].contains(&oracle), "{oracle}");
}

#[test]
fn a_vote_that_is_not_written_is_found() {
    let oracle = found_within(3, Mutation::ForgottenVote, |nodes| Some(power_cuts(nodes)));
    assert!(["durability", "votes"].contains(&oracle), "{oracle}");
}

#[test]
fn a_conflicting_tail_that_is_kept_is_found_and_one_that_is_removed_is_right() {
    let plan = |nodes| Some(lonely_leaders(nodes));
    let mut setup = Setup::of_seed(0, LENGTH);
    setup.plan = lonely_leaders(setup.nodes);
    let report = passes(setup);
    assert!(report.counts.truncations > 0, "{:?}", report.counts);
    let oracle = found_within(3, Mutation::SkippedTruncation, plan);
    println!("{oracle}");
}

#[test]
fn a_read_of_what_happens_to_be_there_is_found() {
    assert_eq!(found_within(3, Mutation::StaleRead, |_| None), "linearizability");
}
