//! What a command, an answer and a snapshot have beside what the machine put into them.

use bytes::Bytes;
use quorate::state_machine::{DecodeError, EncodeError, Wire};
use quorate::types::{LogId, LogIndex, LogTime, Position};

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
pub(super) const LAST_BYTES: usize = 13;

pub(super) fn encode_last(last: Option<Position>) -> [u8; LAST_BYTES] {
    let mut bytes = [0; LAST_BYTES];
    if let Some(Position { index, ordinal }) = last {
        bytes[0] = 1;
        bytes[1..9].copy_from_slice(&index.0.to_le_bytes());
        bytes[9..].copy_from_slice(&ordinal.to_le_bytes());
    }
    bytes
}

pub(super) fn decode_last(bytes: [u8; LAST_BYTES]) -> Option<Position> {
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
