//! The sessions of a group, as the rows that a machine on a disk stores with the effects of its batches.
//!
//! ```text
//! key:     1 u8                               the counter, first of all
//!          1 u8 | client id u64               a session
//!          1 u8 | client id u64 | serial u64  an answer that is kept for it
//! value:   version u8 = 1 | counter, session or answer | crc32c u32 of the key and of everything before
//! counter: next client id u64 | sessions u32
//! session: idle µs u64 | expires at µs u64 | first unacknowledged u64 | answers u32
//! answer:  index u64 | ordinal u32 | answer, as in a snapshot
//! ```
//! Numbers in keys are big endian, so that rows are in the order of their numbers and a session stands before
//! its answers. The counts are for whoever reads: a row that is missing is found. No rows at all are no
//! session, now or ever.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::sessions::{put_answer, read_answer};
use super::{FormatError, Reader};
use crate::sessions::{Session, Stored, Table};
use crate::state_machine::Row;
use crate::state_machine::erased::AnswerError;
use crate::types::{ClientId, LogIndex, LogTime, Position};

const WHAT: &str = "a row of the sessions";
const VERSION: u8 = 1;
/// What every key begins with: there may be other rows one day.
const SESSIONS: u8 = 1;

#[derive(Clone, Copy, Debug)]
enum Key {
    Counter,
    Session(ClientId),
    Answer(ClientId, u64),
}

impl Key {
    fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(17);
        out.put_u8(SESSIONS);
        match self {
            Self::Counter => {}
            Self::Session(client) => out.put_u64(client.0),
            Self::Answer(client, serial) => {
                out.put_u64(client.0);
                out.put_u64(serial);
            }
        }
        out.freeze()
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let unknown = |found| FormatError::Unknown { what: WHAT, field: "key", found };
        let Some((&SESSIONS, numbers)) = key.split_first() else {
            return Err(unknown(key.first().copied().map_or(0, u64::from)));
        };
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        let key = match (numbers.first_chunk::<8>(), numbers.last_chunk::<8>()) {
            (None, None) if numbers.is_empty() => Some(Self::Counter),
            (Some(client), Some(_)) if numbers.len() == 8 => Some(Self::Session(ClientId(number(client)))),
            (Some(client), Some(serial)) if numbers.len() == 16 => {
                Some(Self::Answer(ClientId(number(client)), number(serial)))
            }
            _ => None,
        };
        key.ok_or_else(|| unknown(numbers.len() as u64))
    }

    /// The row of this key that goes.
    fn gone(self) -> Row {
        Row { key: self.encode(), value: None }
    }

    fn row(self, fields: impl FnOnce(&mut BytesMut)) -> Row {
        let key = self.encode();
        let mut out = BytesMut::with_capacity(48);
        out.put_u8(VERSION);
        fields(&mut out);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&key), &out);
        out.put_u32_le(checksum);
        Row { key, value: Some(out.freeze()) }
    }
}

impl Table {
    fn counter_row(&self) -> Row {
        Key::Counter.row(|out| {
            out.put_u64_le(self.next());
            out.put_u32_le(self.sessions().len() as u32);
        })
    }

    /// All sessions, for a machine that had others before.
    pub(crate) fn rows(&self) -> Vec<Row> {
        if self.is_unused() {
            return Vec::new();
        }
        let mut rows = vec![self.counter_row()];
        for (client, session) in self.sessions() {
            rows.push(session_row(*client, session));
            rows.extend(session.answers.iter().map(|(serial, stored)| answer_row(*client, *serial, stored)));
        }
        rows
    }

    /// What changed since this was last asked for, between batches.
    pub(crate) fn changed_rows(&mut self) -> Vec<Row> {
        let touched = self.take_touched();
        let session = |client: &ClientId| self.sessions().get(client);
        let sessions = touched.sessions.iter().map(|client| match session(client) {
            Some(session) => session_row(*client, session),
            None => Key::Session(*client).gone(),
        });
        let answers = touched.answers.iter().map(|(client, serial)| {
            match session(client).and_then(|session| session.answers.get(serial)) {
                Some(stored) => answer_row(*client, *serial, stored),
                None => Key::Answer(*client, *serial).gone(),
            }
        });
        touched.counter.then(|| self.counter_row()).into_iter().chain(sessions).chain(answers).collect()
    }
}

fn session_row(client: ClientId, session: &Session) -> Row {
    Key::Session(client).row(|out| {
        out.put_u64_le(session.idle_micros);
        out.put_u64_le(session.expires.as_micros());
        out.put_u64_le(session.first_unacknowledged);
        out.put_u32_le(session.answers.len() as u32);
    })
}

fn answer_row(client: ClientId, serial: u64, Stored { position, answer }: &Stored) -> Row {
    Key::Answer(client, serial).row(|out| {
        out.put_u64_le(position.index.0);
        out.put_u32_le(position.ordinal);
        // Whoever encodes does so between batches, when every answer is there.
        put_answer(out, answer.as_ref().unwrap_or(&Err(AnswerError::Encode)));
    })
}

/// Reads a table back, row by row in the order of their keys.
#[derive(Debug, Default)]
pub(crate) struct ReadRows {
    table: Option<Table>,
    /// How many sessions the counter says there are.
    sessions: u64,
    /// The session whose answers come now, and how many of them it says there are.
    session: Option<(ClientId, Session, u64)>,
    /// The key of the last row.
    last: Vec<u8>,
    wrong: Option<FormatError>,
}

impl ReadRows {
    /// Takes the next row. What is wrong with it is told at the end.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        if self.wrong.is_none() {
            self.wrong = self.take(key, value).err();
        }
    }

    /// The table, when all rows were there.
    pub(crate) fn finish(mut self) -> Result<Table, FormatError> {
        self.wrong.take().map_or(Ok(()), Err)?;
        self.end_session()?;
        let table = self.table.unwrap_or_default();
        same("sessions", table.sessions().len() as u64, self.sessions)?;
        Ok(table)
    }

    fn take(&mut self, encoded: &[u8], value: &[u8]) -> Result<(), FormatError> {
        let key = Key::decode(encoded)?;
        let Some((body, checksum)) = value.split_last_chunk::<4>() else {
            return Err(FormatError::Short { what: WHAT, field: "checksum" });
        };
        let mut reader = Reader::new(WHAT, Bytes::copy_from_slice(body));
        reader.version(VERSION)?;
        if crc32c::crc32c_append(crc32c::crc32c(encoded), body).to_le_bytes() != *checksum {
            return Err(FormatError::Checksum { what: WHAT });
        }
        let unexpected = |field, found| Err(FormatError::Unknown { what: WHAT, field, found });
        if *self.last >= *encoded {
            return unexpected("key", encoded.len() as u64);
        }
        self.last = encoded.to_vec();
        match key {
            Key::Counter => {
                self.table = Some(Table::starting_at(reader.u64("next client id")?));
                self.sessions = u64::from(reader.u32("sessions")?);
            }
            Key::Session(client) => {
                self.end_session()?;
                let next = self.table.as_ref().map_or(0, Table::next);
                if client.0 == 0 || client.0 >= next {
                    return unexpected("client id", client.0);
                }
                let session = Session {
                    idle_micros: reader.u64("idle")?,
                    expires: LogTime::from_micros(reader.u64("expires at")?),
                    first_unacknowledged: reader.u64("first unacknowledged")?,
                    answers: BTreeMap::new(),
                };
                self.session = Some((client, session, u64::from(reader.u32("answers")?)));
            }
            Key::Answer(client, serial) => {
                let index = LogIndex(reader.u64("index")?);
                let position = Position { index, ordinal: reader.u32("ordinal")? };
                let answer = Some(read_answer(&mut reader)?);
                match &mut self.session {
                    Some((of, session, _)) if *of == client && serial >= session.first_unacknowledged => {
                        session.answers.insert(serial, Stored { position, answer });
                    }
                    _ => return unexpected("serial", serial),
                }
            }
        }
        reader.finish()
    }

    /// The answers of a session have come.
    fn end_session(&mut self) -> Result<(), FormatError> {
        if let (Some((client, session, answers)), Some(table)) = (self.session.take(), &mut self.table) {
            same("answers", session.answers.len() as u64, answers)?;
            table.put(client, session);
        }
        Ok(())
    }
}

fn same(field: &'static str, found: u64, expected: u64) -> Result<(), FormatError> {
    if found == expected { Ok(()) } else { Err(FormatError::Mismatch { what: WHAT, field, found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::super::sessions::tests::table;
    use super::*;

    fn read(rows: &[Row]) -> Result<Table, FormatError> {
        let mut read = ReadRows::default();
        for Row { key, value } in rows {
            read.push(key, value.as_ref().expect("one that is there"));
        }
        read.finish()
    }

    #[test]
    fn golden_rows() {
        let little = |number: u8| [number, 0, 0, 0, 0, 0, 0, 0];
        let at = |index: u8, ordinal: u8| [&little(index)[..], &[ordinal, 0, 0, 0]].concat();
        let golden: [(&[u8], Vec<u8>); 6] = [
            (&[], [&little(3)[..], &[1, 0, 0, 0]].concat()),
            (&[2], [&little(4)[..], &little(5), &little(7), &[4, 0, 0, 0]].concat()),
            (&[2, 7], [&at(9, 1)[..], &[0, 2, 0, 0, 0, b'a', b'b']].concat()),
            (&[2, 8], [&at(9, 2)[..], &[1], &little(5)].concat()),
            (&[2, 10], [&at(10, 0)[..], &[2]].concat()),
            (&[2, 11], [&at(11, 0)[..], &[3], &little(6)].concat()),
        ];
        let golden = golden.map(|(numbers, fields)| {
            let big = |number: &u8| [0, 0, 0, 0, 0, 0, 0, *number];
            let key = [vec![1], numbers.iter().flat_map(big).collect()].concat();
            let value = [vec![1], fields].concat();
            let checksum = crc32c::crc32c(&[&key[..], &value].concat()).to_le_bytes();
            Row { key: key.into(), value: Some([&value[..], &checksum].concat().into()) }
        });
        assert_eq!(table().rows(), golden);
        assert!(golden.is_sorted_by(|one, other| one.key < other.key));
        assert_eq!(read(&golden), Ok(table()));
        assert_eq!(Table::default().rows(), []);
        assert_eq!(read(&[]), Ok(Table::default()));
    }

    #[test]
    fn every_flipped_bit_every_missing_row_and_any_other_order_is_found() {
        let rows = table().rows();
        for (place, row) in rows.iter().enumerate() {
            let value = row.value.clone().expect("one that is there");
            for bit in 0..(row.key.len() + value.len()) * 8 {
                let mut whole = [&row.key[..], &value].concat();
                whole[bit / 8] ^= 1 << (bit % 8);
                let (key, value) = whole.split_at(row.key.len());
                let row = Row { key: key.to_vec().into(), value: Some(value.to_vec().into()) };
                let mut flipped = rows.clone();
                flipped[place] = row;
                assert!(read(&flipped).is_err(), "bit {bit} of row {place}");
            }
            let mut cut = rows.clone();
            cut[place].value = Some(value.slice(1..));
            assert!(read(&cut).is_err(), "row {place} is cut");
            let mut missing = rows.clone();
            missing.remove(place);
            assert!(read(&missing).is_err(), "row {place} is missing");
            let mut twice = rows.clone();
            twice.insert(place, row.clone());
            assert!(read(&twice).is_err(), "row {place} is there twice");
            for other in 0..place {
                let mut swapped = rows.clone();
                swapped.swap(place, other);
                assert!(read(&swapped).is_err(), "rows {other} and {place} are swapped");
            }
        }
    }
}
