//! The user's machine, with an eye on what is applied.

use std::io::{Read, Write};

use bytes::Bytes;
use quorate::state_machine::{ApplyContext, QueryContext, RestoreError, StateMachine, Wire};
use quorate::types::{LogIndex, LogTime, Position};

use super::{AppliedCommand, Observation, Observer};

/// A machine that tells what it applies. For the nodes it is the machine itself: the same name, the
/// same commands, the same snapshots.
pub struct Observed<M> {
    machine: M,
    /// The last command that its state has in it.
    last: Option<Position>,
    observer: Observer,
    node: u64,
    boot: u64,
}

impl<M: StateMachine> Observed<M> {
    /// Wraps the machine of a boot of a node.
    pub fn new(machine: M, observer: Observer, node: u64, boot: u64) -> Self {
        Self { machine, last: None, observer, node, boot }
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

impl<M: StateMachine> StateMachine for Observed<M> {
    const NAME: &'static str = M::NAME;
    const VERSION: u32 = M::VERSION;
    type Command = M::Command;
    type Response = M::Response;
    type Query = M::Query;
    type Answer = M::Answer;
    type Snapshot = (Option<Position>, M::Snapshot);

    fn apply(&mut self, ctx: &mut ApplyContext, command: M::Command) -> M::Response {
        let (position, term, time) = (ctx.position(), ctx.term().get(), ctx.time());
        let bytes = encoded(&command);
        let response = self.machine.apply(ctx, command);
        self.last = Some(position);
        let applied = AppliedCommand { position, term, time, command: bytes, response: encoded(&response) };
        if self.observer.is_boot(self.node, self.boot) {
            self.observer.see(self.node, &Observation::Applied { applied: &applied });
        }
        response
    }

    fn query(&self, ctx: &QueryContext, query: M::Query) -> M::Answer {
        self.machine.query(ctx, query)
    }

    fn snapshot(&self) -> Self::Snapshot {
        (self.last, self.machine.snapshot())
    }

    fn write((last, snapshot): Self::Snapshot, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&encode_last(last))?;
        M::write(snapshot, out)
    }

    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        let mut last = [0; LAST_BYTES];
        input.read_exact(&mut last)?;
        self.machine.restore(input)?;
        self.last = decode_last(last);
        if self.observer.is_boot(self.node, self.boot) {
            self.observer.see(self.node, &Observation::Restored { last: self.last });
        }
        Ok(())
    }

    fn deadline(&self, now: LogTime) -> Option<LogTime> {
        self.machine.deadline(now)
    }
}
