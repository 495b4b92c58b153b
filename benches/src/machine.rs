//! The machine that is replicated: so small that what is measured is everything around it.

use bytes::Bytes;
use quorate::prelude::*;

/// Keeps the last value put. Its size does not grow, so snapshots cost next to nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    /// Replaces the value; says how many there were.
    command(1, put(value: Bytes) -> u64),
    /// How many values were put.
    query(1, puts() -> u64),
)]
pub struct Register {
    puts: u64,
    value: Bytes,
}

impl Register {
    /// Replaces the value; says how many there were.
    pub fn put(&mut self, value: Bytes) -> u64 {
        self.value = value;
        self.puts += 1;
        self.puts
    }

    /// How many values were put.
    pub fn puts(&self) -> u64 {
        self.puts
    }
}
