//! The machine as the engine drives it: bytes in, bytes out.
//!
//! Erased, so that a user's crate compiles none of the engine; and made for both kinds of state: in
//! memory ([`Typed`]), and on a disk ([`OnDisk`]), where what was applied is stored with its effects.

mod on_disk;
mod typed;

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::on_disk::OnDisk;
pub(crate) use self::typed::Typed;
use super::{ApplyContext, DecodeError, EncodeError, RestoreError, Row, Wire};
use crate::error::{BoxError, MachineError};
use crate::format::membership::RawMembership;
use crate::format::snapshot::Header;
use crate::storage::Health;
use crate::types::{ClusterId, GroupId, LogId, LogTime, Position};

/// The most bytes an answer may have: a constant of the protocol, since every replica must come to
/// the same answer. A longer one becomes [`AnswerError::TooLarge`]. 4 MiB.
pub(crate) const MAX_ANSWER_BYTES: usize = 4 << 20;

/// A fixed error that stands in the place of a response: the same on every replica.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("the answer has {len} bytes, more than {MAX_ANSWER_BYTES}")]
    TooLarge { len: u64 },
    #[error("the answer cannot be encoded")]
    Encode,
    /// It was applied before, and answered with more bytes than are kept.
    #[error("the answer had {len} bytes, more than are kept")]
    NotKept { len: u64 },
    /// It is of a session that has ended, and not applied.
    #[error("the session has ended")]
    NoSession,
    /// Too many commands of its session are unacknowledged; it is not applied.
    #[error("too many commands of the session are unacknowledged")]
    SessionFull,
    /// Its session asks for it no more; it is not applied if it was not before.
    #[error("the session has moved on")]
    Acknowledged,
}

/// The encoded response to a command or query.
pub(crate) type Answer = Result<Bytes, AnswerError>;

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replied {
    /// Where it was applied: of a command that was sent again, the first time. Where it stands, when it was
    /// not applied.
    pub(crate) position: Position,
    pub(crate) answer: Answer,
    /// Whether it was applied before, and not again.
    pub(crate) again: bool,
}

/// Why a machine can go on no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineFailure {
    #[error("the command at {position} cannot be decoded: {source}; a newer build may have appended it")]
    Decode { position: Position, source: DecodeError },
    #[error("`{command}` at {position} panicked: {message}")]
    Panicked { command: &'static str, position: Position, message: String },
    #[error("the machine could not {doing}: {}", with_sources(source))]
    Failed { doing: &'static str, source: BoxError },
    #[error("the machine panicked while it was to {doing}: {message}")]
    PanickedAt { doing: &'static str, message: String },
    #[error("the record of what the machine applied is damaged: {detail}")]
    Damaged { detail: String },
    #[error("the machine is used no more: it failed before")]
    Broken,
}

/// A failure is told as one text, in the status of a node.
pub(crate) fn with_sources(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl From<MachineFailure> for MachineError {
    fn from(failure: MachineFailure) -> Self {
        match failure {
            MachineFailure::Failed { doing, source } => Self::Failed { doing, source },
            MachineFailure::Damaged { detail } => Self::Damaged { detail },
            other => Self::Failed { doing: "start", source: other.into() },
        }
    }
}

/// Why a query has no answer.
#[derive(Debug)]
pub(crate) enum QueryFailure {
    /// It is no query of this machine.
    Decode(DecodeError),
    /// The machine can go on no more.
    Machine(MachineFailure),
}

/// How far a machine has come, and what the framework keeps beside its state.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) cluster_id: ClusterId,
    pub(crate) group: GroupId,
    pub(crate) log_id: LogId,
    pub(crate) clock: LogTime,
    pub(crate) membership_log_id: Option<LogId>,
    pub(crate) membership: Arc<RawMembership>,
    /// The sessions' own form.
    pub(crate) sessions: Bytes,
}

impl Applied {
    /// The header of a snapshot at this point.
    pub(crate) fn header(&self, machine: &str, version: u32) -> Header {
        Header {
            cluster_id: self.cluster_id,
            group: self.group,
            machine: machine.to_owned(),
            version,
            last_applied: self.log_id,
            clock: self.clock,
            membership_log_id: self.membership_log_id,
            membership: (*self.membership).clone(),
            sessions: self.sessions.clone(),
        }
    }
}

impl From<Header> for Applied {
    fn from(header: Header) -> Self {
        Self {
            cluster_id: header.cluster_id,
            group: header.group,
            log_id: header.last_applied,
            clock: header.clock,
            membership_log_id: header.membership_log_id,
            membership: Arc::new(header.membership),
            sessions: header.sessions,
        }
    }
}

/// A committed command, and where and when it is applied.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) ctx: ApplyContext,
    pub(crate) command: Bytes,
}

/// Takes the answers to a batch, and gives what changes of the sessions with it, for a machine on a disk to
/// store with the effects.
pub(crate) type Settle<'a> = Box<dyn FnOnce(Vec<Answer>) -> Vec<Row> + 'a>;

/// Writes a frozen view out; run beside apply.
pub(crate) type SnapshotJob = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()> + Send>;

/// One machine of a node. Calls to `apply_batch` and `restore` are one at a time; everything else
/// may come beside them. Of a durable machine every call may block.
pub(crate) trait ErasedMachine: Send + Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> u32;
    /// Tells whether a command would be understood at apply, without the machine.
    fn checker(&self) -> fn(&[u8]) -> Result<(), DecodeError>;
    /// Whether the state outlives the process.
    fn durable(&self) -> bool;
    /// How far the state has come that was found at the start. Checked to be this machine's, and not
    /// whose it is.
    fn recovered(&self) -> Result<Option<Applied>, MachineError>;
    /// Applies commands in order, and takes note of `applied` with their effects, and of what `settle` says to
    /// the answers: all of it or nothing. What `applied` has of sessions does not count.
    fn apply_batch(
        &self,
        commands: Vec<Committed>,
        applied: &Applied,
        settle: Settle<'_>,
    ) -> Result<(), MachineFailure>;
    /// Makes everything applied so far survive a power cut.
    fn flush(&self) -> Result<(), MachineFailure>;
    fn query(&self, query: &[u8]) -> Result<Answer, QueryFailure>;
    /// A frozen view, and how far it has come, without the sessions; `None` when nothing was applied.
    fn snapshot(&self) -> Result<Option<(Applied, SnapshotJob)>, MachineFailure>;
    /// Replaces the state. After an error a machine in memory is used no more; one on a disk has its
    /// old state.
    fn restore(&self, applied: &Applied, input: &mut dyn Read) -> Result<(), RestoreError>;
    fn deadline(&self, now: LogTime) -> Result<Option<LogTime>, MachineFailure>;
    /// Whether there is room for more.
    fn health(&self) -> Result<Health, MachineFailure>;
    /// Whether a snapshot of so many bytes could be restored beside the state that is there.
    fn room_for(&self, snapshot_bytes: u64) -> Result<(), RestoreError>;
    /// Releases what is open. Called last.
    fn close(&self);
}

/// A machine as a node takes it: made by [`Replicated::into_machine`](super::Replicated::into_machine).
pub struct AnyMachine(pub(crate) Arc<dyn ErasedMachine>);

impl AnyMachine {
    /// A machine whose state is in memory.
    pub fn in_memory<M: super::StateMachine>(machine: M) -> Self {
        Self(Arc::new(Typed::new(machine)))
    }

    /// A machine whose state is on a disk.
    pub fn on_disk<M: super::DurableStateMachine>(machine: M) -> Self {
        Self(Arc::new(OnDisk::new(machine)))
    }
}

impl std::fmt::Debug for AnyMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AnyMachine({})", self.0.name())
    }
}

fn encode_answer(answer: &impl Wire) -> Answer {
    let mut bytes = Vec::new();
    match answer.encode(&mut bytes) {
        Ok(()) if bytes.len() <= MAX_ANSWER_BYTES => Ok(Bytes::from(bytes)),
        Ok(()) => Err(AnswerError::TooLarge { len: bytes.len() as u64 }),
        Err(EncodeError { .. }) => Err(AnswerError::Encode),
    }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
