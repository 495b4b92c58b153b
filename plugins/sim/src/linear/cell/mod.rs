//! The search where every operation is known by its [`Transition`], as those of a register are.
//!
//! As in every such search a configuration is what has been placed so far and the state after it, and
//! what may be placed next is what was called before the first return among the rest (Wing and Gong,
//! 1993), and no configuration is searched twice (Lowe, 2017). What keeps their number small over a
//! long history, with many calls that overlap and many of unknown outcome, is that few placements need
//! to be tried at all, and that few differences between configurations matter:
//!
//! * An operation that leaves the state as it is and responds right now is placed now, and nothing else
//!   is tried: whatever else is possible stays so.
//! * An operation of unknown outcome is placed right before one that needs it, or not at all. Those
//!   that do the same are the same.
//! * A write that is followed by a write was seen by nobody. So once a write has been placed, one that
//!   had been called by then can be taken to stand right before it: it is *covered*. It may be
//!   *absorbed* when its return comes, which changes nothing, and until then is as one of unknown
//!   outcome. Which are covered follows from one number, the latest call that is.
//! * Therefore a write is placed when an operation that was called needs it, or when its return is the
//!   next, and at no other time.
//! * Looking ahead (`ahead`): a value that is still to be seen must be the state, or someone must be
//!   left who leaves it. If nobody is, it stays the state until it was seen for the last time, and no
//!   write can have had its whole time before that.
//! * States that nobody will tell from another are one state, and operations of unknown outcome that
//!   leave such states are the same. A configuration in which fewer of them are placed, and more is
//!   covered, explains whatever another does.
//!
//! Proof that nothing is missed, in short: take the shortest order of what is left that explains it,
//! with those of unknown outcome as late as possible, and look at its first operation. It is one of
//! those that are tried here, or else it can be left out or moved behind the next one, so that there
//! is a shorter order or one with a later unknown. The tests compare with every order there is.

mod ahead;
mod choices;
mod folded;
mod list;
mod read;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use self::ahead::Ahead;
use self::choices::Rank;
use self::folded::Folded;
use self::list::{HEAD, List};
use super::checker::Answer;

/// A state, by number. The first is that of the beginning.
type Value = u32;

/// Stands for every state that nobody will ever tell from another.
const ANY: Value = Value::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Sees(Value),
    SeesNot(Value),
    Sets(Value),
    Moves(Value, Value),
}

#[derive(Clone, Copy)]
enum Choice {
    Place(usize),
    /// A write that is covered.
    Absorb(usize),
    /// The next of a class.
    Use(usize),
}

/// A configuration on the way to the one that is looked at.
struct Frame {
    state: Value,
    cover: u64,
    /// How much was done before.
    done: usize,
    /// Where its choices begin.
    first: usize,
    /// Which of them is the next.
    next: usize,
}

/// How a configuration came about, as far as it matters.
#[derive(Clone, Copy)]
struct Way {
    /// The call of the last write that is covered and not placed.
    cover: u64,
    /// How many of unknown outcome it took that left states which nobody tells apart.
    silent: u32,
}

impl Way {
    fn is_as_good_as(self, other: Self) -> bool {
        self.cover >= other.cover && self.silent <= other.silent
    }
}

pub(super) struct Cell {
    steps: usize,
    /// The last time of which everything that had ended before is placed in some configuration.
    reached: u64,
    /// By operation, from 1 in the order of the calls: what it does, its call, its end, its random name.
    does: Vec<Step>,
    calls: Vec<u64>,
    ends: Vec<u64>,
    names: Vec<u128>,
    /// By operation: the first end of a write that is called after its end.
    next_write: Vec<u64>,
    /// By state: the last call that needs it.
    last_need: Vec<u64>,
    by_call: List,
    by_end: List,
    ahead: Ahead,
    /// The classes of writes of unknown outcome, in the order of their first calls.
    setters: Vec<usize>,
    /// Writes that were called before this are covered.
    cover: u64,
    /// The set of what is placed of known outcome is the sum of the names.
    placed: u128,
    done: Vec<Choice>,
    frames: Vec<Frame>,
    /// By rank and end: what comes first is tried first.
    choices: Vec<((Rank, u64), Choice)>,
    /// Configurations that were searched; the last number tells those apart of which neither is as good.
    tried: HashMap<(u128, Value, u32), Way, BuildHasherDefault<Folded>>,
    /// Counts the configurations for which wanted states were looked for.
    round: usize,
    wanted: Vec<Value>,
    /// By state: in which round it was wanted last, and by how many that were called.
    wanted_in: Vec<(usize, u32)>,
}

impl Cell {
    pub(super) fn run(mut self, budget: usize) -> (Answer, usize) {
        if self.ahead.is_lost() {
            return (Answer::Wrong(self.reached), self.steps);
        }
        if self.arrive() {
            return (Answer::Right, self.steps);
        }
        loop {
            if self.steps > budget {
                return (Answer::GivenUp, self.steps);
            }
            let Some(frame) = self.frames.last_mut() else {
                return (Answer::Wrong(self.reached), self.steps);
            };
            let Some((_, choice)) = self.choices.get(frame.next).copied() else {
                self.choices.truncate(frame.first);
                self.frames.pop();
                self.back_to_the_last();
                continue;
            };
            frame.next += 1;
            let before = self.frames.len();
            self.choose(choice);
            if !self.ahead.is_lost() && self.arrive() {
                return (Answer::Right, self.steps);
            }
            if self.frames.len() == before {
                self.back_to_the_last();
            }
        }
    }

    /// At a configuration: places what may be placed without a choice, and if the configuration is a
    /// new one, lists the choices. Whether everything is placed.
    fn arrive(&mut self) -> bool {
        let cover = self.place_what_fits();
        if self.by_end.next[HEAD] == HEAD {
            return true;
        }
        if !self.is_new(Way { cover, silent: self.ahead.silent() }) {
            return false;
        }
        self.reached = self.limit().max(self.reached);
        let first = self.choices.len();
        let (state, done) = (self.ahead.state(), self.done.len());
        self.frames.push(Frame { state, cover: self.cover, done, first, next: first });
        if self.ahead.must_stay() {
            self.list_where_the_state_stays();
        } else {
            self.list_choices();
        }
        self.choices[first..].sort_unstable_by_key(|(rank, _)| *rank);
        false
    }

    fn is_new(&mut self, way: Way) -> bool {
        let state = if self.ahead.is_told(self.ahead.state()) { self.ahead.state() } else { ANY };
        let placed = self.placed ^ self.ahead.used();
        for other in 0.. {
            match self.tried.get_mut(&(placed, state, other)) {
                Some(known) if known.is_as_good_as(way) => return false,
                Some(known) if way.is_as_good_as(*known) => {
                    *known = way;
                    return true;
                }
                Some(_) => self.steps += 1,
                None => {
                    self.tried.insert((placed, state, other), way);
                    return true;
                }
            }
        }
        false
    }

    /// Returns the call of the last write that is covered and not placed, or 0.
    fn place_what_fits(&mut self) -> u64 {
        let mut covered = 0;
        let mut op = self.by_call.next[HEAD];
        while op != HEAD && self.calls[op] < self.limit() {
            self.steps += 1;
            let next = self.by_call.next[op];
            let fits = match self.does[op] {
                Step::Sees(value) => value == self.ahead.state(),
                Step::SeesNot(value) => value != self.ahead.state(),
                Step::Sets(_) => {
                    if self.calls[op] < self.cover {
                        covered = self.calls[op];
                    }
                    false
                }
                Step::Moves(..) => false,
            };
            if fits {
                self.choose(Choice::Place(op));
            }
            op = next;
        }
        covered
    }

    /// The first return of what is not placed: what was called before it may be the next.
    fn limit(&self) -> u64 {
        self.ends[self.by_end.next[HEAD]]
    }

    fn choose(&mut self, choice: Choice) {
        self.steps += 1;
        let limit = self.limit();
        let (takes, does) = match choice {
            Choice::Place(op) => (Some(op), self.does[op]),
            Choice::Absorb(op) => (Some(op), Step::Sees(ANY)),
            Choice::Use(class) => {
                let class = &self.ahead.classes[class];
                (None, class.from.map_or(Step::Sets(class.to), |from| Step::Moves(from, class.to)))
            }
        };
        if let Some(op) = takes {
            self.by_call.unlink(op);
            self.by_end.unlink(op);
            self.placed ^= self.names[op];
            self.ahead.count(self.does[op], -1);
        } else if let Choice::Use(class) = choice {
            self.ahead.place_of(class);
        }
        if matches!(does, Step::Sets(_)) {
            self.cover = limit.max(self.cover);
        }
        if let Step::Sets(to) | Step::Moves(_, to) = does {
            self.ahead.set_state(to);
        }
        self.done.push(choice);
    }

    /// Undoes what was done since the last configuration on the way.
    fn back_to_the_last(&mut self) {
        let Some(&Frame { state, cover, done, .. }) = self.frames.last() else { return };
        for choice in self.done.split_off(done).into_iter().rev() {
            match choice {
                Choice::Place(op) | Choice::Absorb(op) => {
                    self.by_end.link(op);
                    self.by_call.link(op);
                    self.placed ^= self.names[op];
                    self.ahead.count(self.does[op], 1);
                }
                Choice::Use(class) => self.ahead.take_back_of(class),
            }
        }
        self.ahead.set_state(state);
        self.cover = cover;
    }
}
