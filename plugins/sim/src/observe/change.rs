//! Changes of the members, as who asks for them is told of them.

use std::fmt;

use quorate::error::{MembersError, NotChanged};
use quorate::types::NodeId;

/// A change that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A node is to be a learner.
    Add(u64),
    /// A learner is to vote.
    Promote(u64),
    /// A member is to be one no more.
    Remove(u64),
    /// A node is to vote in the place of a voter; it is added first.
    Replace {
        /// Who goes.
        old: u64,
        /// Who comes.
        new: u64,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(node) => write!(f, "n{node} joins"),
            Self::Promote(node) => write!(f, "n{node} is made a voter"),
            Self::Remove(node) => write!(f, "n{node} is removed"),
            Self::Replace { old, new } => write!(f, "n{new} takes the place of n{old}"),
        }
    }
}

/// What is said of a change that was asked for, if anything definite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// It is as it was asked for.
    Done,
    /// It was not applied, and will not be.
    Refused,
    /// Nor was it, as the node that was to be removed is no member.
    Gone,
}

impl Told {
    /// What the answer to `change` says; `None` when its outcome is unknown.
    pub fn of(change: Change, answer: &Result<(), MembersError>) -> Option<Self> {
        match (answer, change) {
            (Ok(()), _) => Some(Self::Done),
            (Err(MembersError::NotApplied(NotChanged::UnknownNode { node_id })), Change::Remove(node))
                if *node_id == NodeId(node) =>
            {
                Some(Self::Gone)
            }
            (Err(error), _) => error.is_definite().then_some(Self::Refused),
        }
    }
}
