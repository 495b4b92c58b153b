//! A history as the search wants it.

use std::collections::HashMap;

use super::ahead::Ahead;
use super::list::{HEAD, List};
use super::{ANY, Cell, Step, Value};
use crate::linear::checker::Calls;
use crate::linear::{Model, Transition};
use crate::rng::Rng;

/// An operation: its call, its end when that is known, what it does.
type Read = (u64, Option<u64>, Step);

impl Cell {
    /// `None` when an operation has no transition.
    pub(in crate::linear) fn new<M: Model>(model: &M, history: &Calls<'_, M::Op>) -> Option<Self> {
        let (values, mut steps) = read(model, history)?;
        steps.sort_unstable_by_key(|(call, ..)| *call);
        let (known, unknown): (Vec<Read>, Vec<Read>) =
            steps.into_iter().partition(|(_, end, _)| end.is_some());
        let mut rng = Rng::stream(0, "names of operations");
        let mut name = || u128::from(rng.draw()) << 64 | u128::from(rng.draw());
        // The head's are never looked at, but for its end: when nothing is left, nothing returns.
        let mut does = vec![Step::Sees(ANY)];
        let (mut calls, mut ends) = (vec![0], vec![u64::MAX]);
        let mut last_need = vec![0; values];
        let mut ahead = Ahead::new(values);
        for (call, end, step) in known {
            does.push(step);
            calls.push(call);
            ends.push(end.unwrap_or(u64::MAX));
            ahead.count(step, 1);
            if let Step::Sees(value) | Step::Moves(value, _) = step {
                // The last one counts, and they come in the order of their calls.
                last_need[value as usize] = call;
            }
        }
        let setters = add_unknown(&mut ahead, &unknown, &mut name);
        let mut by_end: Vec<usize> = (1..does.len()).collect();
        by_end.sort_unstable_by_key(|op| ends[*op]);
        Some(Self {
            steps: 0,
            reached: 0,
            names: does.iter().map(|_| name()).collect(),
            next_write: next_writes(&does, &calls, &ends, &by_end),
            by_call: List::of(HEAD..does.len()),
            by_end: List::of(std::iter::once(HEAD).chain(by_end)),
            does,
            calls,
            ends,
            last_need,
            ahead,
            setters,
            cover: 0,
            placed: 0,
            done: Vec::new(),
            frames: Vec::new(),
            choices: Vec::new(),
            tried: HashMap::default(),
            round: 0,
            wanted: Vec::new(),
            wanted_in: vec![(0, 0); values],
        })
    }
}

/// How many states there are, and the operations. `None` when one of them has no transition.
fn read<M: Model>(model: &M, history: &Calls<'_, M::Op>) -> Option<(usize, Vec<Read>)> {
    let mut numbers: HashMap<M::State, Value> = HashMap::new();
    let mut number = |state: M::State| {
        let next = numbers.len() as Value;
        *numbers.entry(state).or_insert(next)
    };
    number(model.init());
    let mut steps = Vec::with_capacity(history.len());
    for operation in history {
        let step = match model.transition(operation.op, operation.end.is_some())? {
            Transition::Sees(state) => Step::Sees(number(state)),
            Transition::SeesNot(state) => Step::SeesNot(number(state)),
            Transition::Sets(state) => Step::Sets(number(state)),
            Transition::Moves { from, to } if from == to => Step::Sees(number(from)),
            Transition::Moves { from, to } => Step::Moves(number(from), number(to)),
        };
        steps.push((operation.call, operation.end, step));
    }
    Some((numbers.len(), steps))
}

/// Returns the classes of those that are writes.
fn add_unknown(ahead: &mut Ahead, unknown: &[Read], mut name: impl FnMut() -> u128) -> Vec<usize> {
    let mut numbers = HashMap::new();
    let mut setters = Vec::new();
    for (call, _, step) in unknown {
        let does = match step {
            // It changes nothing, and nobody knows what it saw.
            Step::Sees(_) | Step::SeesNot(_) => continue,
            Step::Sets(to) => (None, *to),
            Step::Moves(from, to) => (Some(*from), *to),
        };
        let next = numbers.len();
        let number = *numbers.entry(does).or_insert(next);
        if number == next && does.0.is_none() {
            setters.push(number);
        }
        ahead.add(number, does, *call, name());
    }
    setters
}

/// By operation: the first end of a write that is called after its end.
fn next_writes(does: &[Step], calls: &[u64], ends: &[u64], by_end: &[usize]) -> Vec<u64> {
    let mut first = u64::MAX;
    let mut later = (1..does.len()).rev().peekable();
    let mut next_write = vec![u64::MAX; does.len()];
    for op in by_end.iter().rev() {
        while let Some(write) = later.next_if(|later| calls[*later] > ends[*op]) {
            if matches!(does[write], Step::Sets(_) | Step::Moves(..)) {
                first = first.min(ends[write]);
            }
        }
        next_write[*op] = first;
    }
    next_write
}
