//! Whether what clients saw could have come from one machine that did one thing after the other
//! (Herlihy and Wing, 1990).
//!
//! The searches are Wing and Gong's with Lowe's memory of what was tried: `search` for any model,
//! `cell` for one that says more of its operations, which is what histories of many thousands of
//! operations need. This folder owns the searches and knows nothing of clusters; what an operation
//! does is the model's.

mod cell;
mod checker;
pub mod register;
mod search;
#[cfg(test)]
mod tests;

pub use self::checker::{check, decide};

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

    /// What `op` needs and what it leaves, whatever the state; `known` says whether its response is.
    /// It must say the same as [`step`](Model::step) or [`step_blindly`](Model::step_blindly).
    ///
    /// A history in which every operation has one is decided in a time that hardly grows faster than
    /// it. Without this no operation has.
    fn transition(&self, op: &Self::Op, known: bool) -> Option<Transition<Self::State>> {
        let _ = (op, known);
        None
    }

    /// Whether `op` never changes the state. Without this none is known not to.
    fn only_reads(&self, op: &Self::Op) -> bool {
        let _ = op;
        false
    }
}

/// An operation as far as states tell. With a known response it is possible where that is what it
/// responds; with an unknown one it changes nothing where it is not possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition<State> {
    /// Possible in this state alone, and leaves it as it is.
    Sees(State),
    /// Possible in every state but this one, and leaves it as it is.
    SeesNot(State),
    /// Possible in every state, and leaves this one.
    Sets(State),
    /// Possible in one state alone, and leaves one.
    Moves {
        /// The state before.
        from: State,
        /// The state after.
        to: State,
    },
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
        /// How many operations had ended before the one that is stuck: one order explains them all.
        explained: usize,
        /// Where in the history the operation stands whose response no order explains together with
        /// those. It is the first such by its end, unless the search for that one was given up.
        stuck: usize,
    },
    /// The search was given up. Never to be taken for a pass.
    Undecided,
}

/// A verdict, and what it took.
///
/// A step is an operation that is tried, or looked at to see whether it should be: where every
/// operation has a [transition](Model::transition) it takes a few instructions, elsewhere it calls the
/// model once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The steps to the verdict.
    pub steps: usize,
    /// The steps after it, of the searches for the first operation that makes the history wrong: a
    /// few, and up to some thirty, each with a budget of its own. 0 when it is not wrong.
    pub evidence_steps: usize,
}
