//! What happens in a run as data, for who draws it: kept only when it is asked for, and no part of
//! the trace's hash.

use std::time::Duration;

use bytes::Bytes;

use crate::workload::Call;

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer.
    Answered(Bytes),
    /// It did not happen.
    Refused,
    /// Nothing definite.
    Unknown,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A node begins to start.
    Boots {
        /// Which.
        node: u64,
        /// Goes up with every boot.
        boot: u64,
    },
    /// A node stops, by whatever.
    Stops {
        /// Which.
        node: u64,
        /// What its disk keeps.
        keeps: String,
        /// How many operations on its log were queued and not flushed.
        waiting: usize,
        /// Whether the crash lost a write or a name.
        lost: bool,
        /// How many writes it left in parts.
        torn: u64,
    },
    /// A node has another role or term.
    Role {
        /// Which.
        node: u64,
        /// What it does now.
        role: String,
        /// In which term.
        term: u64,
    },
    /// A node has a snapshot.
    Snapshot {
        /// Which.
        node: u64,
        /// Up to where.
        upto: String,
    },
    /// A fault of the plan begins.
    FaultBegins {
        /// Its place in the plan.
        fault: usize,
    },
    /// A fault of the plan is over.
    FaultEnds {
        /// Its place in the plan.
        fault: usize,
    },
    /// A client calls a node.
    CallBegins {
        /// The time of its record: unique in a run.
        call: u64,
        /// Which client; `None` when it is the run itself, at its end.
        client: Option<u64>,
        /// Which node.
        node: u64,
        /// What it asks.
        what: Call<Bytes, Bytes>,
    },
    /// A call has ended, or the client waits no longer.
    CallEnds {
        /// Which.
        call: u64,
        /// How.
        outcome: Outcome,
    },
    /// A frame has arrived.
    Frame {
        /// Who sent it.
        from: u64,
        /// Who has it.
        to: u64,
        /// How long it is.
        bytes: usize,
        /// When it was sent.
        sent: Duration,
    },
}
