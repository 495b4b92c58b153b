//! The search.
//!
//! What makes it fast where it matters is its treatment of operations of unknown outcome, which
//! never return and so could be placed anywhere later. In an order that explains everything, such
//! an operation can be moved towards the end past every operation that does the same with or
//! without it before, and left out when it reaches the end or when the next one leaves the same
//! state without it. So it needs to be tried only right before an operation to which it makes a
//! difference.

use std::collections::HashSet;

use super::{Model, Operation, Verdict};
use crate::rng::Rng;

/// The head of the list of calls and returns.
const HEAD: usize = 0;

/// Says whether `history` is linearizable, giving up after `budget` states.
///
/// # Panics
/// When an operation ends before it is called.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Op>], budget: usize) -> Verdict {
    Search::new(model, history).run(budget)
}

#[derive(Clone, Copy)]
enum Event {
    Call(usize),
    Return(usize),
}

/// A choice that was made, and the state before it.
struct Frame<S> {
    choice: Choice,
    state: S,
}

#[derive(Clone, Copy)]
enum Choice {
    /// The call at this place of the list.
    Known(usize),
    /// The operation of unknown outcome of this number.
    Unknown(usize),
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Op>],
    /// Calls and returns in order of time, from place 1.
    events: Vec<Event>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// The place of an operation's return.
    return_of: Vec<usize>,
    /// Operations of unknown outcome by their call, and whether each is placed.
    unknown: Vec<(usize, bool)>,
    /// A random number for each operation: the set of those placed is their sum.
    names: Vec<u128>,
    placed: u128,
    state: M::State,
    tried: HashSet<(u128, M::State)>,
    frames: Vec<Frame<M::State>>,
    explained: usize,
    best: (usize, usize),
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Operation<M::Op>]) -> Self {
        let mut timed: Vec<(u64, Event)> = Vec::with_capacity(history.len() * 2);
        let mut unknown = Vec::new();
        for (index, operation) in history.iter().enumerate() {
            let Some(end) = operation.end else {
                unknown.push((index, false));
                continue;
            };
            assert!(operation.call < end, "an operation ends after its call");
            timed.push((operation.call, Event::Call(index)));
            timed.push((end, Event::Return(index)));
        }
        timed.sort_by_key(|(time, _)| *time);
        unknown.sort_by_key(|(index, _)| history[*index].call);
        // The head's event is never looked at.
        let mut events = vec![Event::Return(usize::MAX)];
        events.extend(timed.into_iter().map(|(_, event)| event));
        let mut return_of = vec![0; history.len()];
        for (place, event) in events.iter().enumerate().skip(1) {
            if let Event::Return(op) = event {
                return_of[*op] = place;
            }
        }
        let places = events.len();
        let mut rng = Rng::stream(0, "names of operations");
        let mut name = || u128::from(rng.draw()) << 64 | u128::from(rng.draw());
        Self {
            model,
            history,
            next: (1..=places).collect(),
            previous: (0..=places).map(|place: usize| place.saturating_sub(1)).collect(),
            events,
            return_of,
            unknown,
            names: history.iter().map(|_| name()).collect(),
            placed: 0,
            state: model.init(),
            tried: HashSet::new(),
            frames: Vec::new(),
            explained: 0,
            best: (0, 0),
        }
    }

    fn run(mut self, budget: usize) -> Verdict {
        let mut known = self.next[HEAD];
        loop {
            if self.next[HEAD] == self.events.len() {
                return Verdict::Linearizable;
            }
            if self.tried.len() > budget {
                return Verdict::Undecided;
            }
            if self.place_known(known) {
                known = self.next[HEAD];
                continue;
            }
            let mut first = 0;
            loop {
                if self.place_unknown(first) {
                    known = self.next[HEAD];
                    break;
                }
                match self.take_back() {
                    None => {
                        let (explained, stuck) = self.best;
                        return Verdict::NotLinearizable { explained, stuck };
                    }
                    Some(Choice::Known(place)) => {
                        known = self.next[place];
                        break;
                    }
                    Some(Choice::Unknown(number)) => first = number + 1,
                }
            }
        }
    }

    /// Places the first operation from `place` on that could be next. `false` when none could that
    /// was called before the first return.
    fn place_known(&mut self, mut place: usize) -> bool {
        loop {
            let op = match self.events[place] {
                Event::Call(op) => op,
                Event::Return(op) => {
                    if self.explained >= self.best.0 {
                        self.best = (self.explained, op);
                    }
                    return false;
                }
            };
            if let Some(after) = self.model.step(&self.state, &self.history[op].op)
                && self.tried.insert((self.placed ^ self.names[op], after.clone()))
            {
                self.unlink(place);
                self.unlink(self.return_of[op]);
                self.explained += 1;
                self.choose(Choice::Known(place), op, after);
                return true;
            }
            place = self.next[place];
        }
    }

    /// Places the first operation of unknown outcome from number `first` on that makes a difference.
    fn place_unknown(&mut self, first: usize) -> bool {
        if first >= self.unknown.len() {
            return false;
        }
        let mut calls = Vec::new();
        let mut place = self.next[HEAD];
        let limit = loop {
            match self.events[place] {
                Event::Call(op) => calls.push(op),
                Event::Return(op) => break self.history[op].end.unwrap_or(u64::MAX),
            }
            place = self.next[place];
        };
        let called = self.unknown.partition_point(|(op, _)| self.history[*op].call < limit);
        for number in first..called {
            let (op, placed) = self.unknown[number];
            if placed {
                continue;
            }
            let after = self.model.step_blindly(&self.state, &self.history[op].op);
            if after != self.state
                && self.makes_a_difference(op, &after, &calls, called)
                && self.tried.insert((self.placed ^ self.names[op], after.clone()))
            {
                self.unknown[number].1 = true;
                self.choose(Choice::Unknown(number), op, after);
                return true;
            }
        }
        false
    }

    /// Whether an operation that could come right after `op` needs `op` before it.
    fn makes_a_difference(&self, op: usize, after: &M::State, calls: &[usize], called: usize) -> bool {
        let blindly = |state: &M::State, op: usize| self.model.step_blindly(state, &self.history[op].op);
        let differs = |with: &M::State, without: &M::State| with != without && *with != blindly(without, op);
        calls.iter().any(|next| {
            let next = &self.history[*next].op;
            match (self.model.step(after, next), self.model.step(&self.state, next)) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(with), Some(without)) => differs(&with, &without),
            }
        }) || self.unknown[..called].iter().any(|(next, placed)| {
            !placed && *next != op && differs(&blindly(after, *next), &blindly(&self.state, *next))
        })
    }

    fn choose(&mut self, choice: Choice, op: usize, after: M::State) {
        self.placed ^= self.names[op];
        let state = std::mem::replace(&mut self.state, after);
        self.frames.push(Frame { choice, state });
    }

    /// Undoes the last choice.
    fn take_back(&mut self) -> Option<Choice> {
        let Frame { choice, state } = self.frames.pop()?;
        self.state = state;
        let op = match choice {
            Choice::Known(place) => {
                let Event::Call(op) = self.events[place] else { unreachable!("a choice is a call") };
                // In reverse order.
                self.link(self.return_of[op]);
                self.link(place);
                self.explained -= 1;
                op
            }
            Choice::Unknown(number) => {
                self.unknown[number].1 = false;
                self.unknown[number].0
            }
        };
        self.placed ^= self.names[op];
        Some(choice)
    }

    fn unlink(&mut self, place: usize) {
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn link(&mut self, place: usize) {
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = place;
        self.previous[next] = place;
    }
}
