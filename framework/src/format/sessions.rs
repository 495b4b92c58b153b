//! The sessions of a group, as a snapshot holds them, and the command that opens one. For a machine on a disk
//! they are rows: see [`session_rows`](super::session_rows).
//!
//! ```text
//! version u8 = 1 | next client id u64 | count u32 | session*
//! session: client id u64 | idle µs u64 | expires at µs u64 | first unacknowledged u64
//!          answers u32 | (serial u64 | index u64 | ordinal u32 | answer)*
//! answer:  0 | length u32 | bytes;  1 | length u64: too large;  2: not encodable
//!          3 | length u64: not kept
//! ```
//! No bytes at all are no session, now or ever. Sessions are in the order of their ids, answers in that of
//! their serials. The command that opens a session is `version u8 = 1 | idle µs u64`; the answer to it is the
//! new client id as u64.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::{FormatError, Reader};
use crate::sessions::{Open, Session, Stored, Table};
use crate::state_machine::erased::{Answer, AnswerError};
use crate::types::{ClientId, LogIndex, LogTime, Position};

const VERSION: u8 = 1;
/// The bytes of a session without answers, and of an answer without bytes.
const SESSION_BYTES: usize = 36;
const STORED_BYTES: usize = 21;

impl Open {
    pub(crate) fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(9);
        out.put_u8(VERSION);
        out.put_u64_le(self.idle_micros);
        out.freeze()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new("the opening of a session", bytes);
        reader.version(VERSION)?;
        let idle_micros = reader.u64("idle")?;
        reader.finish()?;
        Ok(Self { idle_micros })
    }
}

pub(super) fn put_answer(out: &mut BytesMut, answer: &Answer) {
    match answer {
        Ok(bytes) => {
            out.put_u8(0);
            out.put_u32_le(bytes.len() as u32);
            out.put_slice(bytes);
        }
        Err(AnswerError::TooLarge { len }) => {
            out.put_u8(1);
            out.put_u64_le(*len);
        }
        Err(AnswerError::NotKept { len }) => {
            out.put_u8(3);
            out.put_u64_le(*len);
        }
        // No other is ever kept.
        Err(_) => out.put_u8(2),
    }
}

pub(super) fn read_answer(reader: &mut Reader) -> Result<Answer, FormatError> {
    Ok(match reader.u8("answer")? {
        0 => {
            let len = reader.u32("answer length")?;
            // A copy: the bytes are a part of all sessions, and of the snapshot that holds them.
            Ok(Bytes::copy_from_slice(&reader.bytes(len as usize, "answer")?))
        }
        1 => Err(AnswerError::TooLarge { len: reader.u64("answer length")? }),
        2 => Err(AnswerError::Encode),
        3 => Err(AnswerError::NotKept { len: reader.u64("answer length")? }),
        found => return Err(reader.unknown("answer", u64::from(found))),
    })
}

impl Table {
    /// The bytes of all sessions; none for a table that never had one.
    pub(crate) fn encode(&self) -> Bytes {
        if self.is_unused() {
            return Bytes::new();
        }
        let sessions = self.sessions();
        let mut out = BytesMut::with_capacity(13 + sessions.len() * (SESSION_BYTES + 2 * STORED_BYTES));
        out.put_u8(VERSION);
        out.put_u64_le(self.next());
        out.put_u32_le(sessions.len() as u32);
        for (client, session) in sessions {
            out.put_u64_le(client.0);
            out.put_u64_le(session.idle_micros);
            out.put_u64_le(session.expires.as_micros());
            out.put_u64_le(session.first_unacknowledged);
            out.put_u32_le(session.answers.len() as u32);
            for (serial, Stored { position, answer }) in &session.answers {
                out.put_u64_le(*serial);
                out.put_u64_le(position.index.0);
                out.put_u32_le(position.ordinal);
                // Whoever encodes does so between batches, when every answer is there.
                put_answer(&mut out, answer.as_ref().unwrap_or(&Err(AnswerError::Encode)));
            }
        }
        out.freeze()
    }

    /// Reads a table back.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut reader = Reader::new("the sessions", bytes);
        reader.version(VERSION)?;
        let next = reader.u64("next client id")?;
        let count = reader.u32("count")?;
        let mut table = Self::starting_at(next);
        let mut last = None;
        for _ in 0..count {
            let client = ClientId(reader.u64("client id")?);
            let idle_micros = reader.u64("idle")?;
            let expires = LogTime::from_micros(reader.u64("expires at")?);
            let first_unacknowledged = reader.u64("first unacknowledged")?;
            let mut session =
                Session { idle_micros, expires, first_unacknowledged, answers: BTreeMap::new() };
            for _ in 0..reader.u32("answers")? {
                let serial = reader.u64("serial")?;
                let index = LogIndex(reader.u64("index")?);
                let position = Position { index, ordinal: reader.u32("ordinal")? };
                let answer = Some(read_answer(&mut reader)?);
                let after = session.answers.last_key_value().is_none_or(|(before, _)| *before < serial);
                if !after || serial < first_unacknowledged {
                    return Err(reader.unknown("serial", serial));
                }
                session.answers.insert(serial, Stored { position, answer });
            }
            if last.is_some_and(|last| last >= client) || client.0 == 0 || client.0 >= next {
                return Err(reader.unknown("client id", client.0));
            }
            last = Some(client);
            table.put(client, session);
        }
        reader.finish()?;
        Ok(table)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn position(index: u64, ordinal: u32) -> Position {
        Position { index: LogIndex(index), ordinal }
    }

    pub(in super::super) fn table() -> Table {
        let mut table = Table::starting_at(3);
        let answers = [
            (7, position(9, 1), Ok(Bytes::from_static(b"ab"))),
            (8, position(9, 2), Err(AnswerError::TooLarge { len: 5 })),
            (10, position(10, 0), Err(AnswerError::Encode)),
            (11, position(11, 0), Err(AnswerError::NotKept { len: 6 })),
        ];
        let answers =
            answers.map(|(serial, position, answer)| (serial, Stored { position, answer: Some(answer) }));
        let session = Session {
            idle_micros: 4,
            expires: LogTime::from_micros(5),
            first_unacknowledged: 7,
            answers: answers.into(),
        };
        table.put(ClientId(2), session);
        table
    }

    #[test]
    fn golden_sessions() {
        let number = |number: u8| [number, 0, 0, 0, 0, 0, 0, 0];
        let at = |serial: u8, index: u8, ordinal: u8| {
            [&number(serial)[..], &number(index), &[ordinal, 0, 0, 0]].concat()
        };
        let golden = [
            &[1][..],
            &number(3),
            &[1, 0, 0, 0],
            &number(2),
            &number(4),
            &number(5),
            &number(7),
            &[4, 0, 0, 0],
            &at(7, 9, 1),
            &[0, 2, 0, 0, 0, b'a', b'b'],
            &at(8, 9, 2),
            &[1],
            &number(5),
            &at(10, 10, 0),
            &[2],
            &at(11, 11, 0),
            &[3],
            &number(6),
        ];
        assert_eq!(table().encode(), golden.concat());
        assert_eq!(Table::decode(table().encode()), Ok(table()));
        assert_eq!(Table::default().encode(), Bytes::new());
        assert_eq!(Table::decode(Bytes::new()), Ok(Table::default()));
    }

    #[test]
    fn golden_opening() {
        let open = Open { idle_micros: 0x0102 };
        assert_eq!(open.encode().as_ref(), [1, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Open::decode(open.encode()), Ok(open));
        assert!(matches!(Open::decode(vec![2; 9].into()), Err(FormatError::Version { found: 2, .. })));
        assert!(matches!(Open::decode(vec![1; 10].into()), Err(FormatError::Leftover { left: 1, .. })));
    }

    #[test]
    fn every_cut_is_found_and_so_are_ids_and_serials_that_cannot_be() {
        let bytes = table().encode();
        assert!((1..bytes.len()).all(|len| Table::decode(bytes.slice(..len)).is_err()));
        let with = |at: usize, value: u8| {
            let mut bytes = bytes.to_vec();
            bytes[at] = value;
            Table::decode(bytes.into()).expect_err("changed on purpose")
        };
        assert!(matches!(with(0, 2), FormatError::Version { found: 2, .. }));
        // The id of a session is below the next one, and a serial not below the first unacknowledged.
        assert!(matches!(with(13, 3), FormatError::Unknown { field: "client id", found: 3, .. }));
        assert!(matches!(with(13, 0), FormatError::Unknown { field: "client id", found: 0, .. }));
        assert!(matches!(with(49, 6), FormatError::Unknown { field: "serial", found: 6, .. }));
        assert!(matches!(with(49, 9), FormatError::Unknown { field: "serial", found: 8, .. }));
        assert!(matches!(with(69, 4), FormatError::Unknown { field: "answer", found: 4, .. }));
    }
}
