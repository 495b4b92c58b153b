//! The search for any model.
//!
//! What makes it fast where it matters is its treatment of operations of unknown outcome, which
//! never return and so could be placed anywhere later. In an order that explains everything, such
//! an operation can be moved towards the end past every operation that does the same with or
//! without it before, and left out when it reaches the end or when the next one leaves the same
//! state without it. So it needs to be tried only right before an operation to which it makes a
//! difference: first to one that then responds what it did, and if that leads nowhere to another of
//! unknown outcome. An operation that only reads is placed as soon as it responds what it did, and
//! nothing else is tried.

use std::collections::HashSet;
use std::mem;

use super::Model;
use super::checker::{Answer, Calls};
use crate::rng::Rng;

/// The head of the list of calls and returns.
const HEAD: usize = 0;

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
    /// The call at this place of the list, which only reads: there is no other choice.
    Read(usize),
    /// The call at this place of the list.
    Known(usize),
    /// One of unknown outcome.
    Unknown(Unknown),
}

/// An operation of unknown outcome that may be tried: first those of which one of known outcome has
/// need, then all that make a difference.
#[derive(Clone, Copy)]
struct Unknown {
    to_any: bool,
    number: usize,
}

const FIRST: Unknown = Unknown { to_any: false, number: 0 };

pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    history: Calls<'a, M::Op>,
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
    /// How often the model was asked.
    steps: usize,
    /// The last time of which everything that had ended before was placed at once.
    reached: u64,
}

impl<'a, M: Model> Search<'a, M> {
    pub(super) fn new(model: &'a M, history: Calls<'a, M::Op>) -> Self {
        let mut timed: Vec<(u64, Event)> = Vec::with_capacity(history.len() * 2);
        let mut unknown = Vec::new();
        for (index, operation) in history.iter().enumerate() {
            let Some(end) = operation.end else {
                unknown.push((index, false));
                continue;
            };
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
            steps: 0,
            reached: 0,
            history,
        }
    }

    pub(super) fn run(mut self, budget: usize) -> (Answer, usize) {
        loop {
            if self.next[HEAD] == self.events.len() {
                return (Answer::Right, self.steps);
            }
            if self.steps > budget {
                return (Answer::GivenUp, self.steps);
            }
            let placed = match self.fitting_read() {
                Some((place, op)) => self.place(Choice::Read(place), op, self.state.clone()),
                None => self.place_known(self.next[HEAD]) || self.place_unknown(FIRST),
            };
            if !placed && !self.try_another() {
                return (Answer::Wrong(self.reached), self.steps);
            }
        }
    }

    /// Takes back choices until another can be made. `false` when there is none.
    fn try_another(&mut self) -> bool {
        while let Some(choice) = self.take_back() {
            let placed = match choice {
                Choice::Read(_) => false,
                Choice::Known(place) => self.place_known(self.next[place]) || self.place_unknown(FIRST),
                Choice::Unknown(Unknown { to_any, number }) => {
                    self.place_unknown(Unknown { to_any, number: number + 1 })
                }
            };
            if placed {
                return true;
            }
        }
        false
    }

    fn step(&mut self, op: usize) -> Option<M::State> {
        self.steps += 1;
        self.model.step(&self.state, self.history[op].op)
    }

    /// The first operation that only reads and responds what it did, among those called before the
    /// first return.
    fn fitting_read(&mut self) -> Option<(usize, usize)> {
        let mut place = self.next[HEAD];
        while let Event::Call(op) = self.events[place] {
            if self.model.only_reads(self.history[op].op) && self.step(op).is_some() {
                return Some((place, op));
            }
            place = self.next[place];
        }
        None
    }

    /// Places the first operation from `place` on that could be next. `false` when none could that
    /// was called before the first return.
    fn place_known(&mut self, mut place: usize) -> bool {
        while let Event::Call(op) = self.events[place] {
            // A read that fits was placed before.
            if !self.model.only_reads(self.history[op].op)
                && let Some(after) = self.step(op)
                && self.place(Choice::Known(place), op, after)
            {
                return true;
            }
            place = self.next[place];
        }
        if let Event::Return(op) = self.events[place] {
            self.reached = self.history[op].end.unwrap_or(0).max(self.reached);
        }
        false
    }

    /// Places the first operation of unknown outcome from `first` on that makes a difference.
    fn place_unknown(&mut self, first: Unknown) -> bool {
        if self.unknown.is_empty() {
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
        let Unknown { mut to_any, mut number } = first;
        loop {
            if number >= called {
                if mem::replace(&mut to_any, true) {
                    return false;
                }
                number = 0;
                continue;
            }
            let (op, placed) = self.unknown[number];
            if !placed {
                let after = self.blindly(&self.state.clone(), op);
                let differs = after != self.state
                    && if to_any {
                        self.any_differs(op, &after, called)
                    } else {
                        self.one_needs(op, &after, &calls)
                    };
                if differs && self.place(Choice::Unknown(Unknown { to_any, number }), op, after) {
                    return true;
                }
            }
            number += 1;
        }
    }

    fn blindly(&mut self, state: &M::State, op: usize) -> M::State {
        self.steps += 1;
        self.model.step_blindly(state, self.history[op].op)
    }

    /// Whether the state after one of known outcome and that without `op` before differ, and putting
    /// `op` behind does not help.
    fn one_needs(&mut self, op: usize, after: &M::State, calls: &[usize]) -> bool {
        calls.iter().any(|next| {
            self.steps += 1;
            let Some(with) = self.model.step(after, self.history[*next].op) else { return false };
            match self.step(*next) {
                None => true,
                Some(without) => with != without && with != self.blindly(&without, op),
            }
        })
    }

    /// The same of those of unknown outcome.
    fn any_differs(&mut self, op: usize, after: &M::State, called: usize) -> bool {
        (0..called).any(|number| {
            let (next, placed) = self.unknown[number];
            if placed || next == op {
                return false;
            }
            let with = self.blindly(after, next);
            let without = self.blindly(&self.state.clone(), next);
            with != without && with != self.blindly(&without, op)
        })
    }

    /// Places an operation. `false` when this was tried.
    fn place(&mut self, choice: Choice, op: usize, after: M::State) -> bool {
        if !self.tried.insert((self.placed ^ self.names[op], after.clone())) {
            return false;
        }
        match choice {
            Choice::Read(place) | Choice::Known(place) => {
                self.unlink(place);
                self.unlink(self.return_of[op]);
            }
            Choice::Unknown(Unknown { number, .. }) => self.unknown[number].1 = true,
        }
        self.placed ^= self.names[op];
        let state = mem::replace(&mut self.state, after);
        self.frames.push(Frame { choice, state });
        true
    }

    /// Undoes the last choice.
    fn take_back(&mut self) -> Option<Choice> {
        let Frame { choice, state } = self.frames.pop()?;
        self.state = state;
        let op = match choice {
            Choice::Read(place) | Choice::Known(place) => {
                let Event::Call(op) = self.events[place] else { unreachable!("a choice is a call") };
                // In reverse order.
                self.link(self.return_of[op]);
                self.link(place);
                op
            }
            Choice::Unknown(Unknown { number, .. }) => {
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
