//! What may be placed next at a configuration, as far as it needs to be tried.

use super::list::HEAD;
use super::{Cell, Choice, Step, Value};

/// What is tried first: whatever excludes least of the rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It can hardly be wrong.
    Likely,
    /// A write that everybody who needs it can see now.
    Finished,
    /// What must return first, and what that waits for.
    Pressing,
    Other,
    /// It loses a state that is needed, which others may bring back.
    Loses,
    Unknown,
    /// Of unknown outcome, though others may need it more.
    UnknownNeeded,
}

impl Cell {
    pub(super) fn list_choices(&mut self) {
        let state = self.ahead.state();
        let first = self.by_end.next[HEAD];
        let stuck = self.look_for_wanted();
        // What waits for any other state can wait for the next write, unless that brings this one back.
        let changes = stuck && (self.does[first] == Step::SeesNot(state) || self.ahead.may_come(state));
        let mut op = self.by_call.next[HEAD];
        while op != HEAD && self.calls[op] < self.limit() {
            match self.does[op] {
                Step::Moves(from, _) if from == state => self.list(Rank::Likely, Choice::Place(op)),
                Step::Sets(to) => {
                    let (round, called) = self.wanted_in[to as usize];
                    let is_wanted = round == self.round;
                    let is_first = op == first;
                    let first_wants =
                        matches!(self.does[first], Step::Sees(v) | Step::Moves(v, _) if v == to);
                    let rank = match (is_wanted && called == self.ahead.needed(to), first_wants || is_first) {
                        (true, _) => Rank::Finished,
                        (false, true) => Rank::Pressing,
                        (false, false) => Rank::Other,
                    };
                    if is_wanted || is_first || changes {
                        self.list(rank, Choice::Place(op));
                    }
                    // Placed, it would cover more, and between two states that nobody tells apart.
                    let same = !self.ahead.is_told(to) && !self.ahead.is_told(state);
                    if is_first && self.calls[op] < self.cover && !same {
                        let rank = if self.ahead.needed(to) == 0 { Rank::Likely } else { Rank::Loses };
                        self.list(rank, Choice::Absorb(op));
                    }
                }
                _ => {}
            }
            op = self.by_call.next[op];
        }
        for wanted in 0..self.wanted.len() {
            self.list_unknown_to(self.wanted[wanted]);
        }
        if changes {
            self.list_any_change();
        }
    }

    pub(super) fn list_where_the_state_stays(&mut self) {
        let first = self.by_end.next[HEAD];
        let last = self.last_need[self.ahead.state() as usize];
        if self.next_write[first] < last {
            return;
        }
        let before = self.choices.len();
        let mut op = self.by_call.next[HEAD];
        while op != HEAD && self.calls[op] < self.limit() {
            self.steps += 1;
            match self.does[op] {
                Step::Moves(from, _) if from == self.ahead.state() => {
                    self.list(Rank::Finished, Choice::Place(op));
                }
                Step::Sets(_) if self.calls[op] < self.cover && op == first => {
                    self.list(Rank::Likely, Choice::Absorb(op));
                }
                // It can be absorbed when its return comes.
                Step::Sets(_) if self.calls[op] < self.cover => {}
                // It must have had its turn while the state stays, and cannot.
                _ if self.ends[op] < last => return self.choices.truncate(before),
                _ => {}
            }
            op = self.by_call.next[op];
        }
    }

    /// Finds the states that an operation needs which was called, and those from which one of unknown
    /// outcome leads there. Whether any operation waits for another state than this.
    fn look_for_wanted(&mut self) -> bool {
        self.round += 1;
        self.wanted.clear();
        let mut stuck = false;
        let mut op = self.by_call.next[HEAD];
        while op != HEAD && self.calls[op] < self.limit() {
            self.steps += 1;
            match self.does[op] {
                Step::Sees(value) | Step::Moves(value, _) => self.want(value, 1),
                Step::SeesNot(_) => stuck = true,
                Step::Sets(_) => {}
            }
            op = self.by_call.next[op];
        }
        let mut seen = 0;
        while let Some(value) = self.wanted.get(seen).copied() {
            seen += 1;
            for at in 0..self.ahead.leading_to[value as usize].len() {
                self.steps += 1;
                let class = self.ahead.leading_to[value as usize][at];
                if let Some(from) = self.ahead.classes[class].from
                    && self.has_next(class)
                {
                    self.want(from, 0);
                }
            }
        }
        stuck
    }

    fn want(&mut self, value: Value, by: u32) {
        let (round, called) = &mut self.wanted_in[value as usize];
        if *round == self.round {
            *called += by;
        } else {
            (*round, *called) = (self.round, by);
            self.wanted.push(value);
        }
    }

    /// Whether one of the class can be placed.
    fn has_next(&self, class: usize) -> bool {
        let class = &self.ahead.classes[class];
        class.calls.get(class.placed).is_some_and(|call| *call < self.limit())
    }

    fn list_unknown_to(&mut self, value: Value) {
        if value == self.ahead.state() {
            return;
        }
        for at in 0..self.ahead.leading_to[value as usize].len() {
            let class = self.ahead.leading_to[value as usize][at];
            let leads = self.ahead.classes[class].from.is_none_or(|from| from == self.ahead.state());
            if leads && self.has_next(class) {
                self.list(Rank::Unknown, Choice::Use(class));
            }
        }
    }

    /// Lists whatever of unknown outcome changes the state.
    fn list_any_change(&mut self) {
        let state = self.ahead.state();
        for at in 0..self.ahead.leading_from[state as usize].len() {
            let class = self.ahead.leading_from[state as usize][at];
            if self.has_next(class) {
                self.list(Rank::Unknown, Choice::Use(class));
            }
        }
        // Those whose state nobody tells from another are all the same.
        let mut has_silent = false;
        for at in 0..self.setters.len() {
            let class = self.setters[at];
            if self.ahead.classes[class].calls[0] >= self.limit() {
                break;
            }
            self.steps += 1;
            let to = self.ahead.classes[class].to;
            let silent = !self.ahead.is_told(to);
            if to != state && self.has_next(class) && !(silent && has_silent) {
                has_silent |= silent;
                self.list(if silent { Rank::Unknown } else { Rank::UnknownNeeded }, Choice::Use(class));
            }
        }
    }

    fn list(&mut self, rank: Rank, choice: Choice) {
        let end = if let Choice::Place(op) = choice { self.ends[op] } else { u64::MAX };
        self.choices.push(((rank, end), choice));
    }
}
