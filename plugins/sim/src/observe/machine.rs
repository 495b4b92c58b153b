//! The user's machine, with an eye on what is applied.

use std::any::Any;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use bytes::Bytes;
use quorate::state_machine::{
    ApplyContext, DecodeError, EncodeError, QueryContext, RestoreError, StateMachine, Wire,
};
use quorate::types::{LogId, LogIndex, LogTime, Position};

use super::{AppliedCommand, Observation, Observer};
use crate::workload::Workload;

/// A machine that tells what it applies. For the nodes it is the machine itself: the same name, the
/// same snapshots, and the same commands and answers, of which each command bears a tag, so that no
/// two are alike, and each answer says of which state it is.
pub struct Observed<W: Workload> {
    machine: W::Machine,
    workload: Arc<W>,
    /// The last command that its state has in it.
    last: Option<Position>,
    observer: Observer,
    node: u64,
    boot: u64,
}

impl<W: Workload> Observed<W> {
    /// Wraps the machine of a boot of a node.
    pub fn new(workload: Arc<W>, observer: Observer, node: u64, boot: u64) -> Self {
        Self { machine: workload.machine(), workload, last: None, observer, node, boot }
    }

    /// What the workload says of the machine as it is now. A dead process's last words count for
    /// nothing.
    fn judge(&self, verdict: Result<(), String>) {
        if let Err(what) = verdict
            && self.observer.is_boot(self.node, self.boot)
        {
            self.observer.accuse("machine", format!("n{}: {what}", self.node));
        }
    }
}

/// The bytes of a command or response. One that cannot be encoded has none: nodes say so themselves.
pub(crate) fn encoded(value: &impl Wire) -> Bytes {
    let mut bytes = Vec::new();
    if value.encode(&mut bytes).is_err() {
        bytes.clear();
    }
    bytes.into()
}

/// What a panic says.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// What stands before the machine's own bytes in a snapshot: whether there is a last command, its
/// index and its place in the entry.
const LAST_BYTES: usize = 13;

fn encode_last(last: Option<Position>) -> [u8; LAST_BYTES] {
    let mut bytes = [0; LAST_BYTES];
    if let Some(Position { index, ordinal }) = last {
        bytes[0] = 1;
        bytes[1..9].copy_from_slice(&index.0.to_le_bytes());
        bytes[9..].copy_from_slice(&ordinal.to_le_bytes());
    }
    bytes
}

fn decode_last(bytes: [u8; LAST_BYTES]) -> Option<Position> {
    let (index, ordinal) = (bytes[1..9].try_into().ok()?, bytes[9..].try_into().ok()?);
    let position =
        Position { index: LogIndex(u64::from_le_bytes(index)), ordinal: u32::from_le_bytes(ordinal) };
    (bytes[0] == 1).then_some(position)
}

/// A command with a number that no other command of the run has.
#[derive(Clone, Debug)]
pub struct Tagged<C> {
    /// The number.
    pub tag: u64,
    /// The command.
    pub command: C,
}

const TAG_BYTES: usize = 8;

/// The tag of an encoded command, and the command's own bytes.
pub(crate) fn untagged(bytes: &Bytes) -> (u64, Bytes) {
    let tag = bytes.first_chunk::<TAG_BYTES>().map_or(0, |tag| u64::from_le_bytes(*tag));
    (tag, bytes.slice(TAG_BYTES.min(bytes.len())..))
}

impl<C: Wire> Wire for Tagged<C> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.tag.to_le_bytes());
        self.command.encode(out)
    }

    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let (tag, command) = input.split_first_chunk().ok_or(DecodeError::TooShort { len: input.len() })?;
        Ok(Self { tag: u64::from_le_bytes(*tag), command: C::decode(command)? })
    }

    fn label(&self) -> &'static str {
        self.command.label()
    }
}

/// An answer, and the state it is of.
#[derive(Clone, Debug)]
pub struct Placed<A> {
    /// The last entry applied.
    pub applied: Option<LogId>,
    /// The log's clock there.
    pub time: LogTime,
    /// The answer.
    pub answer: A,
}

const PLACE_BYTES: usize = 25;

impl<A: Wire> Wire for Placed<A> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let LogId { term, index } = self.applied.unwrap_or_else(|| LogId::new(0, 0));
        out.push(u8::from(self.applied.is_some()));
        for field in [term.get(), index.get(), self.time.as_micros()] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        self.answer.encode(out)
    }

    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let (place, answer) =
            input.split_first_chunk::<PLACE_BYTES>().ok_or(DecodeError::TooShort { len: input.len() })?;
        let field =
            |at: usize| place[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Ok(Self {
            applied: (place[0] != 0).then(|| LogId::new(field(1), field(9))),
            time: LogTime::from_micros(field(17)),
            answer: A::decode(answer)?,
        })
    }

    fn label(&self) -> &'static str {
        self.answer.label()
    }
}

impl<W: Workload> StateMachine for Observed<W> {
    const NAME: &'static str = <W::Machine as StateMachine>::NAME;
    const VERSION: u32 = <W::Machine as StateMachine>::VERSION;
    type Command = Tagged<<W::Machine as StateMachine>::Command>;
    type Response = <W::Machine as StateMachine>::Response;
    type Query = <W::Machine as StateMachine>::Query;
    type Answer = Placed<<W::Machine as StateMachine>::Answer>;
    type Snapshot = (Option<Position>, <W::Machine as StateMachine>::Snapshot);

    fn apply(&mut self, ctx: &mut ApplyContext, command: Self::Command) -> Self::Response {
        let (position, term, time) = (ctx.position(), ctx.term().get(), ctx.time());
        let bytes = encoded(&command);
        let told = |response| AppliedCommand { position, term, time, command: bytes.clone(), response };
        let machine = &mut self.machine;
        let outcome = catch_unwind(AssertUnwindSafe(|| machine.apply(ctx, command.command)));
        let response = outcome.unwrap_or_else(|panic| {
            self.workload.panicked(&told(Bytes::new()), &panic_text(&*panic));
            resume_unwind(panic)
        });
        self.last = Some(position);
        let applied = told(self.workload.response(&response));
        if self.observer.is_boot(self.node, self.boot) {
            self.observer.see(self.node, &Observation::Applied { applied: &applied });
        }
        self.judge(self.workload.applied(position, &self.machine, &response));
        response
    }

    fn query(&self, ctx: &QueryContext, query: Self::Query) -> Self::Answer {
        Placed { applied: ctx.applied(), time: ctx.time(), answer: self.machine.query(ctx, query) }
    }

    fn snapshot(&self) -> Self::Snapshot {
        (self.last, self.machine.snapshot())
    }

    fn write((last, snapshot): Self::Snapshot, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&encode_last(last))?;
        W::Machine::write(snapshot, out)
    }

    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        let mut last = [0; LAST_BYTES];
        input.read_exact(&mut last)?;
        self.machine.restore(input)?;
        self.last = decode_last(last);
        if self.observer.is_boot(self.node, self.boot) {
            self.observer.see(self.node, &Observation::Restored { last: self.last });
        }
        self.judge(self.workload.restored(&self.machine));
        Ok(())
    }

    fn deadline(&self, now: LogTime) -> Option<LogTime> {
        self.machine.deadline(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{RegistersAnswer, RegistersCommand};

    #[test]
    fn a_tag_and_a_place_come_back_from_their_bytes() {
        let command = RegistersCommand::Put { key: 1, value: 2, weight: "x".to_owned() };
        let bytes = encoded(&Tagged { tag: 77, command: command.clone() });
        assert_eq!(untagged(&bytes), (77, encoded(&command)));
        assert_eq!(Tagged::<RegistersCommand>::decode(&bytes).expect("the same").tag, 77);
        assert!(Tagged::<RegistersCommand>::decode(&bytes[..7]).is_err());

        for applied in [None, Some(LogId::new(3, 9))] {
            let answer = RegistersAnswer::Get(Some(5));
            let bytes = encoded(&Placed { applied, time: LogTime::from_micros(8), answer });
            let back = Placed::<RegistersAnswer>::decode(&bytes).expect("the same");
            assert_eq!((back.applied, back.time), (applied, LogTime::from_micros(8)));
            assert!(matches!(back.answer, RegistersAnswer::Get(Some(5))));
        }
    }
}
