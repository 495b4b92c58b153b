//! What the operations that are not placed still need, and what they may still leave.
//!
//! Everything here follows from the state and from which operations are placed, so that taking back
//! is counting the other way.

use super::{Step, Value};

/// Operations of unknown outcome that do the same. Who was called first is placed first.
pub(super) struct Class {
    /// From which state; `None` from any.
    pub(super) from: Option<Value>,
    pub(super) to: Value,
    pub(super) calls: Vec<u64>,
    /// Random names, and the sum of those that are placed.
    pub(super) names: Vec<u128>,
    sum: u128,
    pub(super) placed: usize,
}

impl Class {
    pub(super) fn new(from: Option<Value>, to: Value) -> Self {
        Self { from, to, calls: Vec::new(), names: Vec::new(), sum: 0, placed: 0 }
    }

    fn left(&self) -> u32 {
        (self.calls.len() - self.placed) as u32
    }

    /// Whether it is followed what becomes of the state that it leads from. Only in one direction,
    /// so that no two states live of each other.
    fn is_followed(&self) -> bool {
        self.from.is_some_and(|from| from < self.to)
    }
}

/// What is left for a state.
#[derive(Clone, Copy, Default)]
struct Outlook {
    /// How many of known outcome need it.
    needed: u32,
    /// How many can tell it from another, of unknown outcome those that lead to one that is told.
    told: u32,
    /// How many may leave it.
    left: u32,
    /// It is the state, or may be again.
    lives: bool,
    /// It is needed, and can never be again.
    lost: bool,
}

pub(super) struct Ahead {
    values: Vec<Outlook>,
    pub(super) classes: Vec<Class>,
    /// The classes that leave a state.
    pub(super) leading_to: Vec<Vec<usize>>,
    /// The classes that lead from a state to another.
    pub(super) leading_from: Vec<Vec<usize>>,
    state: Value,
    /// How many states are lost.
    lost: u32,
    /// The sum of the names of those of unknown outcome that are placed and would make a difference
    /// if they were not.
    used: u128,
    /// How many are placed that left a state which nobody tells from another any more.
    silent: u32,
}

impl Ahead {
    /// In the first of so many states, with nothing to do.
    pub(super) fn new(values: usize) -> Self {
        let mut ahead = Self {
            values: vec![Outlook::default(); values],
            classes: Vec::new(),
            leading_to: vec![Vec::new(); values],
            leading_from: vec![Vec::new(); values],
            state: 0,
            lost: 0,
            used: 0,
            silent: 0,
        };
        ahead.look_at(0);
        ahead
    }

    pub(super) fn state(&self) -> Value {
        self.state
    }

    pub(super) fn set_state(&mut self, state: Value) {
        let before = std::mem::replace(&mut self.state, state);
        if before != state {
            self.look_at(before);
            self.look_at(state);
        }
    }

    pub(super) fn needed(&self, value: Value) -> u32 {
        self.values[value as usize].needed
    }

    /// Whether anybody can tell it from another.
    pub(super) fn is_told(&self, value: Value) -> bool {
        self.values[value as usize].told > 0
    }

    /// Whether anybody may leave it.
    pub(super) fn may_come(&self, value: Value) -> bool {
        self.values[value as usize].left > 0
    }

    /// Whether the state is needed and nobody may leave it again.
    pub(super) fn must_stay(&self) -> bool {
        self.needed(self.state) > 0 && !self.may_come(self.state)
    }

    /// Whether a state is needed that can never be again.
    pub(super) fn is_lost(&self) -> bool {
        self.lost > 0
    }

    pub(super) fn used(&self) -> u128 {
        self.used
    }

    pub(super) fn silent(&self) -> u32 {
        self.silent
    }

    /// Counts an operation of known outcome among those that are not placed, or no longer.
    pub(super) fn count(&mut self, does: Step, by: i32) {
        match does {
            Step::Sees(value) => {
                self.need(value, by);
                self.tell(value, by);
            }
            Step::SeesNot(value) => self.tell(value, by),
            Step::Sets(to) => self.leave(to, by),
            Step::Moves(from, to) => {
                self.need(from, by);
                self.tell(from, by);
                self.leave(to, by);
            }
        }
    }

    /// Adds one of unknown outcome, of a class that is new when it is the next number.
    pub(super) fn add(&mut self, number: usize, (from, to): (Option<Value>, Value), call: u64, name: u128) {
        if number == self.classes.len() {
            self.classes.push(Class::new(from, to));
            self.leading_to[to as usize].push(number);
            if let Some(from) = from {
                self.leading_from[from as usize].push(number);
            }
        }
        let class = &mut self.classes[number];
        class.calls.push(call);
        class.names.push(name);
        self.count_class(number, 1);
    }

    /// The next of a class is placed. The state is not changed by this.
    pub(super) fn place_of(&mut self, number: usize) {
        self.count_class(number, -1);
        let class = &mut self.classes[number];
        let name = class.names[class.placed];
        class.placed += 1;
        self.name(number, name, 1);
    }

    /// The last of a class is not placed.
    pub(super) fn take_back_of(&mut self, number: usize) {
        let class = &mut self.classes[number];
        class.placed -= 1;
        let name = class.names[class.placed];
        self.name(number, name, -1);
        self.count_class(number, 1);
    }

    fn count_class(&mut self, number: usize, by: i32) {
        let class = &self.classes[number];
        let (to, followed) = (class.to, class.is_followed());
        let Some(from) = class.from else { return self.leave(to, by) };
        if !followed || self.values[from as usize].lives {
            self.leave(to, by);
        }
        if !followed || self.is_told(to) {
            self.tell(from, by);
        }
    }

    fn name(&mut self, number: usize, name: u128, by: i32) {
        self.classes[number].sum ^= name;
        if self.is_silent(number) {
            self.silent = moved(self.silent, by);
        } else if self.is_of_use(number) {
            self.used ^= name;
        }
    }

    fn is_silent(&self, number: usize) -> bool {
        let class = &self.classes[number];
        class.from.is_none() && !self.is_told(class.to)
    }

    fn is_of_use(&self, number: usize) -> bool {
        let class = &self.classes[number];
        !class.is_followed() || class.from.is_none_or(|from| self.values[from as usize].lives)
    }

    fn need(&mut self, value: Value, by: i32) {
        let needed = &mut self.values[value as usize].needed;
        *needed = moved(*needed, by);
        self.look_at(value);
    }

    fn leave(&mut self, value: Value, by: i32) {
        let left = &mut self.values[value as usize].left;
        *left = moved(*left, by);
        self.look_at(value);
    }

    fn tell(&mut self, value: Value, by: i32) {
        let told = &mut self.values[value as usize].told;
        let before = *told > 0;
        *told = moved(*told, by);
        let after = *told > 0;
        if before == after {
            return;
        }
        for at in 0..self.leading_to[value as usize].len() {
            let number = self.leading_to[value as usize][at];
            let class = &self.classes[number];
            match class.from {
                None => {
                    let placed = (class.placed as u32).cast_signed();
                    self.used ^= class.sum;
                    self.silent = moved(self.silent, if after { -placed } else { placed });
                }
                Some(from) if class.is_followed() && class.left() > 0 => {
                    let left = class.left().cast_signed();
                    self.tell(from, if after { left } else { -left });
                }
                Some(_) => {}
            }
        }
    }

    /// Sees whether a state lives and whether it is lost.
    fn look_at(&mut self, value: Value) {
        let is_state = value == self.state;
        let outlook = &mut self.values[value as usize];
        let lives = is_state || outlook.left > 0;
        let lost = outlook.needed > 0 && !lives;
        if lost != outlook.lost {
            outlook.lost = lost;
            self.lost = moved(self.lost, if lost { 1 } else { -1 });
        }
        if lives == outlook.lives {
            return;
        }
        outlook.lives = lives;
        for at in 0..self.leading_from[value as usize].len() {
            let number = self.leading_from[value as usize][at];
            let class = &self.classes[number];
            if class.is_followed() {
                let (to, left) = (class.to, class.left().cast_signed());
                self.used ^= class.sum;
                self.leave(to, if lives { left } else { -left });
            }
        }
    }
}

fn moved(count: u32, by: i32) -> u32 {
    count.checked_add_signed(by).expect("what is counted out was counted in")
}
