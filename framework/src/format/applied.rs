//! What a machine on a disk has applied, kept beside its effects.
//!
//! `version u8 = 1 | the fields of a snapshot's header | crc32c u32 of everything before`.

use bytes::{BufMut, Bytes, BytesMut};

use super::snapshot::{Header, put_header, read_fields};
use super::{FormatError, Reader};
use crate::types::{LogId, LogTime};

const WHAT: &str = "the record of what the machine applied";
const VERSION: u8 = 1;

/// The bytes of a record.
pub(crate) fn encode(header: &Header) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    out.put_u8(VERSION);
    put_header(&mut out, header);
    let checksum = crc32c::crc32c(&out);
    out.put_u32_le(checksum);
    out.freeze()
}

fn fields(bytes: &Bytes) -> Result<Reader, FormatError> {
    let mut whole = Reader::new(WHAT, bytes.clone());
    whole.version(VERSION)?;
    let Some(end) = bytes.len().checked_sub(4).filter(|end| *end > 0) else {
        return Err(FormatError::Short { what: WHAT, field: "checksum" });
    };
    Ok(Reader::new(WHAT, bytes.slice(1..end)))
}

/// Reads a record back, all of it checked.
pub(crate) fn decode(bytes: &Bytes) -> Result<Header, FormatError> {
    let fields = fields(bytes)?;
    let (body, checksum) = bytes.split_at(bytes.len() - 4);
    if crc32c::crc32c(body).to_le_bytes() != *checksum {
        return Err(FormatError::Checksum { what: WHAT });
    }
    read_fields(fields)
}

/// Where in the log the record stands, without the rest: asked by every query.
pub(crate) fn position(bytes: &Bytes) -> Result<(LogId, LogTime), FormatError> {
    let mut fields = fields(bytes)?;
    fields.bytes(32, "cluster id")?;
    fields.u64("group")?;
    let name = fields.u16("machine")?;
    fields.bytes(usize::from(name), "machine")?;
    fields.u32("machine version")?;
    Ok((fields.log_id("last applied")?, LogTime::from_micros(fields.u64("log clock")?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::membership::RawMembership;
    use crate::types::{ClusterId, GroupId, NodeId};

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

    #[test]
    fn golden_record() {
        let bytes = encode(&header());
        let mut golden = vec![1];
        golden.extend([1; 32]);
        golden.extend([2, 0, 0, 0, 0, 0, 0, 0, 2, 0, b'k', b'v', 3, 0, 0, 0]);
        golden.extend([4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
        golden.push(1);
        golden.extend([0; 16]);
        let membership = header().membership.encode();
        golden.extend((membership.len() as u32).to_le_bytes());
        golden.extend(&membership);
        golden.extend([0, 0, 0, 0]);
        golden.extend(crc32c::crc32c(&golden).to_le_bytes());
        assert_eq!(bytes, golden);
        assert_eq!(decode(&bytes), Ok(header()));
        assert_eq!(position(&bytes), Ok((LogId::new(4, 5), LogTime::from_micros(6))));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = encode(&header());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped.into()).is_err(), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|len| decode(&bytes.slice(..len)).is_err()));
        assert!((0..bytes.len()).all(|len| position(&bytes.slice(..len)).is_err() || len >= 77));
    }
}
