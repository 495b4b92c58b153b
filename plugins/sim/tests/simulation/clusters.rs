//! Clusters under faults drawn from seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Write, stderr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use quorate_sim::campaign::{Options, Tally, failure, run, smaller, summary};
use quorate_sim::cluster::Setup;
use quorate_sim::plan::Plan;
use quorate_sim::runtime::Points;
use quorate_sim::shrink::Budget;
use quorate_sim::workload::Call;

use crate::support::{LENGTH, LIMIT, WORKLOAD, passes};

/// How many seeds a plain test run takes; another number, and where to begin, can be asked for by
/// variables of the campaign's own: those of `simulate!` reach every other test, too.
const SEEDS: u64 = 200;
const ASKED_SEEDS: &str = "QUORATE_SIM_CAMPAIGN_SEEDS";
const ASKED_FROM: &str = "QUORATE_SIM_CAMPAIGN_FROM";
/// How many run at the same time.
const JOBS: usize = 2;
/// How long failing runs are made smaller, all of them together.
const SHRINK: Duration = Duration::from_mins(2);

fn asked_for(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |number| number.parse().expect("a whole number"))
}

fn command(seed: u64) -> String {
    format!("cargo sim --replay {seed} --seconds {}", LENGTH.as_secs_f64())
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
    let (from, seeds) = (asked_for(ASKED_FROM, 0), asked_for(ASKED_SEEDS, SEEDS));
    let options = Options { seeds: from..from + seeds, jobs: JOBS, limit: LIMIT, ..Options::default() };
    let never = AtomicBool::new(false);
    let tally = run(&options, |seed| Setup::of_seed(seed, LENGTH), || WORKLOAD, &never, |_| ());
    println!("{}", summary(&tally, true, command));
    // Past the test runner, which keeps what a test that passes prints: whoever ran the tests can see
    // that there were simulations.
    let _ = stderr().write_all(format!("simulated {} seeds\n", tally.seeds).as_bytes());
    assert_eq!(tally.seeds, seeds);
    assert!(tally.found.is_empty(), "{}", failures(&tally));
    // A run in which nothing happened proves nothing.
    assert!(tally.counts.acknowledged > 50 * seeds, "{:?}", tally.counts);
    let missing: Vec<&str> = tally.missing().iter().map(|event| event.name).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

#[test]
fn the_seeds_of_simulate_are_not_those_of_the_campaign() {
    let campaign = "clusters::clusters_hold_their_promises_whatever_goes_wrong";
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", campaign, "--nocapture"])
        .envs([("QUORATE_SIM_SEEDS", "2"), ("QUORATE_SIM_FROM", "9"), (ASKED_SEEDS, "1"), (ASKED_FROM, "4")])
        .output()
        .expect("this test runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("simulated 1 seeds"), "{text}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.lines().any(|line| line.contains("slowest seed") && line.contains(" 4 (")), "{text}");
}

#[test]
fn clients_that_were_not_told_send_a_command_once_more_and_it_may_be_applied_twice() {
    let (mut sent, mut applied, mut elsewhere) = (0, 0, false);
    for seed in 0..12 {
        for retries in [true, false] {
            let report = passes(Setup { retries, ..Setup::of_seed(seed, LENGTH / 2) });
            // No two commands are alike but for those that are sent once more.
            let mut nodes: BTreeMap<&[u8], BTreeSet<u64>> = BTreeMap::new();
            let mut alike = 0;
            for record in &report.history {
                if let Call::Write(command) = &record.call {
                    let asked = nodes.entry(command).or_default();
                    alike += u64::from(!asked.is_empty());
                    asked.insert(record.node);
                }
            }
            // One that was refused is no part of the history.
            assert!(alike <= report.counts.retries, "{alike} of {:?}", report.counts);
            assert!(retries || report.counts.retries == 0, "{:?}", report.counts);
            sent += report.counts.retries;
            applied += report.counts.applied_again;
            elsewhere |= nodes.values().any(|asked| asked.len() > 1);
        }
    }
    println!("{sent} were sent once more, {applied} applied twice");
    assert!(sent > applied && applied > 0 && elsewhere, "{sent} and {applied}, {elsewhere}");
}

/// The first failing run of every class, with the plan that it shrinks to.
fn failures(tally: &Tally) -> String {
    let budget = Budget { time: SHRINK, jobs: JOBS, limit: LIMIT };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut texts = Vec::new();
    let untouched = smaller(
        tally,
        || WORKLOAD,
        &budget,
        |run, shrunk| {
            texts.push(failure(run, shrunk, &command(run.setup.seed), folder));
        },
    );
    texts.extend(untouched.iter().map(|run| format!("and seed {}: {:?}", run.setup.seed, run.finding)));
    texts.join("\n")
}

#[test]
fn clusters_hold_their_promises_with_every_fault_point_live() {
    let seeds = 1_000..1_004;
    let mut fired = 0;
    for seed in seeds.clone() {
        fired += passes(Setup { points: Points::All, ..Setup::of_seed(seed, LENGTH) }).counts.points;
    }
    println!("{fired} times in seeds {seeds:?}");
    assert!(fired > 400, "only {fired} times");
}
