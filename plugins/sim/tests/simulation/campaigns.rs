//! What a campaign makes of runs: each way not to pass is a class of its own, and none ends it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate::types::Position;
use quorate_sim::campaign::{Options, Tally, run, smaller, summary};
use quorate_sim::cluster::Setup;
use quorate_sim::linear::Verdict;
use quorate_sim::mutations::Mutation;
use quorate_sim::plan::Plan;
use quorate_sim::replay::timeline;
use quorate_sim::rng::Rng;
use quorate_sim::run::{Finding, Run, attempt};
use quorate_sim::shrink::{Budget, shrink};
use quorate_sim::trace::Trace;
use quorate_sim::workload::{
    Call, History, Registers, RegistersCommand, RegistersQuery, RegistersResponse, Workload,
};

use crate::support::{LENGTH, LIMIT, WORKLOAD};

/// What is odd about a workload.
#[derive(Clone, Copy, Debug)]
enum Odd {
    /// It panics after some calls.
    Panics,
    /// Nobody can judge it.
    Undecided,
    /// It does something else every time.
    Forgets,
    /// Its machine is another once three nodes have one.
    Changes,
    /// Something of its machine never holds.
    Accuses,
    /// That, and it panics later.
    Falls,
    /// That, and it waits for the test later.
    Waits,
    /// It writes nothing.
    Reads,
}

/// A test holds it while a run must not go on.
static HELD: Mutex<()> = Mutex::new(());

thread_local! {
    /// How many machines the run on this thread has made.
    static MACHINES: Cell<u64> = const { Cell::new(0) };
}

impl Workload for Odd {
    type Machine = Registers;

    fn machine(&self) -> Registers {
        MACHINES.set(MACHINES.get() + 1);
        WORKLOAD.machine()
    }

    fn response(&self, response: &RegistersResponse) -> Bytes {
        let changed = matches!(self, Self::Changes) && MACHINES.get() > 3;
        if changed { Bytes::new() } else { WORKLOAD.response(response) }
    }

    fn applied(&self, _: Position, _: &Registers, _: &RegistersResponse) -> Result<(), String> {
        let accuses = matches!(self, Self::Accuses | Self::Falls | Self::Waits);
        if accuses { Err("it never holds".to_owned()) } else { Ok(()) }
    }

    fn call(&self, rng: &mut Rng, unique: u64) -> Call<RegistersCommand, RegistersQuery> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        match self {
            Self::Panics => assert!(unique < 20, "twenty calls are enough"),
            Self::Falls => assert!(unique < 60, "sixty calls are enough"),
            Self::Waits if unique >= 60 => drop(HELD.lock()),
            Self::Forgets => {
                let _ = (0..CALLS.fetch_add(1, Ordering::Relaxed) % 7).map(|_| rng.draw()).count();
            }
            Self::Reads => return Call::Read(RegistersQuery::Get { key: rng.below(5) }),
            Self::Undecided | Self::Changes | Self::Accuses | Self::Waits => {}
        }
        WORKLOAD.call(rng, unique)
    }

    fn probes(&self) -> Vec<RegistersQuery> {
        WORKLOAD.probes()
    }

    fn judge(&self, history: History<'_>) -> (Verdict, String) {
        match self {
            Self::Undecided => (Verdict::Undecided, "given up at once".to_owned()),
            _ => WORKLOAD.judge(history),
        }
    }
}

/// Knows who still has it.
struct Held(#[expect(dead_code, reason = "it is held and never asked")] Arc<()>);

impl Workload for Held {
    type Machine = Registers;

    fn machine(&self) -> Registers {
        WORKLOAD.machine()
    }

    fn call(&self, rng: &mut Rng, unique: u64) -> Call<RegistersCommand, RegistersQuery> {
        WORKLOAD.call(rng, unique)
    }

    fn probes(&self) -> Vec<RegistersQuery> {
        WORKLOAD.probes()
    }

    fn judge(&self, history: History<'_>) -> (Verdict, String) {
        WORKLOAD.judge(history)
    }
}

fn calm(seed: u64) -> Setup {
    Setup { plan: Plan::calm(), ..Setup::of_seed(seed, Duration::from_secs(1)) }
}

fn campaign<W: Workload>(limit: Duration, setup: fn(u64) -> Setup, workload: impl Fn() -> W + Sync) -> Tally {
    let options = Options { seeds: 0..2, limit, twice_in: 2, ..Options::default() };
    run(&options, setup, workload, &AtomicBool::new(false), |_| ())
}

/// The classes of what was found, a word a seed.
fn classes(tally: &Tally) -> Vec<&str> {
    assert_eq!(tally.seeds, 2, "a finding is not the end");
    tally.found.iter().map(|found| &*found.class).collect()
}

#[test]
fn a_run_leaves_nothing_behind() {
    // Every node, task and client of a run has its workload: thousands of runs are one process.
    for seed in 0..12 {
        let held = Arc::new(());
        let run = attempt(Setup::of_seed(seed, LENGTH), Held(held.clone()), LIMIT, Trace::default());
        assert_eq!(run.finding, None);
        assert_eq!(Arc::strong_count(&held), 1, "seed {seed}: {:?}", run.setup.plan);
    }
}

#[test]
fn a_seed_that_passes_is_found_nothing_wrong_with() {
    let tally = campaign(LIMIT, calm, || WORKLOAD);
    assert_eq!(classes(&tally), [""; 0]);
    assert_eq!(tally.twice, 1, "every second seed runs twice");
    assert!(tally.simulated >= Duration::from_secs(2) && tally.counts.acknowledged > 10);
}

#[test]
fn a_violation_is_of_the_class_of_its_oracle_and_is_summed_up_with_its_seed() {
    let bad =
        |seed| Setup { mutation: Some(Mutation::StaleRead), ..Setup::of_seed(seed, Duration::from_secs(6)) };
    let tally = campaign(LIMIT, bad, || WORKLOAD);
    assert_eq!(classes(&tally), ["linearizability"; 2]);
    let text = summary(&tally, false, |seed| format!("again {seed}!"));
    for wanted in ["linearizability", "2 of 2 seeds", "seed 0: ", "again 0!", "again 1!"] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
}

#[test]
fn a_panic_is_a_finding_with_its_place_and_its_message() {
    let tally = campaign(LIMIT, calm, || Odd::Panics);
    let here = format!("panic at {}:", file!());
    assert!(classes(&tally).iter().all(|class| class.starts_with(&here)), "{:?}", tally.found);
    assert_eq!(tally.found.len(), 2);
    assert!(tally.found[0].what.contains("twenty calls are enough"), "{:?}", tally.found);
    let events = tally.kept[0].trace.events();
    assert!(events.iter().any(|event| event.what.contains("n1 boots")), "what happened before is kept");
}

/// The run of a workload that is wrong.
fn fires(oracle: &str, odd: Odd) -> String {
    let run = attempt(Setup { nodes: 3, ..calm(0) }, odd, LIMIT, Trace::default());
    assert_eq!(run.finding.as_ref().map(Finding::class).as_deref(), Some(oracle), "{:?}", run.finding);
    assert!(run.also().iter().all(|also| also.class() != oracle));
    run.finding.map_or_else(String::new, |finding| finding.to_string())
}

#[test]
fn what_is_wrong_with_a_workload_and_its_machine_is_told() {
    assert!(fires("determinism", Odd::Changes).contains("another response when it is told again"));
    assert!(fires("machine", Odd::Accuses).contains("it never holds"));
    assert!(fires("workload", Odd::Reads).contains("no command in 100000 calls"));
}

#[test]
fn nobody_knows_is_no_pass() {
    assert_eq!(classes(&campaign(LIMIT, calm, || Odd::Undecided)), ["undecided"; 2]);
}

#[test]
fn a_run_without_end_is_given_up() {
    // No run has ended after a millionth of a second.
    let tally = campaign(Duration::from_micros(1), calm, || WORKLOAD);
    assert_eq!(classes(&tally), ["hang"; 2]);
}

#[test]
fn what_an_oracle_said_before_a_panic_or_a_run_without_end_is_what_was_wrong_first() {
    let setup = || Setup { nodes: 3, ..calm(0) };
    let class = |run: &Run| run.finding.as_ref().map(Finding::class);
    let falls = attempt(setup(), Odd::Falls, LIMIT, Trace::recording());
    assert_eq!(class(&falls).as_deref(), Some("machine"), "{:?}", falls.finding);
    let Some(Finding::Panic(panicked)) = &falls.cut_off else { panic!("{:?}", falls.cut_off) };
    assert_eq!(panicked.message, "sixty calls are enough");
    assert_eq!(falls.also().last(), falls.cut_off.as_ref(), "{:?}", falls.also());
    let text = timeline(&falls, &Odd::Falls, false);
    let told = format!("\nand also\n  panic at {}: sixty calls are enough\n", panicked.place);
    assert!(text.contains("\nverdict\n  machine at ") && text.contains(&told), "{text}");

    // Where nothing was wrong before, the panic is.
    let panics = attempt(setup(), Odd::Panics, LIMIT, Trace::default());
    assert!(panics.finding == panics.cut_off && panics.also().is_empty(), "{:?}", panics.finding);
    assert!(class(&panics).is_some_and(|class| class.starts_with("panic at ")), "{:?}", panics.finding);

    let held = HELD.lock();
    let limit = Duration::from_secs(5);
    let waits = attempt(setup(), Odd::Waits, limit, Trace::default());
    drop(held);
    assert_eq!(class(&waits).as_deref(), Some("machine"), "{:?}", waits.finding);
    assert_eq!(waits.also(), [Finding::Hang(limit)]);
}

#[test]
fn a_run_that_is_another_the_second_time_is_found() {
    let tally = campaign(LIMIT, calm, || Odd::Forgets);
    assert_eq!(classes(&tally), ["nondeterminism"], "one of both ran twice");
    let budget = Budget { time: Duration::from_secs(20), jobs: 2, limit: LIMIT };
    let shrunk = shrink(&tally.kept[0], || Odd::Forgets, &budget).run;
    assert_eq!(shrunk.finding.as_ref().map(Finding::class).as_deref(), Some("nondeterminism"));
    let clients = (tally.kept[0].setup.clients, shrunk.setup.clients);
    assert!(clients.1 < clients.0, "{clients:?}: fewer clients differ as well");
}

/// A hang that never comes again, so that all the time there is goes into it, and then a panic.
fn a_hang_and_a_panic() -> Tally {
    let mut tally = campaign(LIMIT, calm, || Odd::Panics);
    let mut hang = tally.kept[0].clone();
    hang.setup = Setup::of_seed(3, Duration::from_mins(1));
    hang.finding = Some(Finding::Hang(LIMIT));
    tally.kept.insert(0, hang);
    assert_eq!(tally.kept.len(), 2, "of the same panic one run is kept");
    tally
}

#[test]
fn the_time_to_make_runs_smaller_is_shared_out() {
    let tally = a_hang_and_a_panic();
    let budget = Budget { time: Duration::from_secs(6), jobs: 2, limit: LIMIT };
    let mut told = Vec::new();
    let untouched = smaller(
        &tally,
        || Odd::Panics,
        &budget,
        |run, shrunk| {
            told.push((run.finding.as_ref().map(Finding::class), shrunk.tried));
        },
    );
    assert!(untouched.is_empty() && told.len() == 2 && told.iter().all(|(_, tried)| *tried > 0), "{told:?}");
}

#[test]
fn what_there_is_no_time_for_is_named() {
    let tally = a_hang_and_a_panic();
    let no_time = Budget { time: Duration::ZERO, jobs: 1, limit: LIMIT };
    let untouched = smaller(&tally, || Odd::Panics, &no_time, |run, _| panic!("{:?}", run.finding));
    assert_eq!(untouched.iter().map(|run| run.setup.seed).collect::<Vec<_>>(), [3, tally.kept[1].setup.seed]);
}

#[test]
fn no_seed_is_run_that_is_not_asked_for() {
    let last = u64::MAX - 2..u64::MAX;
    let options = Options { seeds: last, jobs: 4, twice_in: 0, ..Options::default() };
    let ran = Mutex::new(Vec::new());
    let setup = |seed| {
        ran.lock().expect("nobody panics").push(seed);
        assert!(seed > 9, "it began again from 0");
        calm(seed)
    };
    assert_eq!(run(&options, setup, || WORKLOAD, &AtomicBool::new(false), |_| ()).seeds, 2);
    let mut ran = ran.into_inner().expect("nobody panicked");
    ran.sort_unstable();
    assert_eq!(ran, [u64::MAX - 2, u64::MAX - 1]);
}

#[test]
fn an_event_that_must_happen_and_never_did_is_missing_once_there_were_enough_seeds() {
    let mut tally = campaign(LIMIT, calm, || WORKLOAD);
    assert!(tally.missing().is_empty(), "two seeds are not enough");
    tally.seeds = 1_000;
    assert!(tally.missing().iter().any(|event| event.name == "a node crashed"));
    assert!(summary(&tally, true, |_| String::new()).contains("NEVER"));
}

#[test]
fn a_campaign_that_is_stopped_begins_nothing_more() {
    let options = Options { seeds: 0..1_000, ..Options::default() };
    let tally = run(&options, calm, || WORKLOAD, &AtomicBool::new(true), |_| ());
    assert_eq!(tally.seeds, 0);
    let options = Options { time: Some(Duration::ZERO), ..options };
    assert_eq!(run(&options, calm, || WORKLOAD, &AtomicBool::new(false), |_| ()).seeds, 0);
}

#[test]
fn to_record_a_run_is_not_to_change_it() {
    let setup = || Setup::of_seed(5, Duration::from_secs(2));
    let plain = attempt(setup(), WORKLOAD, LIMIT, Trace::default());
    let recorded = attempt(setup(), WORKLOAD, LIMIT, Trace::recording());
    let hash = |run: &quorate_sim::run::Run| run.report.as_ref().map(|report| report.hash);
    assert_eq!(hash(&plain), hash(&recorded));
    assert!(plain.trace.moments().is_empty() && recorded.trace.moments().len() > 500);
    assert_eq!(recorded.finding.as_ref().map(Finding::class), None);
}
