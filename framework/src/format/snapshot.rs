//! A snapshot, the same bytes on the disk and on the wire.
//!
//! ```text
//! magic "QSNP" | version u8 = 1 | header length u32 | header | header crc32c u32
//! (piece length u32 | piece)* | 0 u32 | crc32c u32 of everything before
//! ```
//! Header: `cluster id | group u64 | machine name | machine version u32 | last applied: term u64,
//! index u64 | log clock u64 | membership log id (option) | membership length u32 | membership |
//! sessions length u32 | sessions`. The pieces together are the machine's bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::membership::RawMembership;
use super::{FormatError, Reader, Writer};
use crate::types::{ClusterId, GroupId, LogId, LogTime};

const WHAT: &str = "a snapshot";
const MAGIC: [u8; 4] = *b"QSNP";
const VERSION: u8 = 1;
/// More than any header has: a length beyond it is damage, not a size to reserve.
const MAX_HEADER_BYTES: u32 = 64 << 20;
/// The longest piece that is written or read.
pub(crate) const MAX_PIECE_BYTES: usize = 4 << 20;

/// What a snapshot says before the machine's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster_id: ClusterId,
    pub(crate) group: GroupId,
    pub(crate) machine: String,
    pub(crate) version: u32,
    pub(crate) last_applied: LogId,
    pub(crate) clock: LogTime,
    pub(crate) membership_log_id: Option<LogId>,
    pub(crate) membership: RawMembership,
    /// The sessions' own form.
    pub(crate) sessions: Bytes,
}

/// Encodes a snapshot piece by piece.
#[derive(Debug)]
pub(crate) struct Encoder {
    checksum: u32,
}

impl Encoder {
    /// The bytes up to the first piece.
    pub(crate) fn begin(header: &Header) -> (Self, Bytes) {
        let mut fields = BytesMut::new();
        put_header(&mut fields, header);
        let mut out = BytesMut::with_capacity(fields.len() + 13);
        out.put_slice(&MAGIC);
        out.put_u8(VERSION);
        out.put_u32_le(fields.len() as u32);
        out.put_slice(&fields);
        out.put_u32_le(crc32c::crc32c(&fields));
        (Self { checksum: crc32c::crc32c(&out) }, out.freeze())
    }

    /// A piece of the machine's bytes, neither empty nor longer than [`MAX_PIECE_BYTES`].
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> Bytes {
        debug_assert!((1..=MAX_PIECE_BYTES).contains(&bytes.len()));
        let mut out = BytesMut::with_capacity(bytes.len() + 4);
        out.put_u32_le(bytes.len() as u32);
        out.put_slice(bytes);
        self.checksum = crc32c::crc32c_append(self.checksum, &out);
        out.freeze()
    }

    /// The bytes after the last piece.
    pub(crate) fn end(&self) -> Bytes {
        let zero = 0_u32.to_le_bytes();
        let mut out = BytesMut::with_capacity(8);
        out.put_slice(&zero);
        out.put_u32_le(crc32c::crc32c_append(self.checksum, &zero));
        out.freeze()
    }
}

#[derive(Debug)]
enum Stage {
    Header,
    Pieces,
    Checksum,
    Done,
}

/// Decodes a snapshot from chunks cut anywhere, and checks it as it goes.
#[derive(Debug)]
pub(crate) struct Decoder {
    stage: Stage,
    rest: BytesMut,
    checksum: u32,
    header: Option<Header>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { stage: Stage::Header, rest: BytesMut::new(), checksum: 0, header: None }
    }
}

impl Decoder {
    /// Takes the next chunk; gives the machine's bytes that it completes.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Vec<Bytes>, FormatError> {
        self.rest.extend_from_slice(chunk);
        let mut pieces = Vec::new();
        loop {
            let more = match self.stage {
                Stage::Header => self.header_step()?,
                Stage::Pieces => self.piece_step(&mut pieces)?,
                Stage::Checksum => self.checksum_step()?,
                Stage::Done if self.rest.is_empty() => false,
                Stage::Done => return Err(FormatError::Leftover { what: WHAT, left: self.rest.len() }),
            };
            if !more {
                return Ok(pieces);
            }
        }
    }

    /// The header, once it has arrived.
    pub(crate) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The header of a snapshot that has arrived whole.
    pub(crate) fn finish(self) -> Result<Header, FormatError> {
        match (self.stage, self.header) {
            (Stage::Done, Some(header)) => Ok(header),
            _ => Err(FormatError::Short { what: WHAT, field: "end" }),
        }
    }

    fn take(&mut self, len: usize) -> Bytes {
        let bytes = self.rest.split_to(len).freeze();
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes);
        bytes
    }

    fn number_at(&self, at: usize) -> Option<u32> {
        let bytes = self.rest.get(at..at + 4)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn header_step(&mut self) -> Result<bool, FormatError> {
        let known = self.rest.len().min(4);
        if self.rest[..known] != MAGIC[..known] {
            return Err(FormatError::Unknown { what: WHAT, field: "magic", found: u64::from(self.rest[0]) });
        }
        if let Some(found) = self.rest.get(4).copied().filter(|found| *found != VERSION) {
            return Err(FormatError::Version { what: WHAT, found, supported: VERSION });
        }
        let Some(len) = self.number_at(5) else { return Ok(false) };
        if len > MAX_HEADER_BYTES {
            return Err(FormatError::Unknown { what: WHAT, field: "header length", found: u64::from(len) });
        }
        let len = len as usize;
        let Some(checksum) = self.number_at(9 + len) else { return Ok(false) };
        let bytes = self.take(13 + len).slice(9..9 + len);
        if crc32c::crc32c(&bytes) != checksum {
            return Err(FormatError::Checksum { what: "the header of a snapshot" });
        }
        self.header = Some(read_header(bytes)?);
        self.stage = Stage::Pieces;
        Ok(true)
    }

    fn piece_step(&mut self, pieces: &mut Vec<Bytes>) -> Result<bool, FormatError> {
        let Some(len) = self.number_at(0) else { return Ok(false) };
        let len = len as usize;
        if len == 0 {
            self.take(4);
            self.stage = Stage::Checksum;
            return Ok(true);
        }
        if len > MAX_PIECE_BYTES {
            return Err(FormatError::Unknown { what: WHAT, field: "piece length", found: len as u64 });
        }
        if self.rest.len() < 4 + len {
            return Ok(false);
        }
        pieces.push(self.take(4 + len).slice(4..));
        Ok(true)
    }

    fn checksum_step(&mut self) -> Result<bool, FormatError> {
        let Some(checksum) = self.number_at(0) else { return Ok(false) };
        if checksum != self.checksum {
            return Err(FormatError::Checksum { what: WHAT });
        }
        self.take(4);
        self.stage = Stage::Done;
        Ok(true)
    }
}

/// The fields of a header, which the record of what a machine on a disk has applied shares.
pub(super) fn put_header(fields: &mut BytesMut, header: &Header) {
    fields.put_slice(&header.cluster_id.0);
    fields.put_u64_le(header.group.0);
    fields.put_text(&header.machine);
    fields.put_u32_le(header.version);
    fields.put_log_id(header.last_applied);
    fields.put_u64_le(header.clock.as_micros());
    fields.put_option(header.membership_log_id, Writer::put_log_id);
    let membership = header.membership.encode();
    fields.put_u32_le(membership.len() as u32);
    fields.put_slice(&membership);
    fields.put_u32_le(header.sessions.len() as u32);
    fields.put_slice(&header.sessions);
}

fn read_header(bytes: Bytes) -> Result<Header, FormatError> {
    read_fields(Reader::new("the header of a snapshot", bytes))
}

/// Reads what [`put_header`] put, to the end.
pub(super) fn read_fields(mut reader: Reader) -> Result<Header, FormatError> {
    let cluster_id = ClusterId(reader.array("cluster id")?);
    let group = GroupId(reader.u64("group")?);
    let machine = reader.text("machine")?;
    let version = reader.u32("machine version")?;
    let last_applied = reader.log_id("last applied")?;
    let clock = LogTime::from_micros(reader.u64("log clock")?);
    let membership_log_id =
        reader.option("membership log id", |reader| reader.log_id("membership log id"))?;
    let len = reader.u32("membership length")?;
    let membership = RawMembership::decode(reader.bytes(len as usize, "membership")?)?;
    let len = reader.u32("sessions length")?;
    let sessions = reader.bytes(len as usize, "sessions")?;
    reader.finish()?;
    Ok(Header {
        cluster_id,
        group,
        machine,
        version,
        last_applied,
        clock,
        membership_log_id,
        membership,
        sessions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    fn header() -> Header {
        Header {
            cluster_id: ClusterId([1; 32]),
            group: GroupId(2),
            machine: "kv".into(),
            version: 3,
            last_applied: LogId::new(4, 5),
            clock: LogTime::from_micros(6),
            membership_log_id: Some(LogId::new(0, 0)),
            membership: RawMembership {
                voters: vec![[NodeId(1)].into()],
                members: [(NodeId(1), None)].into(),
            },
            sessions: Bytes::new(),
        }
    }

    fn whole() -> Vec<u8> {
        let (mut encoder, begin) = Encoder::begin(&header());
        let mut bytes = begin.to_vec();
        bytes.extend(encoder.piece(b"hello "));
        bytes.extend(encoder.piece(b"world"));
        bytes.extend(encoder.end());
        bytes
    }

    #[test]
    fn golden_snapshot() {
        let bytes = whole();
        let mut golden = b"QSNP\x01".to_vec();
        golden.extend(123_u32.to_le_bytes());
        golden.extend([1; 32]);
        golden.extend([2, 0, 0, 0, 0, 0, 0, 0, 2, 0, b'k', b'v', 3, 0, 0, 0]);
        golden.extend([4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
        golden.push(1);
        golden.extend([0; 16]);
        let membership = header().membership.encode();
        golden.extend((membership.len() as u32).to_le_bytes());
        golden.extend(&membership);
        golden.extend([0, 0, 0, 0]);
        assert_eq!(bytes[..golden.len()], golden);
        let tail = &bytes[golden.len() + 4..];
        assert_eq!(&tail[..23], b"\x06\0\0\0hello \x05\0\0\0world\0\0\0\0");
        assert_eq!(tail.len(), 27);
    }

    #[test]
    fn chunks_may_be_cut_anywhere() {
        let bytes = whole();
        for size in [1, 2, 7, 64, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut machine = Vec::new();
            for chunk in bytes.chunks(size) {
                decoder.push(chunk).expect("whole").iter().for_each(|piece| machine.extend_from_slice(piece));
            }
            assert_eq!(machine, b"hello world");
            assert_eq!(decoder.finish(), Ok(header()));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = whole();
        let decode = |bytes: &[u8]| {
            let mut decoder = Decoder::default();
            decoder.push(bytes).and_then(|_| decoder.finish())
        };
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|len| decode(&bytes[..len]).is_err()));
        assert!(decode(&[bytes, vec![0]].concat()).is_err());
    }
}
