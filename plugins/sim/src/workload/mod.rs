//! What clients do in a run, and how it is judged.

mod registers;
#[cfg(madsim)]
mod tables;

use std::fmt::Write;

use bytes::Bytes;
use quorate::state_machine::{StateMachine, Wire};
use quorate::types::{ClusterId, LogId, LogTime, Position};

pub use self::registers::{
    Registers, RegistersAnswer, RegistersCommand, RegistersQuery, RegistersResponse, RegistersWorkload,
};
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
    /// Which command it is in the log; no two calls have the same.
    pub tag: u64,
    /// Which node was called.
    pub node: u64,
    /// When it began; every time of a run differs from every other.
    pub began: u64,
    /// When its answer came, and the answer; `None` when its outcome is unknown.
    pub ended: Option<(u64, Bytes)>,
    /// Of which state the answer to a query is.
    pub read_at: Option<(Option<LogId>, LogTime)>,
}

/// A command as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// The term of its entry.
    pub term: u64,
    /// The log's clock there.
    pub time: LogTime,
    /// The call that it is of.
    pub tag: u64,
    /// Its bytes.
    pub command: Bytes,
    /// Its response, as [`Workload::response`] has it.
    pub response: Bytes,
}

/// What a run was, for its judge.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// The clients' calls. Those of unknown outcome are writes.
    pub records: &'a [Record],
    /// Every command that was applied, in the order of the log.
    pub log: &'a [Entry],
    /// The cluster.
    pub cluster: ClusterId,
}

pub(crate) type CommandOf<W> = <<W as Workload>::Machine as StateMachine>::Command;
type ResponseOf<W> = <<W as Workload>::Machine as StateMachine>::Response;
type QueryOf<W> = <<W as Workload>::Machine as StateMachine>::Query;
type AnswerOf<W> = <<W as Workload>::Machine as StateMachine>::Answer;

/// What clients do to a machine.
pub trait Workload: Send + Sync + 'static {
    /// The machine.
    type Machine: StateMachine;

    /// The machine as a node starts with it.
    fn machine(&self) -> Self::Machine;

    /// A run from its beginning to its end, on this thread.
    #[cfg(madsim)]
    #[doc(hidden)]
    fn run(self, setup: crate::cluster::Setup, trace: crate::trace::Trace) -> crate::cluster::Report
    where
        Self: Sized,
    {
        crate::run::block_on_run(setup, self, trace)
    }

    /// What a client does next. `unique` is another number each time.
    fn call(&self, rng: &mut Rng, unique: u64) -> Call<CommandOf<Self>, QueryOf<Self>>;

    /// Queries that together show the whole state: the same ones each time.
    fn probes(&self) -> Vec<QueryOf<Self>>;

    /// Whether the history is linearizable; the text says where not.
    fn judge(&self, history: History<'_>) -> (Verdict, String);

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

    /// A response as responses are compared: two that mean the same are the same bytes.
    fn response(&self, response: &ResponseOf<Self>) -> Bytes {
        bytes_of(response)
    }

    /// An answer as answers are compared.
    fn answer(&self, answer: &AnswerOf<Self>) -> Bytes {
        bytes_of(answer)
    }

    /// A node has applied the command at `position` to its machine in memory. One on a disk is shown to
    /// whom [`Self::on_disk`] gives the eye.
    ///
    /// # Errors
    /// What is wrong with the machine now.
    fn applied(
        &self,
        position: Position,
        machine: &Self::Machine,
        response: &ResponseOf<Self>,
    ) -> Result<(), String> {
        let _ = (position, machine, response);
        Ok(())
    }

    /// A node has restored a snapshot into its machine in memory; as [`Self::applied`].
    ///
    /// # Errors
    /// What is wrong with the machine now.
    fn restored(&self, machine: &Self::Machine) -> Result<(), String> {
        let _ = machine;
        Ok(())
    }

    /// The command as it is to a machine whose `apply` depends on something that it must not: on `stray`.
    /// For bugs put in on purpose; without this none of them does anything.
    #[doc(hidden)]
    fn strayed(&self, command: CommandOf<Self>, stray: u64) -> CommandOf<Self> {
        let _ = stray;
        command
    }

    /// A command panicked; the node stops. The response is missing.
    #[cfg(madsim)]
    fn panicked(&self, applied: &crate::observe::AppliedCommand, message: &str) {
        let _ = (applied, message);
    }

    /// The run is over: what it was, before it is judged.
    fn over(&self, history: History<'_>) {
        let _ = history;
    }

    /// Whether the machine is on the nodes' disks in every run.
    #[cfg(madsim)]
    fn lives_on_disk(&self) -> bool {
        false
    }

    /// Opens the machine of a node on its disk, for runs in which machines are there. Without this there
    /// are none: the machine is in memory all the same.
    ///
    /// # Errors
    /// Why it does not open, for a person to read.
    #[cfg(madsim)]
    fn on_disk(
        &self,
        disk: &crate::disk::SimDisk,
        eye: crate::observe::Eye<Self>,
    ) -> Result<crate::observe::Observed<Self>, String>
    where
        Self: Sized,
    {
        let _ = disk;
        Ok(eye.in_memory(self.machine()))
    }

    /// Opens the storage of a node on its disk.
    ///
    /// # Errors
    /// Why it does not open, for a person to read.
    #[cfg(madsim)]
    fn storage(
        &self,
        disk: &crate::disk::SimDisk,
    ) -> Result<std::sync::Arc<dyn quorate::storage::Storage>, String> {
        crate::cluster::redb_storage(disk)
    }
}

fn bytes_of(value: &impl Wire) -> Bytes {
    let mut bytes = Vec::new();
    // One that cannot be encoded has none: nodes say so themselves.
    if value.encode(&mut bytes).is_err() {
        bytes.clear();
    }
    bytes.into()
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
