//! An entry of the log, the same bytes on the disk and on the wire.
//!
//! ```text
//! version u8 = 1 | kind u8 | flags u16 | group u64 | term u64 | index u64 | log clock u64 (µs)
//! command count u32 | body | crc32c u32 of everything before
//! ```
//! The body of kind 2 (commands) is, per command: client id u64, serial u64, first unacknowledged
//! u64 when flag 1 is set; trace id u128 when flag 2 is set; length u32; the command's bytes. A flag
//! that is not set means that every command of the entry has zero there. Client id 2^64-1 with serial 0
//! opens a session, whose id is the answer, and serial 2^64-1 ends one: their bytes are no command of
//! the machine (`format/sessions.rs`). The body of kind 1 is a
//! membership; kinds 0 (blank) and 3 (tick) have none.

use bytes::{BufMut, Bytes, BytesMut};

use super::{FormatError, Reader};
use crate::sessions::Numbered;
use crate::types::{ClientId, GroupId, LogId, LogTime};

const WHAT: &str = "an entry";
const VERSION: u8 = 1;
const FLAG_SESSIONS: u16 = 1;
const FLAG_TRACES: u16 = 2;
/// The bytes before the body.
pub(crate) const HEADER_BYTES: usize = 40;
const CHECKSUM_BYTES: usize = 4;

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Appended by a new leader, to commit what its predecessors left.
    Blank = 0,
    Membership = 1,
    Commands = 2,
    /// Moves the log's clock on.
    Tick = 3,
}

/// One command and what travels with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    /// Zero is no session.
    pub(crate) client: ClientId,
    pub(crate) serial: u64,
    pub(crate) first_unacknowledged: u64,
    pub(crate) trace: u128,
    pub(crate) bytes: Bytes,
}

impl Command {
    /// Which command of which session it is.
    pub(crate) fn numbered(&self) -> Option<Numbered> {
        let Self { client, serial, first_unacknowledged, .. } = *self;
        (client.0 != 0).then_some(Numbered { client, serial, first_unacknowledged })
    }
}

/// The commands of an entry as they stand in its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) count: u32,
    pub(crate) flags: u16,
    pub(crate) bytes: Bytes,
}

impl Body {
    /// Encodes commands in order.
    pub(crate) fn of_commands(commands: &[Command]) -> Self {
        let mut flags = 0;
        for command in commands {
            if command.client.0 != 0 || command.serial != 0 || command.first_unacknowledged != 0 {
                flags |= FLAG_SESSIONS;
            }
            if command.trace != 0 {
                flags |= FLAG_TRACES;
            }
        }
        let mut out = BytesMut::with_capacity(commands.iter().map(|command| command.bytes.len() + 44).sum());
        for command in commands {
            if flags & FLAG_SESSIONS != 0 {
                out.put_u64_le(command.client.0);
                out.put_u64_le(command.serial);
                out.put_u64_le(command.first_unacknowledged);
            }
            if flags & FLAG_TRACES != 0 {
                out.put_u128_le(command.trace);
            }
            out.put_u32_le(command.bytes.len() as u32);
            out.put_slice(&command.bytes);
        }
        Self { count: commands.len() as u32, flags, bytes: out.freeze() }
    }

    /// Decodes the commands.
    pub(crate) fn commands(&self) -> Result<Vec<Command>, FormatError> {
        let mut reader = Reader::new(WHAT, self.bytes.clone());
        // A command has at least its length: a count beyond that is damage, not a size to reserve.
        let mut commands = Vec::with_capacity((self.count as usize).min(self.bytes.len() / 4));
        for _ in 0..self.count {
            let mut command = Command::default();
            if self.flags & FLAG_SESSIONS != 0 {
                command.client = ClientId(reader.u64("client id")?);
                command.serial = reader.u64("serial")?;
                command.first_unacknowledged = reader.u64("first unacknowledged")?;
            }
            if self.flags & FLAG_TRACES != 0 {
                command.trace = reader.u128("trace id")?;
            }
            let len = reader.u32("command length")?;
            command.bytes = reader.bytes(len as usize, "command")?;
            commands.push(command);
        }
        reader.finish()?;
        Ok(commands)
    }
}

/// The parts of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawEntry {
    pub(crate) kind: Kind,
    pub(crate) group: GroupId,
    pub(crate) log_id: LogId,
    pub(crate) clock: LogTime,
    pub(crate) body: Body,
}

impl RawEntry {
    /// Encodes the entry, with its checksum.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_BYTES + self.body.bytes.len() + CHECKSUM_BYTES);
        out.put_u8(VERSION);
        out.put_u8(self.kind as u8);
        out.put_u16_le(self.body.flags);
        out.put_u64_le(self.group.0);
        out.put_u64_le(self.log_id.term.0);
        out.put_u64_le(self.log_id.index.0);
        out.put_u64_le(self.clock.as_micros());
        out.put_u32_le(self.body.count);
        debug_assert_eq!(out.len(), HEADER_BYTES);
        out.put_slice(&self.body.bytes);
        out.put_u32_le(crc32c::crc32c(&out));
        out.freeze()
    }

    /// Decodes an entry after checking its checksum.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, FormatError> {
        verify(bytes)?;
        let mut reader = Reader::new(WHAT, bytes.slice(..bytes.len() - CHECKSUM_BYTES));
        reader.version(VERSION)?;
        let kind = match reader.u8("kind")? {
            0 => Kind::Blank,
            1 => Kind::Membership,
            2 => Kind::Commands,
            3 => Kind::Tick,
            found => return Err(reader.unknown("kind", u64::from(found))),
        };
        let flags = reader.u16("flags")?;
        if flags & !(FLAG_SESSIONS | FLAG_TRACES) != 0 || flags != 0 && kind != Kind::Commands {
            return Err(reader.unknown("flags", u64::from(flags)));
        }
        let group = GroupId(reader.u64("group")?);
        let log_id = reader.log_id("log id")?;
        let clock = LogTime::from_micros(reader.u64("log clock")?);
        let count = reader.u32("command count")?;
        let body = Body { count, flags, bytes: reader.rest() };
        Ok(Self { kind, group, log_id, clock, body })
    }
}

/// Checks the checksum of an encoded entry.
pub(crate) fn verify(bytes: &[u8]) -> Result<(), FormatError> {
    let Some(end) = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|end| *end >= HEADER_BYTES) else {
        return Err(FormatError::Short { what: WHAT, field: "header" });
    };
    let (content, checksum) = bytes.split_at(end);
    if crc32c::crc32c(content).to_le_bytes() == *checksum {
        return Ok(());
    }
    Err(FormatError::Checksum { what: WHAT })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(commands: &[Command]) -> RawEntry {
        RawEntry {
            kind: Kind::Commands,
            group: GroupId(2),
            log_id: LogId::new(3, 17),
            clock: LogTime::from_micros(0x0102),
            body: Body::of_commands(commands),
        }
    }

    fn plain(bytes: &'static [u8]) -> Command {
        Command { bytes: Bytes::from_static(bytes), ..Command::default() }
    }

    #[test]
    fn golden_entry_without_sessions() {
        let bytes = entry(&[plain(b"ab"), plain(b"")]).encode();
        let golden: &[u8] = &[
            1, 2, 0, 0, // version, kind, flags
            2, 0, 0, 0, 0, 0, 0, 0, // group
            3, 0, 0, 0, 0, 0, 0, 0, // term
            17, 0, 0, 0, 0, 0, 0, 0, // index
            2, 1, 0, 0, 0, 0, 0, 0, // log clock
            2, 0, 0, 0, // command count
            2, 0, 0, 0, b'a', b'b', // first command
            0, 0, 0, 0, // second command
        ];
        assert_eq!(&bytes[..bytes.len() - 4], golden);
        assert_eq!(bytes[bytes.len() - 4..], crc32c::crc32c(golden).to_le_bytes());
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283, "the polynomial is Castagnoli's");
    }

    #[test]
    fn golden_command_with_session_and_trace() {
        let command = Command {
            client: ClientId(1),
            serial: 2,
            first_unacknowledged: 3,
            trace: 4,
            bytes: Bytes::from_static(b"x"),
        };
        let body = Body::of_commands(std::slice::from_ref(&command));
        let mut golden = vec![0; 45];
        (golden[0], golden[8], golden[16], golden[24], golden[40], golden[44]) = (1, 2, 3, 4, 1, b'x');
        assert_eq!((body.flags, body.bytes.as_ref()), (3, golden.as_slice()));
        assert_eq!(body.commands(), Ok(vec![command]));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = entry(&[plain(b"some command")]).encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(RawEntry::decode(&Bytes::from(flipped)).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(RawEntry::decode(&bytes.slice(..len)).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn unknown_versions_kinds_and_flags_are_errors() {
        let with = |at: usize, value: u8| {
            let mut bytes = entry(&[plain(b"x")]).encode().to_vec();
            bytes[at] = value;
            let end = bytes.len() - 4;
            let checksum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
            bytes[end..].copy_from_slice(&checksum);
            RawEntry::decode(&Bytes::from(bytes)).expect_err("changed on purpose")
        };
        assert!(matches!(with(0, 2), FormatError::Version { found: 2, .. }));
        assert!(matches!(with(1, 4), FormatError::Unknown { field: "kind", .. }));
        assert!(matches!(with(2, 4), FormatError::Unknown { field: "flags", .. }));
    }

    #[test]
    fn a_count_that_lies_is_an_error_and_takes_no_memory() {
        let body = Body { count: u32::MAX, flags: 0, bytes: Bytes::from_static(&[1, 0, 0, 0, 7]) };
        assert!(matches!(body.commands(), Err(FormatError::Short { .. })));
        let body = Body { count: 0, flags: 0, bytes: Bytes::from_static(&[1]) };
        assert!(matches!(body.commands(), Err(FormatError::Leftover { .. })));
    }
}
