//! What a machine may use instead of clocks and random numbers.

use super::LogRng;
use crate::types::{ClusterId, GroupId, LogTime, Position, Term};

/// Where and when a command is applied: the same on every replica.
#[derive(Clone, Debug)]
pub struct ApplyContext {
    position: Position,
    term: Term,
    time: LogTime,
    cluster: ClusterId,
    group: GroupId,
    rng: Option<LogRng>,
}

impl ApplyContext {
    /// A context, for the framework and for tests of a machine.
    pub fn new(cluster: ClusterId, group: GroupId, term: Term, position: Position, time: LogTime) -> Self {
        Self { position, term, time, cluster, group, rng: None }
    }

    /// Where the command stands: unique in the life of the group, and growing.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The term of the leader that appended the command.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The log's clock.
    pub fn time(&self) -> LogTime {
        self.time
    }

    /// Random numbers, seeded by cluster, group and position: the same on every replica. Not for
    /// secrets.
    pub fn rng(&mut self) -> &mut LogRng {
        let (cluster, group, position) = (&self.cluster, self.group, self.position);
        self.rng.get_or_insert_with(|| LogRng::at(cluster, group, position))
    }
}

/// How far the state that a query sees has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryContext {
    applied: Option<crate::types::LogId>,
    time: LogTime,
}

impl QueryContext {
    /// A context, for the framework and for tests of a machine.
    pub fn new(applied: Option<crate::types::LogId>, time: LogTime) -> Self {
        Self { applied, time }
    }

    /// The last entry applied; `None` when there is none.
    pub fn applied(&self) -> Option<crate::types::LogId> {
        self.applied
    }

    /// The log's clock at that entry.
    pub fn time(&self) -> LogTime {
        self.time
    }
}
