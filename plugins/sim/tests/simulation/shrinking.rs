//! A failing run becomes smaller, and what is kept of it is read back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_sim::campaign::failure;
use quorate_sim::cluster::Setup;
use quorate_sim::disk::Crash;
use quorate_sim::mutations::Mutation;
use quorate_sim::plan::{Fault, Lasting, Plan, Planned};
use quorate_sim::plan_file::{PlanFile, PlanFileError};
use quorate_sim::replay::timeline;
use quorate_sim::run::{Finding, Run, attempt};
use quorate_sim::shrink::{Budget, Size, shrink};
use quorate_sim::trace::Trace;

use crate::support::{LENGTH, LIMIT, WORKLOAD};

/// A disk that lies, which one power cut shows, among much that does no harm.
fn one_cut_among_many() -> Setup {
    let at = |ms, fault| Planned { at: Duration::from_millis(ms), fault };
    let time = Duration::from_millis(300);
    let mut faults: Vec<Planned> = (0..12)
        .map(|round: u64| {
            let node = 1 + round % 3;
            let fault = match round % 4 {
                0 => Fault::Reset { a: node, b: 1 + node % 3 },
                1 => Fault::Refuse { node, time },
                2 => Fault::Clock { node, jump: Duration::ZERO, drift_ppm: 100 },
                _ => Fault::Transfer { to: node },
            };
            at(600 + 400 * round, fault)
        })
        .collect();
    let cut = Fault::Crash { node: 2, crash: Crash::Torn { sector: 512 }, down: time, again_at: None };
    faults.insert(7, at(3_300, cut));
    let plan = Plan { faults, lasting: Lasting::Deaf, minority: vec![3] };
    Setup { nodes: 3, plan, mutation: Some(Mutation::LyingDisk), ..Setup::of_seed(1, LENGTH) }
}

fn run(setup: Setup) -> Run {
    attempt(setup, WORKLOAD, LIMIT, Trace::default())
}

fn class(run: &Run) -> Option<String> {
    run.finding.as_ref().map(Finding::class)
}

#[test]
fn what_does_no_harm_is_left_out_and_the_same_oracle_still_finds_it() {
    let failing = run(one_cut_among_many());
    let found = class(&failing);
    assert!(found.is_some());
    let budget = Budget { time: Duration::from_mins(3), jobs: 2, limit: LIMIT };
    let shrunk = shrink(&failing, || WORKLOAD, &budget);
    let (before, after) = (shrunk.from, Size::of(&shrunk.run.setup));
    assert_eq!(before.faults, 14, "with what lasts");
    assert!(after.faults <= 2, "{after}: {:?}", shrunk.run.setup.plan);
    assert!(after.clients < before.clients && after.length < before.length, "{after}");
    assert_eq!(class(&shrunk.run), found);
    // What was shrunk is a run like any other.
    assert_eq!(class(&run(shrunk.run.setup.clone())), found);

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shrinking");
    let text = failure(&failing, &shrunk, "cargo sim --replay 1", &folder);
    assert!(text.contains("seed 1") && text.contains("again: cargo sim --replay 1"), "{text}");
    let path =
        text.lines().find_map(|line| line.trim().strip_prefix("the smallest again: cargo sim --plan "));
    let path = PathBuf::from(path.expect("the plan is a file"));
    assert_eq!(PlanFile::read(&path).expect("a plan").setup, shrunk.run.setup);
}

#[test]
fn a_run_that_passes_is_left_as_it_is_and_so_is_one_for_which_there_is_no_time() {
    let passes = run(Setup { mutation: None, ..one_cut_among_many() });
    let no_time = Budget { time: Duration::ZERO, jobs: 1, limit: LIMIT };
    let shrunk = shrink(&passes, || WORKLOAD, &Budget { time: Duration::from_mins(1), ..no_time });
    assert_eq!((shrunk.tried, shrunk.run.setup), (0, passes.setup));
    let failing = run(one_cut_among_many());
    let shrunk = shrink(&failing, || WORKLOAD, &no_time);
    assert_eq!((shrunk.tried, shrunk.cut_short, shrunk.run.setup), (0, true, failing.setup));
}

#[test]
fn what_other_oracles_said_is_told_below_the_verdict() {
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/forgotten-vote.json");
    let setup = PlanFile::read(&plan).expect("a plan").setup;
    let run = attempt(setup, WORKLOAD, LIMIT, Trace::recording());
    assert_eq!(class(&run).as_deref(), Some("durability"));
    assert!(run.also().iter().any(|also| also.class() == "votes"), "{:?}", run.also());
    let no_time = Budget { time: Duration::ZERO, jobs: 1, limit: LIMIT };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("below");
    let text = failure(&run, &shrink(&run, || WORKLOAD, &no_time), "again", &folder);
    assert!(text.starts_with("seed 1") && text.contains("\n  also: votes at "), "{text}");
    let text = timeline(&run, &WORKLOAD, false);
    assert!(text.contains("verdict\n  durability at ") && text.contains("\n  votes at "), "{text}");
}

#[test]
fn every_plan_is_read_back_as_it_was_written() {
    for seed in 0..200 {
        let setup = Setup::of_seed(seed, Duration::from_mins(1));
        let file = PlanFile { why: format!("seed {seed}"), finds: Some("votes".to_owned()), setup };
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("round-trip.json");
        file.write(&path).expect("a file");
        assert_eq!(PlanFile::read(&path).expect("a plan"), file);
    }
    let nowhere = PlanFile::read(Path::new("there/is/no/such.json"));
    assert!(matches!(nowhere, Err(PlanFileError::Io { .. })), "{nowhere:?}");
}

/// The plans that are kept: each is a bug that was there once, or one put in on purpose that must be
/// found.
#[test]
fn kept_plans_come_to_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let files = std::fs::read_dir(&folder).expect("the plans").map(|file| file.expect("a name").path());
    let mut paths: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|it| it == "json")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    for path in paths {
        let file = PlanFile::read(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(!file.why.is_empty(), "{} has no reason", path.display());
        let written = std::fs::read_to_string(&path).expect("it was just read");
        assert_eq!(file.to_json(), written, "{}", path.display());
        let run = run(file.setup);
        assert_eq!(class(&run), file.finds, "{}: {:?}", path.display(), run.finding);
    }
}
