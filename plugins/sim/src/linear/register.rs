//! One register: read, write, compare and set.

use super::{Model, Transition};

/// What clients do with a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterOp {
    /// A read and what it saw.
    Read(Option<u64>),
    /// A write.
    Write(u64),
    /// A write if the register holds `expected`.
    Cas {
        /// What it should hold.
        expected: Option<u64>,
        /// What is written.
        new: u64,
        /// Whether it did, when that is known.
        done: bool,
    },
}

/// A register that holds nothing at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

impl Model for Register {
    type State = Option<u64>;
    type Op = RegisterOp;

    fn init(&self) -> Option<u64> {
        None
    }

    fn step(&self, state: &Option<u64>, op: &RegisterOp) -> Option<Option<u64>> {
        match op {
            RegisterOp::Read(seen) => (seen == state).then_some(*state),
            RegisterOp::Write(value) => Some(Some(*value)),
            RegisterOp::Cas { expected, new, done } => match (state == expected, done) {
                (true, true) => Some(Some(*new)),
                (false, false) => Some(*state),
                _ => None,
            },
        }
    }

    fn step_blindly(&self, state: &Option<u64>, op: &RegisterOp) -> Option<u64> {
        match op {
            RegisterOp::Read(_) => *state,
            RegisterOp::Write(value) => Some(*value),
            RegisterOp::Cas { expected, new, .. } => {
                if state == expected {
                    Some(*new)
                } else {
                    *state
                }
            }
        }
    }

    fn transition(&self, op: &RegisterOp, known: bool) -> Option<Transition<Option<u64>>> {
        Some(match *op {
            RegisterOp::Read(seen) => Transition::Sees(seen),
            RegisterOp::Write(value) => Transition::Sets(Some(value)),
            RegisterOp::Cas { expected, done: false, .. } if known => Transition::SeesNot(expected),
            RegisterOp::Cas { expected, new, .. } => Transition::Moves { from: expected, to: Some(new) },
        })
    }

    fn only_reads(&self, op: &RegisterOp) -> bool {
        matches!(op, RegisterOp::Read(_))
    }
}
