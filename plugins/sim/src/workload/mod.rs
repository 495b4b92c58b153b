//! What clients do in a run, and how it is judged.

mod registers;

use std::fmt::Write;

use bytes::Bytes;
use quorate::state_machine::StateMachine;

pub use self::registers::{Registers, RegistersCommand, RegistersQuery, RegistersWorkload};
use crate::linear::Verdict;
use crate::rng::Rng;

/// A call of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<C, Q> {
    /// Changes the state.
    Write(C),
    /// Looks at it.
    Read(Q),
}

/// A call as it went, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The command or query.
    pub call: Call<Bytes, Bytes>,
    /// When it began; every time of a run differs from every other.
    pub began: u64,
    /// When its answer came, and the answer; `None` when its outcome is unknown.
    pub ended: Option<(u64, Bytes)>,
}

/// What clients do to a machine.
pub trait Workload: Send + Sync + 'static {
    /// The machine.
    type Machine: StateMachine;

    /// The machine as a node starts with it.
    fn machine(&self) -> Self::Machine;

    /// What a client does next. Every command must differ from every other: `unique` helps.
    #[allow(clippy::type_complexity, reason = "two associated types of one trait")]
    fn call(
        &self,
        rng: &mut Rng,
        unique: u64,
    ) -> Call<<Self::Machine as StateMachine>::Command, <Self::Machine as StateMachine>::Query>;

    /// Queries that together show the whole state.
    fn probes(&self) -> Vec<<Self::Machine as StateMachine>::Query>;

    /// Whether the history is linearizable; the text says where not. Records have known outcomes
    /// but for writes.
    fn judge(&self, history: &[Record]) -> (Verdict, String);

    /// A call in words, and the answer where there is one, for who reads a run. Without this it is the
    /// bytes of both.
    fn describe(&self, call: &Call<Bytes, Bytes>, answer: Option<&Bytes>) -> String {
        let (Call::Write(asked) | Call::Read(asked)) = call;
        let kind = if matches!(call, Call::Write(_)) { "write" } else { "read" };
        answer.map_or_else(
            || format!("{kind} {}", hex(asked)),
            |answer| format!("{kind} {} -> {}", hex(asked), hex(answer)),
        )
    }
}

/// The first bytes, and how many there are when those are not all.
fn hex(bytes: &Bytes) -> String {
    const SHOWN: usize = 16;
    let mut shown = String::new();
    for byte in bytes.iter().take(SHOWN) {
        let _ = write!(shown, "{byte:02x}");
    }
    if bytes.len() > SHOWN { format!("{shown}.. ({} bytes)", bytes.len()) } else { shown }
}
