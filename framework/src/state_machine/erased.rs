//! The machine as the engine drives it: bytes in, bytes out.
//!
//! Erased, so that a user's crate compiles none of the engine.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::{ApplyContext, DecodeError, EncodeError, QueryContext, RestoreError, StateMachine, Wire};
use crate::types::{LogTime, Position};

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
}

/// The encoded response to a command or query.
pub(crate) type Answer = Result<Bytes, AnswerError>;

/// Why a machine can go on no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MachineFailure {
    #[error("the command at {position} cannot be decoded: {source}; a newer build may have appended it")]
    Decode { position: Position, source: DecodeError },
    #[error("`{command}` at {position} panicked: {message}")]
    Panicked { command: &'static str, position: Position, message: String },
}

/// Writes a frozen view out; run beside apply.
pub(crate) type SnapshotJob = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()> + Send>;

pub(crate) trait ErasedMachine: Send + Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> u32;
    /// Tells whether a command would be understood at apply, without the machine.
    fn checker(&self) -> fn(&[u8]) -> Result<(), DecodeError>;
    fn apply(&mut self, ctx: &mut ApplyContext, command: &[u8]) -> Result<Answer, MachineFailure>;
    fn query(&self, ctx: &QueryContext, query: &[u8]) -> Result<Answer, DecodeError>;
    fn snapshot(&self) -> SnapshotJob;
    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError>;
    fn deadline(&self, now: LogTime) -> Option<LogTime>;
}

/// Erases a typed machine.
#[derive(Debug)]
pub(crate) struct Typed<M>(pub(crate) M);

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

impl<M: StateMachine> ErasedMachine for Typed<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn version(&self) -> u32 {
        M::VERSION
    }

    fn checker(&self) -> fn(&[u8]) -> Result<(), DecodeError> {
        |command| M::Command::decode(command).map(drop)
    }

    fn apply(&mut self, ctx: &mut ApplyContext, command: &[u8]) -> Result<Answer, MachineFailure> {
        let position = ctx.position();
        let command =
            M::Command::decode(command).map_err(|source| MachineFailure::Decode { position, source })?;
        let label = command.label();
        // A machine that panicked half-way is used no more: the replica stops.
        let answer = catch_unwind(AssertUnwindSafe(|| encode_answer(&self.0.apply(ctx, command))));
        answer.map_err(|payload| MachineFailure::Panicked {
            command: label,
            position,
            message: panic_message(&*payload),
        })
    }

    fn query(&self, ctx: &QueryContext, query: &[u8]) -> Result<Answer, DecodeError> {
        Ok(encode_answer(&self.0.query(ctx, M::Query::decode(query)?)))
    }

    fn snapshot(&self) -> SnapshotJob {
        let snapshot = self.0.snapshot();
        Box::new(move |out| M::write(snapshot, out))
    }

    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        self.0.restore(input)
    }

    fn deadline(&self, now: LogTime) -> Option<LogTime> {
        self.0.deadline(now)
    }
}
