//! What the glue runs on and what it replicates here: the simulated runtime, and the same registers
//! as ours.

use std::collections::BTreeMap;
use std::fmt;

use quorate_sim::runtime::SimRuntime;
use quorate_sim::workload::RegistersCommand;
use serde::{Deserialize, Serialize};

/// What runs its tasks.
pub(crate) type Runtime = SimRuntime;

/// What a command is answered with: whether it was done.
pub(crate) type Response = bool;

/// The state that is replicated: registers by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State(BTreeMap<u64, u64>);

impl State {
    /// Reads a register.
    pub(crate) fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key).copied()
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Writes a register. The weight makes the log longer and is forgotten.
    Put {
        /// Which.
        key: u64,
        /// What.
        value: u64,
        /// So many bytes more.
        weight: String,
    },
    /// Writes a register that holds `expected`.
    Cas {
        /// Which.
        key: u64,
        /// What it has to hold.
        expected: Option<u64>,
        /// What it holds then.
        new: u64,
    },
}

impl From<RegistersCommand> for Command {
    fn from(command: RegistersCommand) -> Self {
        match command {
            RegistersCommand::Put { key, value, weight } => Self::Put { key, value, weight },
            RegistersCommand::Cas { key, expected, new } => Self::Cas { key, expected, new },
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value, .. } => write!(f, "r{key} = {value}"),
            Self::Cas { key, new, .. } => write!(f, "r{key} = {new} if"),
        }
    }
}

/// Applies a command.
pub(crate) fn apply(state: &mut State, command: Command) -> Response {
    match command {
        Command::Put { key, value, .. } => drop(state.0.insert(key, value)),
        Command::Cas { key, expected, new } if state.get(key) == expected => {
            state.0.insert(key, new);
        }
        Command::Cas { .. } => return false,
    }
    true
}
