//! The check of linearizability on long histories: what it takes is counted, not timed.

mod histories;

use histories::{FAULTS, Fault, History, Shape, right, wrong};
use quorate_sim::linear::register::Register;
use quorate_sim::linear::{Decision, Verdict, decide};

/// Far more than any of these takes.
const BUDGET: usize = 1_000_000_000;

/// How many steps a right history may take for each operation, however long it is.
const STEPS_IF_RIGHT: usize = 20;

/// And one that is wrong, where everything must be excluded.
const STEPS_IF_WRONG: usize = 200;

/// And to find the first operation that makes it wrong.
const STEPS_OF_EVIDENCE: usize = 2_000;

const LENGTHS: [usize; 3] = [1_000, 10_000, 100_000];

/// Fifty registers and one, with few calls of unknown outcome and with many.
fn shapes(operations: usize) -> [Shape; 4] {
    let shape = |keys, unknown_per_mille| Shape { operations, keys, clients: 20, unknown_per_mille };
    [shape(50, 5), shape(50, 20), shape(1, 5), shape(1, 20)]
}

/// The decisions of all registers.
fn judge(history: &History) -> Vec<(u64, Decision)> {
    let judge = |(key, operations): (&u64, &Vec<_>)| (*key, decide(&Register, operations, BUDGET));
    history.iter().map(judge).collect()
}

fn sum(decisions: &[(u64, Decision)], of: impl Fn(&Decision) -> usize) -> usize {
    decisions.iter().map(|(_, decision)| of(decision)).sum()
}

#[test]
fn a_right_history_takes_so_many_steps_an_operation_however_long_it_is() {
    for shape in LENGTHS.into_iter().flat_map(shapes) {
        let history = right(1, shape);
        let unknown = history.values().flatten().filter(|operation| operation.end.is_none()).count();
        let expected = shape.operations * 6 / 10 * shape.unknown_per_mille as usize / 1_000;
        assert!(unknown >= expected / 2, "{unknown} of unknown outcome in {shape:?}");
        let decisions = judge(&history);
        let wrong = decisions.iter().find(|(_, decision)| decision.verdict != Verdict::Linearizable);
        assert_eq!(wrong, None, "{shape:?}");
        let steps = sum(&decisions, |decision| decision.steps);
        assert!(steps <= STEPS_IF_RIGHT * shape.operations, "{steps} steps for {shape:?}");
    }
}

fn finds(fault: Fault) {
    for shape in LENGTHS.into_iter().flat_map(shapes) {
        for after in [shape.operations / 2, shape.operations * 19 / 20] {
            let (history, (key, call)) = wrong(2, shape, fault, after);
            let what = format!("{fault:?} after {after} in {shape:?}");
            let decisions = judge(&history);
            for (of, decision) in &decisions {
                match decision.verdict {
                    Verdict::Linearizable => assert_ne!(*of, key, "{what}"),
                    Verdict::NotLinearizable { stuck, .. } => {
                        assert_eq!((*of, history[of][stuck].call), (key, call), "{what}");
                    }
                    Verdict::Undecided => panic!("register {of} is undecided: {what}"),
                }
            }
            let steps = sum(&decisions, |decision| decision.steps);
            assert!(steps <= STEPS_IF_WRONG * shape.operations, "{steps} steps, {what}");
            let steps = sum(&decisions, |decision| decision.evidence_steps);
            assert!(steps <= STEPS_OF_EVIDENCE * shape.operations, "{steps} steps of evidence, {what}");
        }
    }
}

#[test]
fn a_stale_read_is_found_in_the_middle_and_at_the_end() {
    finds(FAULTS[0]);
}

#[test]
fn a_lost_write_is_found_in_the_middle_and_at_the_end() {
    finds(FAULTS[1]);
}

#[test]
fn a_write_of_unknown_outcome_that_is_applied_twice_is_found_in_the_middle_and_at_the_end() {
    finds(FAULTS[2]);
}
