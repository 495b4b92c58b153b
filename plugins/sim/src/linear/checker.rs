//! From a history to a verdict: which search it takes, and where a history that is wrong goes wrong.

use super::cell::Cell;
use super::search::Search;
use super::{Decision, Model, Operation, Verdict};

/// A history of which the operations stand elsewhere.
pub(super) type Calls<'a, Op> = Vec<Operation<&'a Op>>;

/// What a search comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Right,
    /// One order explains everything that had ended before this time.
    Wrong(u64),
    GivenUp,
}

/// Says whether `history` is linearizable. A search is given up after `budget` steps.
///
/// # Panics
/// When an operation ends before it is called.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Op>], budget: usize) -> Verdict {
    decide(model, history, budget).verdict
}

/// As [`check`], and says how many steps it took.
///
/// # Panics
/// When an operation ends before it is called.
pub fn decide<M: Model>(model: &M, history: &[Operation<M::Op>], budget: usize) -> Decision {
    for operation in history {
        assert!(operation.end.is_none_or(|end| operation.call < end), "an operation ends after its call");
    }
    let mut ends: Vec<(u64, usize)> =
        history.iter().enumerate().filter_map(|(index, operation)| Some((operation.end?, index))).collect();
    ends.sort_unstable();
    let ended_before = |time: u64| ends.partition_point(|(end, _)| *end < time);
    let (answer, steps) = search(model, upto(history, u64::MAX), budget);
    let mut evidence_steps = 0;
    let mut wrong_from = |known: usize| {
        let (answer, more) = search(model, upto(history, ends[known].0), budget);
        evidence_steps += more;
        if let Answer::Wrong(reached) = answer { Some(ended_before(reached)) } else { None }
    };
    let verdict = match answer {
        Answer::Right => Verdict::Linearizable,
        Answer::GivenUp => Verdict::Undecided,
        Answer::Wrong(reached) => {
            let explained = first_wrong(ended_before(reached), ends.len() - 1, &mut wrong_from);
            Verdict::NotLinearizable { explained, stuck: ends[explained].1 }
        }
    };
    Decision { verdict, steps, evidence_steps }
}

/// How many operations had ended before the first one whose response makes the history wrong: at
/// least `right`, and with the one after `wrong` it is. `wrong_from` says of the history up to an end
/// whether it is wrong, and then how many operations at least one order explains.
fn first_wrong(
    mut right: usize,
    mut wrong: usize,
    mut wrong_from: impl FnMut(usize) -> Option<usize>,
) -> usize {
    // It is near, as far as the search has come that looks ahead.
    let mut stride = 1;
    let mut next = right;
    while right < wrong {
        if let Some(explained) = wrong_from(next) {
            wrong = next;
            // It has come further, or else it cannot see what is wrong.
            stride = usize::from(explained > right);
            right = explained.max(right);
        } else {
            // Or nobody knows. Then it is not the first, but it is wrong.
            right = next + 1;
            stride *= 2;
        }
        next = if stride == 0 { usize::midpoint(right, wrong) } else { (right + stride - 1).min(wrong - 1) };
    }
    wrong
}

/// What had been called, and what was known of it, at `end`.
fn upto<Op>(history: &[Operation<Op>], end: u64) -> Calls<'_, Op> {
    let called = history.iter().filter(|operation| operation.call < end);
    let known = |operation: &Operation<Op>| operation.end.filter(|ended| *ended <= end);
    called.map(|calls| Operation { op: &calls.op, call: calls.call, end: known(calls) }).collect()
}

fn search<M: Model>(model: &M, calls: Calls<'_, M::Op>, budget: usize) -> (Answer, usize) {
    match Cell::new(model, &calls) {
        Some(cell) => cell.run(budget),
        None => Search::new(model, calls).run(budget),
    }
}
