//! What the glue runs on and what it replicates here: tokio, and the same register as ours.

use std::fmt;

use bytes::Bytes;

use crate::machine::Register;

/// What runs its tasks.
pub(crate) type Runtime = openraft::impls::TokioRuntime;

/// What a command is answered with: how many values were put.
pub(crate) type Response = u64;

/// The state that is replicated.
pub(crate) type State = Register;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Command {
    /// Replaces the value.
    Put {
        /// The value.
        value: Bytes,
    },
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { value } => write!(f, "put {} bytes", value.len()),
        }
    }
}

/// Applies a command.
pub(crate) fn apply(state: &mut State, command: Command) -> Response {
    match command {
        Command::Put { value } => state.put(value),
    }
}
