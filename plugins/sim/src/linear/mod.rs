//! Whether what clients saw could have come from one machine that did one thing after the other
//! (Herlihy and Wing, 1990).
//!
//! The search is Wing and Gong's with Lowe's memory of what was tried. This folder owns the search
//! and knows nothing of clusters; what an operation does is the model's.

mod checker;
pub mod register;
#[cfg(test)]
mod tests;

pub use self::checker::check;

/// What operations do, one after the other.
pub trait Model {
    /// What they change.
    type State: Clone + Eq + std::hash::Hash;
    /// An operation, with its response where that is known.
    type Op;

    /// The state at the beginning.
    fn init(&self) -> Self::State;

    /// The state after `op`, whose response is known; `None` when in this state it would have
    /// responded something else.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// The state after `op`, whose response nobody knows.
    fn step_blindly(&self, state: &Self::State, op: &Self::Op) -> Self::State;
}

/// An operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<Op> {
    /// What it was.
    pub op: Op,
    /// When it was called.
    pub call: u64,
    /// When its response came; `None` when none did, so that it may have taken effect at any time
    /// since its call, or never. No two times are the same.
    pub end: Option<u64>,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains everything.
    Linearizable,
    /// There is none.
    NotLinearizable {
        /// The most operations that one order explains.
        explained: usize,
        /// Where in the history the operation stands whose response that order cannot explain.
        stuck: usize,
    },
    /// The search was given up. Never to be taken for a pass.
    Undecided,
}
