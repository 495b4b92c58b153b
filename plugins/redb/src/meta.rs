//! The values beside the log: vote, committed, purged, and the number of the commit, each with a
//! checksum of its own.
//!
//! `version u8 | body | crc32c u32` over group, name, version and body, so that a value under the
//! key of another is damage too. The body of `purged` is the index, then the framework's marker;
//! that of `commit`, which stands under group 0 and is the whole file's, is the number, `u64`.

use bytes::Bytes;
use quorate::error::StorageError;
use quorate::types::GroupId;

const VERSION: u8 = 1;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// The last vote.
    Vote,
    /// The last committed marker that reached the disk.
    Committed,
    /// The last index purged, and its marker.
    Purged,
    /// The number of the commit that wrote it. It is no group's: see [`COMMIT_GROUP`].
    Commit,
}

/// Where the number of the commit stands.
pub(crate) const COMMIT_GROUP: GroupId = GroupId(0);

impl Name {
    /// Every name there is.
    pub(crate) const ALL: [Self; 4] = [Self::Vote, Self::Committed, Self::Purged, Self::Commit];

    /// As in the key.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::Committed => "committed",
            Self::Purged => "purged",
            Self::Commit => "commit",
        }
    }
}

/// The last purge of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purged {
    /// The last index purged.
    pub(crate) upto: u64,
    /// What the framework gave with it.
    pub(crate) marker: Bytes,
}

impl Purged {
    /// The body of the value.
    pub(crate) fn body(&self) -> Vec<u8> {
        [&self.upto.to_le_bytes()[..], &self.marker].concat()
    }

    /// Reads a body.
    pub(crate) fn parse(group: GroupId, body: &Bytes) -> Result<Self, StorageError> {
        let Some(upto) = body.first_chunk() else {
            return Err(damaged(group, Name::Purged, "it has no index"));
        };
        Ok(Self { upto: u64::from_le_bytes(*upto), marker: body.slice(upto.len()..) })
    }
}

/// The value for the number of a commit.
pub(crate) fn encode_commit(number: u64) -> Vec<u8> {
    encode(COMMIT_GROUP, Name::Commit, &number.to_le_bytes())
}

/// The number of a commit, checked.
pub(crate) fn decode_commit(value: &[u8]) -> Result<u64, StorageError> {
    let body = decode(COMMIT_GROUP, Name::Commit, value)?;
    let number = body.as_ref().try_into().map(u64::from_le_bytes);
    number.map_err(|_| damaged(COMMIT_GROUP, Name::Commit, "it is no number"))
}

/// The value for `body`.
pub(crate) fn encode(group: GroupId, name: Name, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(body.len() + 5);
    value.push(VERSION);
    value.extend_from_slice(body);
    let crc = checksum(group, name, &value);
    value.extend_from_slice(&crc.to_le_bytes());
    value
}

/// The body of a value, checked.
pub(crate) fn decode(group: GroupId, name: Name, value: &[u8]) -> Result<Bytes, StorageError> {
    let Some((content, crc)) = value.split_last_chunk() else {
        return Err(damaged(group, name, "it is too short"));
    };
    if checksum(group, name, content) != u32::from_le_bytes(*crc) {
        return Err(damaged(group, name, "its checksum differs"));
    }
    match content {
        [VERSION, body @ ..] => Ok(Bytes::copy_from_slice(body)),
        [found, ..] => Err(StorageError::Version {
            what: "a value of log.redb",
            found: (*found).into(),
            supported: VERSION.into(),
        }),
        [] => Err(damaged(group, name, "it is too short")),
    }
}

fn checksum(group: GroupId, name: Name, content: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&group.get().to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, name.as_str().as_bytes()), content)
}

fn damaged(group: GroupId, name: Name, detail: &str) -> StorageError {
    let what = match name {
        Name::Commit => "the number of the commit".to_owned(),
        name => format!("the {} of {group}", name.as_str()),
    };
    StorageError::Corrupt { what, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_these_bytes() {
        let value = encode(GroupId(7), Name::Vote, b"T3 n1");
        assert_eq!(value, *b"\x01T3 n1\xed\x90\x66\x3b");
    }

    #[test]
    fn the_number_of_a_commit_has_these_bytes() {
        let value = encode_commit(0x0102);
        assert_eq!(value, *b"\x01\x02\x01\0\0\0\0\0\0\x90\x61\x0e\x7c");
        assert_eq!(decode_commit(&value).expect("whole"), 0x0102);
        assert!(decode_commit(&encode(COMMIT_GROUP, Name::Commit, b"T3 n1")).is_err());
    }

    #[test]
    fn a_value_reads_back_under_its_own_key_alone() {
        let value = encode(GroupId(7), Name::Vote, b"T3 n1");
        assert_eq!(decode(GroupId(7), Name::Vote, &value).expect("whole"), &b"T3 n1"[..]);
        assert!(decode(GroupId(8), Name::Vote, &value).is_err());
        assert!(decode(GroupId(7), Name::Committed, &value).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let value = encode(GroupId(7), Name::Vote, b"T3 n1");
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(GroupId(7), Name::Vote, &flipped).is_err(), "bit {bit}");
        }
        for len in 0..value.len() {
            assert!(decode(GroupId(7), Name::Vote, &value[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_purge_marker_keeps_its_index() {
        let purged = Purged { upto: 300, marker: Bytes::from_static(b"T2-300") };
        let body = Bytes::from(purged.body());
        assert_eq!(Purged::parse(GroupId(0), &body).expect("whole"), purged);
        assert!(Purged::parse(GroupId(0), &body.slice(..7)).is_err());
    }
}
