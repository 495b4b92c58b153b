//! The outcome of a write that did not succeed.

use std::time::Duration;

use crate::state_machine::DecodeError;
use crate::types::{LogId, Position};

/// Why a write returned no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Refused: it did not happen and will not. Retry freely.
    #[error("not applied: {0}")]
    NotApplied(NotApplied),
    /// It may have been applied, may yet be, or may never be.
    #[error("outcome unknown: {why}")]
    OutcomeUnknown {
        /// Where it was appended, when that is known.
        log_id: Option<LogId>,
        /// What got in the way of an answer.
        why: Unknown,
    },
    /// It was applied at `position`, but its response is longer than an answer may be, or could not
    /// be encoded: the same on every replica.
    #[error("applied at {position}, but its response {}", if *len == 0 { "could not be encoded".to_owned() } else { format!("has {len} bytes, more than an answer may have") })]
    NoAnswer {
        /// Where it was applied.
        position: Position,
        /// The length of the response in bytes; 0 when it could not be encoded.
        len: u64,
    },
    /// It was applied at `position`, by an earlier attempt whose response had more bytes than are kept for
    /// another ([`MAX_KEPT_ANSWER_BYTES`](crate::sessions::MAX_KEPT_ANSWER_BYTES)).
    #[error("applied at {position} by an earlier attempt, whose response of {len} bytes was not kept")]
    AnswerNotKept {
        /// Where it was applied.
        position: Position,
        /// The length of the response in bytes.
        len: u64,
    },
    /// It was applied at `position`, but its response cannot be read by this build.
    #[error("applied at {position}, but the response cannot be read: {source}")]
    Response {
        /// Where it was applied.
        position: Position,
        /// What is wrong with the response.
        #[source]
        source: DecodeError,
    },
}

impl WriteError {
    /// Whether it is certain what happened: `false` only for [`Self::OutcomeUnknown`].
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::OutcomeUnknown { .. })
    }
}

impl From<NotApplied> for WriteError {
    fn from(reason: NotApplied) -> Self {
        Self::NotApplied(reason)
    }
}

/// Why a write was refused. Nothing of it was applied, or will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotApplied {
    /// No leader could be reached within the deadline.
    #[error("no leader with a quorum was found within {waited:?}")]
    NoLeader {
        /// How long the call waited.
        waited: Duration,
    },
    /// The deadline passed while the command still waited for its turn; it was withdrawn.
    #[error("the deadline passed before it was proposed")]
    Deadline,
    /// More bytes than a command may have.
    #[error("the command has {len} bytes, more than {max}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The most bytes allowed: `max_command_bytes` of the leader.
        max: usize,
    },
    /// The leader cannot decode the command: it would stop every replica.
    #[error("the command cannot be decoded: {0}")]
    BadCommand(DecodeError),
    /// The command's own `Serialize` failed, here.
    #[error("the command cannot be encoded: {detail}")]
    Encode {
        /// What its `Serialize` said.
        detail: String,
    },
    /// The queue before the log is full.
    #[error("busy: {queued} bytes are queued already, of {limit}")]
    Busy {
        /// Bytes queued.
        queued: usize,
        /// The most bytes that may be queued.
        limit: usize,
    },
    /// The leader's disk runs out of space.
    #[error("the disk is nearly full")]
    DiskFull,
    /// This node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// This node has stopped; its status says why.
    #[error("the node has stopped")]
    Stopped,
    /// This node has not been admitted to its cluster yet.
    #[error("the node has not joined its cluster yet")]
    NotReady,
    /// The client's session ended again and again before the command reached it: others open so many that
    /// the oldest end.
    #[error("the session ended before the command reached it")]
    SessionEnded,
    /// The oldest command of the session whose outcome is still to be told is too far behind
    /// ([`MAX_UNACKNOWLEDGED`](crate::sessions::MAX_UNACKNOWLEDGED)), and was so until the deadline.
    #[error("too many commands of the session came after one whose outcome is not known")]
    SessionFull,
    /// A session could not be opened.
    #[error("a session could not be opened: {why}")]
    NoSession {
        /// Why not.
        why: Unknown,
    },
}

/// Why the outcome of a write is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// The deadline passed after it was proposed.
    #[error("the deadline passed after it was proposed")]
    Deadline,
    /// Another leader took over after it was appended.
    #[error("leadership moved after it was appended")]
    LeaderChanged,
    /// The connection to the leader was lost after it was sent.
    #[error("the connection to the leader was lost after it was sent")]
    ConnectionLost,
    /// The node stopped after it was appended.
    #[error("the node stopped after it was appended")]
    Stopped,
    /// Its caller gave up waiting for an earlier attempt.
    #[error("the caller gave up an earlier attempt")]
    GivenUp,
    /// The session has ended in which an earlier attempt may have been applied.
    #[error("the session has ended in which an earlier attempt may have been applied")]
    SessionEnded,
    /// The session asks for it no more.
    #[error("its session has moved on")]
    SessionMovedOn,
}
