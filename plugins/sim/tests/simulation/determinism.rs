//! A seed is one run, in this process and in any other.

use std::process::Command;

use quorate_sim::cluster::Setup;

use crate::support::{LENGTH, run};

/// Tells the test in the other process which seed to run.
const SEED: &str = "QUORATE_SIM_HASH_OF_SEED";
const MARK: &str = "hash of the trace:";

fn hash(seed: u64) -> (u64, u64) {
    run(Setup::of_seed(seed, LENGTH / 2)).hash
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_not() {
    for seed in [1, 2] {
        assert_eq!(hash(seed), hash(seed), "seed {seed}");
    }
    assert_ne!(hash(1), hash(2));
}

/// What the other process runs. By itself it is one more seed that has a hash.
#[test]
fn a_run_has_a_hash() {
    let seed = std::env::var(SEED).map_or(3, |seed| seed.parse().expect("set by the test below"));
    let hash = hash(seed);
    assert!(hash.1 > 1000, "{hash:?}: much happens in a run");
    println!("{MARK}{hash:?}");
}

#[test]
fn the_same_seed_is_the_same_run_in_another_process() {
    let here = format!("{:?}", hash(4));
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "determinism::a_run_has_a_hash", "--nocapture"])
        .env(SEED, "4")
        .output()
        .expect("this test runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let there = text.lines().find_map(|line| Some(line.split_once(MARK)?.1));
    assert_eq!(there, Some(&*here), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
