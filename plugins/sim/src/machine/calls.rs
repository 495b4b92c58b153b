//! What clients ask of the machine: anything it lists, or what the user says.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use quorate::state_machine::Items;

use super::draw;
use super::seen::Seen;
use super::subject::Simulated;
use crate::rng::Rng;
use crate::workload::Call;

/// A call of the machine `M`.
pub type CallOf<M> = Call<
    <M as quorate::state_machine::StateMachine>::Command,
    <M as quorate::state_machine::StateMachine>::Query,
>;

/// Random numbers and random calls, for a workload of your own.
///
/// Everything comes from the seed of the run: take no random numbers from anywhere else.
pub struct Draw<'a> {
    rng: &'a mut Rng,
    seen: &'a Seen,
    unique: u64,
}

impl fmt::Debug for Draw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draw").field("unique", &self.unique).finish_non_exhaustive()
    }
}

impl<'a> Draw<'a> {
    pub(super) fn new(rng: &'a mut Rng, seen: &'a Seen, unique: u64) -> Self {
        Self { rng, seen, unique }
    }

    /// A number that no other call of the run gets. A client that was not told what became of a command
    /// may send it once more, with the same number.
    pub fn unique(&self) -> u64 {
        self.unique
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// A number in `range`, which is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        self.rng.within(range)
    }

    /// True `per_mille` times out of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.rng.chance(per_mille)
    }

    /// One of `items`, which is not empty.
    pub fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        self.rng.pick(items)
    }

    /// The command or query `name`, as the list of the machine has it, with random arguments.
    ///
    /// # Panics
    /// When there is no such item, or its arguments refuse everything.
    #[track_caller]
    pub fn item<I: Items>(&mut self, name: &str) -> I {
        let Some((id, _)) = I::ITEMS.iter().find(|(_, item)| *item == name) else {
            let known: Vec<&str> = I::ITEMS.iter().map(|(_, item)| *item).collect();
            panic!("the machine has no item `{name}` of that kind: it has {known:?}");
        };
        match draw::item(self.rng, self.seen, *id) {
            Ok(item) => item,
            Err(why) => panic!("{why}"),
        }
    }

    /// Any call of the machine `M`: each item as often as every other.
    ///
    /// # Panics
    /// When the arguments of one refuse everything.
    #[track_caller]
    pub fn any<M: Simulated>(&mut self) -> CallOf<M> {
        self.weighted::<M>(&[])
    }

    #[track_caller]
    pub(super) fn weighted<M: Simulated>(&mut self, weights: &[(&'static str, u32)]) -> CallOf<M> {
        let of = |name: &str| {
            let weight = weights.iter().find(|(item, _)| *item == name).map_or(1, |(_, weight)| *weight);
            u64::from(weight)
        };
        let (commands, queries) = (<M::Command as Items>::ITEMS, <M::Query as Items>::ITEMS);
        let total: u64 = commands.iter().chain(queries).map(|(_, name)| of(name)).sum();
        assert!(total > 0, "the weights of all commands and queries are 0");
        let mut left = self.rng.below(total);
        for (_, name) in commands {
            match left.checked_sub(of(name)) {
                Some(rest) => left = rest,
                None => return Call::Write(self.item(name)),
            }
        }
        for (_, name) in queries {
            match left.checked_sub(of(name)) {
                Some(rest) => left = rest,
                None => return Call::Read(self.item(name)),
            }
        }
        unreachable!("the weights add up to more than what was drawn")
    }
}

type Own<M> = Arc<dyn Fn(&mut Draw<'_>) -> CallOf<M> + Send + Sync>;

/// Where calls come from.
pub(super) enum Calls<M: Simulated> {
    /// Any item, so often compared with others; 1 when nothing is said.
    Any(Vec<(&'static str, u32)>),
    /// The user's own.
    Own(Own<M>),
}

impl<M: Simulated> Clone for Calls<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Any(weights) => Self::Any(weights.clone()),
            Self::Own(own) => Self::Own(own.clone()),
        }
    }
}

impl<M: Simulated> Calls<M> {
    pub(super) fn next(&self, draw: &mut Draw<'_>) -> CallOf<M> {
        match self {
            Self::Any(weights) => draw.weighted::<M>(weights),
            Self::Own(own) => own(draw),
        }
    }
}
