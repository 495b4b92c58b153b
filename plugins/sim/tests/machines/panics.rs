//! Panics in what a test gives besides the commands of its machine: each is told like any other
//! mistake, with its text and its place.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use quorate::prelude::*;
use quorate_sim::disk::Crash;
use quorate_sim::machine::{Failure, Faults, Tried, Wrong};
use quorate_sim::plan::{Fault, Lasting, Plan, Planned};
use quorate_sim::replay::timeline;
use quorate_sim::run::{Finding, Panicked};
use quorate_sim::simulation;
use quorate_sim::workload::{Call, RegistersWorkload};
use serde::{Deserialize, Serialize, Serializer};

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, push(number: u32) -> u64), query(1, len() -> u64))]
struct Numbers(Vec<u32>);

impl Numbers {
    fn from_nowhere() -> Self {
        panic!("there is no file to begin with")
    }

    fn push(&mut self, number: u32) -> u64 {
        self.0.push(number);
        self.len()
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

/// The seed that fails.
fn seed(failure: &Failure) -> u64 {
    match failure.tried {
        Tried::Seed(seed) => seed,
        _ => panic!("no seed: {failure}"),
    }
}

/// What the report says, which names this file and the seed.
fn told(failure: &Failure) -> String {
    let text = failure.to_string();
    println!("{text}");
    let commit = failure.commit.as_ref().map_or_else(String::new, |commit| format!(", commit {commit}"));
    assert!(text.contains(&format!(" fails at seed {}{commit}\n", seed(failure))), "{text}");
    let here = format!("it panicked at {}:", file!());
    assert!(text.contains(&here), "no place in {text}");
    assert!(text.contains(&format!("QUORATE_SIM_FROM={} QUORATE_SIM_SEEDS=1", seed(failure))), "{text}");
    text
}

fn at_most<const MOST: usize>(numbers: &Numbers) -> bool {
    assert!(numbers.0.len() <= MOST, "more than {MOST} are too many");
    true
}

#[test]
fn an_assertion_in_an_invariant_says_what_it_says() {
    let failure = simulation!(t, Numbers = Numbers::default(), seeds: 2, invariants: [at_most::<4>])
        .run()
        .expect_err("there come more");
    let text = told(&failure);
    assert!(text.contains("the invariant `at_most::<4>` does not hold"), "{text}");
    assert!(text.contains(": more than 4 are too many\n"), "{text}");
    let Wrong::Machine(finding) = failure.wrong else { panic!("{text}") };
    assert_eq!(finding.history.len(), 5, "{text}");
}

#[test]
fn an_assertion_that_only_a_cluster_comes_to_says_what_it_says() {
    let failure = simulation!(
        t,
        Numbers = Numbers::default(),
        seeds: 1,
        nodes: 3,
        duration: Duration::from_secs(8),
        invariants: [at_most::<151>],
        workload: |draw| Call::Write(draw.item("push")),
    )
    .run()
    .expect_err("there come more");
    let text = told(&failure);
    assert!(text.contains(": more than 151 are too many\n"), "{text}");
}

#[test]
fn a_workload_that_asks_for_what_the_machine_has_not_is_told_so() {
    let failure = simulation!(
        t,
        Numbers = Numbers::default(),
        seeds: 1,
        workload: |draw| match draw.below(3) {
            0 => Call::Write(NumbersCommand::Push { number: 1 }),
            _ => Call::Write(draw.item("psuh")),
        },
    )
    .run()
    .expect_err("it has no such command");
    let text = told(&failure);
    assert!(text.contains("the machine has no item `psuh` of that kind: it has [\"push\"]"), "{text}");
    assert!(text.contains("a call cannot be drawn"), "{text}");
    assert!(!text.contains("the commands that show it"), "{text}");
}

#[test]
fn a_workload_that_panics_on_a_cluster_alone_is_told_with_its_place() {
    let failure = simulation!(
        t,
        Numbers = Numbers::default(),
        seeds: 1,
        nodes: 3,
        workload: |draw| {
            assert!(draw.unique() < 300, "three hundred are enough");
            Call::Write(draw.item("push"))
        },
    )
    .run()
    .expect_err("it panics");
    let text = failure.to_string();
    println!("{text}");
    assert!(text.contains(&format!("panic at {}:", file!())), "{text}");
    assert!(text.contains("three hundred are enough"), "{text}");

    // Where it came from is told once, though the report has the verdict of the run in it.
    let Wrong::Cluster(mut run) = failure.wrong else { panic!("{text}") };
    let panicked = Panicked {
        place: "here.rs:1".to_owned(),
        message: "enough".to_owned(),
        backtrace: "0: whoever called".to_owned(),
    };
    run.smallest.run.finding = Some(Finding::Panic(panicked));
    run.timeline = timeline(&run.smallest.run, &RegistersWorkload { keys: 1 }, false);
    let text = run.to_string();
    assert_eq!(text.matches("0: whoever called").count(), 1, "{text}");
    assert_eq!(text.matches("panic at here.rs:1: enough").count(), 1, "{text}");
}

#[test]
fn a_machine_that_cannot_begin_is_told_why() {
    let failure =
        simulation!(t, Numbers = Numbers::from_nowhere(), seeds: 1).run().expect_err("it does not begin");
    let text = told(&failure);
    assert!(text.contains("the machine cannot be made"), "{text}");
    assert!(text.contains(": there is no file to begin with\n"), "{text}");
}

#[test]
fn a_plan_of_ones_own_that_panics_is_told_with_its_seed() {
    let failure = simulation!(
        t,
        Numbers = Numbers::default(),
        seeds: 3,
        faults: Faults::own(|seed, nodes, _| {
            assert!(seed < 1, "no plan for {nodes} nodes");
            Plan::calm()
        }),
        nodes: 3,
        duration: Duration::from_secs(1),
    )
    .run()
    .expect_err("there is no second plan");
    let text = told(&failure);
    assert_eq!(seed(&failure), 1, "{text}");
    assert!(text.contains("the plan of faults cannot be made"), "{text}");
    assert!(text.contains(": no plan for 3 nodes\n"), "{text}");
}

#[test]
fn a_plan_of_ones_own_that_names_nodes_that_are_not_there_is_told_which() {
    let own = |fault, minority: Vec<u64>| {
        let planned = Planned { at: Duration::from_secs(1), fault };
        let plan = Plan { faults: vec![planned], lasting: Lasting::Deaf, minority };
        simulation!(
            t,
            Numbers = Numbers::default(),
            seeds: 1,
            nodes: 3,
            duration: Duration::from_secs(2),
            faults: Faults::own(move |_, _, _| plan.clone()),
        )
        .run()
        .expect_err("there is no n4")
        .to_string()
    };
    let time = Duration::from_millis(500);
    // The first is one that a run panics of, and the second one that does nothing there.
    for fault in [
        Fault::Pause { node: 4, time },
        Fault::Crash { node: 4, crash: Crash::Process, down: time, again_at: None },
    ] {
        let text = own(fault, Vec::new());
        assert!(text.contains("the plan of faults cannot be made\n"), "{text}");
        let told = format!("    the fault at 1.000000s, {fault:?}, names n4, and there are n1 to n3\n");
        assert!(text.contains(&told), "{text}");
    }
    let text = own(Fault::Shutdown { node: 1 }, vec![4]);
    assert!(text.contains("    the minority names n4, and there are n1 to n3\n"), "{text}");
}

fn few<S: Serializer>(numbers: &Vec<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    assert!(numbers.len() < 3, "three cannot be written");
    numbers.serialize(serializer)
}

/// A machine whose `Serialize` panics.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, push(number: u32)))]
struct Unwritable {
    #[serde(serialize_with = "few")]
    numbers: Vec<u32>,
}

impl Unwritable {
    fn push(&mut self, number: u32) {
        self.numbers.push(number);
    }
}

#[test]
fn a_state_that_cannot_be_looked_at_is_told_why() {
    let failure = simulation!(t, Unwritable = Unwritable::default(), seeds: 1).run().expect_err("it panics");
    let text = told(&failure);
    assert!(text.contains("the state cannot be looked at"), "{text}");
    assert!(text.contains(": three cannot be written\n"), "{text}");
    let Wrong::Machine(finding) = failure.wrong else { panic!("{text}") };
    assert_eq!(finding.history.len(), 3, "{text}");
}

/// What the panic of `call` says.
fn refusal<T>(call: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(call)) else { panic!("nothing is refused") };
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).expect("words")
}

macro_rules! refused {
    ($($option:ident: $value:expr => $words:literal),* $(,)?) => {$(
        assert_eq!(refusal(|| simulation!(t, Numbers = Numbers::default(), $option: $value)), $words);
    )*};
}

#[test]
#[allow(clippy::reversed_empty_ranges, reason = "the mistake")]
fn a_value_that_makes_no_sense_is_refused_in_words() {
    refused!(
        nodes: 0 => "`nodes` is 0, and a cluster has 1 to 31 nodes",
        nodes: 0..=3 => "`nodes` is 0..=3, and a cluster has 1 to 31 nodes",
        nodes: 3..=32 => "`nodes` is 3..=32, and a cluster has 1 to 31 nodes",
        nodes: 5..=3 => "`nodes` is 5..=3, which is empty: the smaller number stands first",
        clients: 0 => "`clients` is 0, and without a client nothing is called: at least 1",
        seeds: 0 => "`seeds` is 0, and nothing would be simulated: at least 1",
        duration: Duration::ZERO => "`duration` is 0ns, and faults take time: more than 0, at most a day",
        duration: Duration::MAX => "`duration` is 18446744073709551615.999999999s, and faults take time: more than 0, \
                                    at most a day",
    );
    let nothing = || simulation!(t, Numbers = Numbers::default(), weights: [push = 0, len = 0]);
    assert_eq!(refusal(nothing), "`weights` are 0 for all that the machine has: at least one is more");
    let twice = || {
        simulation!(t, Numbers = Numbers::default(), weights: [push = 2])
            .workload(|draw| draw.any::<Numbers>())
    };
    let words = "`workload` and `weights` both say what clients call: choose one";
    assert_eq!(refusal(twice), words);
    let twice = || {
        simulation!(t, Numbers = Numbers::default())
            .workload(|draw| draw.any::<Numbers>())
            .weights(&[("push", 2)])
    };
    assert_eq!(refusal(twice), words);
}

mod small {
    //! A cluster too small for a minority is a cluster all the same.

    use super::*;

    quorate_sim::simulate!(fn one_node_is_enough, Numbers, seeds: 6, nodes: 1, duration: Duration::from_secs(4));
    quorate_sim::simulate!(fn two_nodes_are_enough, Numbers, seeds: 6, nodes: 2, duration: Duration::from_secs(4));
    quorate_sim::simulate!(fn one_to_three_nodes, Numbers, seeds: 3, nodes: 1..=3, duration: Duration::from_secs(4));
}
