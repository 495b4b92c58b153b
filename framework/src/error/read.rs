//! The outcome of a read that did not succeed.

use std::time::Duration;

use crate::state_machine::DecodeError;

/// Why a read was not served. A read changes nothing: retry freely.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No leader could confirm the read within the deadline.
    #[error("no leader with a quorum was found within {waited:?}")]
    NoLeader {
        /// How long the call waited.
        waited: Duration,
    },
    /// The local state could not be shown to be recent enough within the deadline.
    #[error("the local state may be older than {at_most:?}")]
    TooStale {
        /// The age asked for.
        at_most: Duration,
    },
    /// The query cannot be decoded.
    #[error("the query cannot be decoded: {0}")]
    BadQuery(DecodeError),
    /// The query's own `Serialize` failed.
    #[error("the query cannot be encoded: {detail}")]
    Encode {
        /// What its `Serialize` said.
        detail: String,
    },
    /// The answer is longer than an answer may be, or could not be encoded.
    #[error("the answer {}", if *len == 0 { "could not be encoded".to_owned() } else { format!("has {len} bytes, more than an answer may have") })]
    NoAnswer {
        /// The length of the answer in bytes; 0 when it could not be encoded.
        len: u64,
    },
    /// The answer cannot be read by this build.
    #[error("the answer cannot be read: {0}")]
    Answer(DecodeError),
    /// This node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// This node has stopped; its status says why.
    #[error("the node has stopped")]
    Stopped,
    /// This node has not been admitted to its cluster yet.
    #[error("the node has not joined its cluster yet")]
    NotReady,
}
