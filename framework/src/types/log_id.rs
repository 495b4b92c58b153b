//! Where an entry stands: its log id, and the position of a command inside it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LogIndex, Term};

/// Names one entry of the log: no two entries share a term and an index (Raft paper, figure 3,
/// "log matching"). Printed as `T3-17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// The term in which the entry was appended by a leader.
    pub term: Term,
    /// Its index in the log.
    pub index: LogIndex,
}

impl LogId {
    /// The log id of `index` in `term`.
    pub const fn new(term: u64, index: u64) -> Self {
        Self { term: Term(term), index: LogIndex(index) }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.index.0)
    }
}

/// The place of one command: several commands may share an entry. Printed as `17.2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The index of the entry that carries the command.
    pub index: LogIndex,
    /// The place of the command in that entry, from 0.
    pub ordinal: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index.0, self.ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_id_orders_by_term_first() {
        assert!(LogId::new(2, 1) > LogId::new(1, 9));
        assert_eq!(LogId::new(3, 17).to_string(), "T3-17");
        assert_eq!(Position { index: LogIndex(17), ordinal: 2 }.to_string(), "17.2");
    }
}
