//! The small values a group keeps beside its log: vote, committed and purged.
//!
//! `version u8 = 1 | kind u8 | fields | crc32c u32`. Vote (kind 1): committed u8, term u64, node
//! u64. Committed (kind 2) and purged (kind 3): term u64, index u64.

use bytes::{BufMut, Bytes, BytesMut};

use super::{FormatError, Reader, Writer};
use crate::types::{LogId, NodeId, Term};

const VERSION: u8 = 1;
const KIND_VOTE: u8 = 1;
const KIND_COMMITTED: u8 = 2;
const KIND_PURGED: u8 = 3;

/// A vote: for whom, in which term, and whether a quorum granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VoteRecord {
    pub(crate) term: Term,
    pub(crate) node: NodeId,
    pub(crate) committed: bool,
}

fn seal(kind: u8, fields: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(24);
    out.put_u8(VERSION);
    out.put_u8(kind);
    fields(&mut out);
    out.put_u32_le(crc32c::crc32c(&out));
    out.freeze()
}

fn unseal(what: &'static str, expected: u8, bytes: &Bytes) -> Result<Reader, FormatError> {
    let Some(end) = bytes.len().checked_sub(4) else {
        return Err(FormatError::Short { what, field: "checksum" });
    };
    if crc32c::crc32c(&bytes[..end]).to_le_bytes() != bytes[end..] {
        return Err(FormatError::Checksum { what });
    }
    let mut reader = Reader::new(what, bytes.slice(..end));
    reader.version(VERSION)?;
    let kind = reader.u8("kind")?;
    if kind != expected {
        return Err(reader.unknown("kind", u64::from(kind)));
    }
    Ok(reader)
}

impl VoteRecord {
    pub(crate) fn encode(self) -> Bytes {
        seal(KIND_VOTE, |out| {
            out.put_u8(u8::from(self.committed));
            out.put_u64_le(self.term.0);
            out.put_u64_le(self.node.0);
        })
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, FormatError> {
        let mut reader = unseal("the vote", KIND_VOTE, bytes)?;
        let committed = match reader.u8("committed")? {
            0 => false,
            1 => true,
            found => return Err(reader.unknown("committed", u64::from(found))),
        };
        let vote = Self { committed, term: Term(reader.u64("term")?), node: NodeId(reader.u64("node")?) };
        reader.finish()?;
        Ok(vote)
    }
}

fn decode_log_id(what: &'static str, kind: u8, bytes: &Bytes) -> Result<LogId, FormatError> {
    let mut reader = unseal(what, kind, bytes)?;
    let log_id = reader.log_id("log id")?;
    reader.finish()?;
    Ok(log_id)
}

pub(crate) fn encode_committed(log_id: LogId) -> Bytes {
    seal(KIND_COMMITTED, |out| out.put_log_id(log_id))
}

pub(crate) fn decode_committed(bytes: &Bytes) -> Result<LogId, FormatError> {
    decode_log_id("the committed marker", KIND_COMMITTED, bytes)
}

pub(crate) fn encode_purged(log_id: LogId) -> Bytes {
    seal(KIND_PURGED, |out| out.put_log_id(log_id))
}

pub(crate) fn decode_purged(bytes: &Bytes) -> Result<LogId, FormatError> {
    decode_log_id("the purge marker", KIND_PURGED, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_markers() {
        let vote = VoteRecord { term: Term(5), node: NodeId(2), committed: true };
        let golden: &[u8] = &[1, 1, 1, 5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(&vote.encode()[..19], golden);
        assert_eq!(VoteRecord::decode(&vote.encode()), Ok(vote));

        let golden: &[u8] = &[1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(&encode_committed(LogId::new(3, 9))[..18], golden);
        assert_eq!(decode_committed(&encode_committed(LogId::new(3, 9))), Ok(LogId::new(3, 9)));
        assert_eq!(decode_purged(&encode_purged(LogId::new(3, 9))), Ok(LogId::new(3, 9)));
    }

    #[test]
    fn one_marker_is_not_taken_for_another() {
        assert!(decode_purged(&encode_committed(LogId::new(3, 9))).is_err());
        assert!(VoteRecord::decode(&Bytes::from_static(b"abc")).is_err());
        let mut bytes = encode_purged(LogId::new(1, 1)).to_vec();
        bytes[3] ^= 1;
        assert!(matches!(decode_purged(&Bytes::from(bytes)), Err(FormatError::Checksum { .. })));
    }
}
