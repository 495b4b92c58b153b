//! A snapshot that has not arrived whole: how much of which one is there.
//!
//! The bytes are a file such as `g0-T3-17.300-04030201.part`, named for all that tells one snapshot
//! from another. Beside it `....part.kept` says how far it was flushed, and the checksum up to there:
//! `magic 8 | version u32 | length u64 | crc32c of the bytes u32 | crc32c of this record u32`, little
//! endian. What lies behind that length is nobody's and is written again.

use std::path::{Path, PathBuf};

use quorate::error::StorageError;
use quorate::storage::SnapshotId;
use quorate::types::{GroupId, LogId};

use super::TEMP;
use crate::hooks::Files;

const MAGIC: [u8; 8] = *b"QUORPART";
const VERSION: u32 = 1;
const LEN: usize = 8 + 4 + 8 + 4 + 4;

/// How the name of such a file ends.
pub(super) const PART: &str = ".part";
/// How the name of its record goes on.
pub(super) const KEPT: &str = ".kept";

/// How much of a snapshot is there and flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Bytes.
    pub(super) len: u64,
    /// Their checksum.
    pub(super) crc: u32,
}

/// The name of the file for the bytes of `id`.
pub(super) fn name(group: GroupId, id: &SnapshotId) -> String {
    format!("{group}-{}.{}-{:08x}{PART}", id.covers, id.len, id.fingerprint)
}

/// Whose a file is that has such a name or is the record of one, and what it is to cover.
pub(super) fn parse_name(text: &str) -> Option<(GroupId, LogId)> {
    let text = text.strip_suffix(KEPT).unwrap_or(text);
    let (head, rest) = text.strip_suffix(PART)?.split_once('.')?;
    let (group, covers) = super::parse_name(&format!("{head}.snap"))?;
    let (len, fingerprint) = rest.split_once('-')?;
    let id = SnapshotId {
        covers,
        len: len.parse().ok()?,
        fingerprint: u32::from_str_radix(fingerprint, 16).ok()?,
    };
    (name(group, &id) == text).then_some((group, covers))
}

/// The record of the file at `part`.
pub(super) fn kept_path(part: &Path) -> PathBuf {
    let mut path = part.as_os_str().to_owned();
    path.push(KEPT);
    path.into()
}

impl Kept {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.len.to_le_bytes());
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk()?;
        let rest = content.strip_prefix(&MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
        let (len, rest) = rest.split_first_chunk()?;
        let (sum, rest) = rest.split_first_chunk()?;
        let whole = rest.is_empty() && crc32c::crc32c(content) == u32::from_le_bytes(*crc);
        whole.then(|| Self { len: u64::from_le_bytes(*len), crc: u32::from_le_bytes(*sum) })
    }

    /// Reads the record of the file at `part`. One that is missing, damaged or of another version is
    /// worth a few bytes sent again, not an error.
    pub(super) fn read(files: &dyn Files, part: &Path) -> Option<Self> {
        let mut file = files.open(&kept_path(part)).ok()?;
        let mut bytes = [0; LEN];
        if file.len().ok()? != LEN as u64 {
            return None;
        }
        file.read_at(0, &mut bytes).ok()?;
        let kept = Self::decode(&bytes)?;
        let there = files.open(part).and_then(|file| file.len()).ok()?;
        (kept.len <= there).then_some(kept)
    }

    /// Writes the record of the file at `part`, which was flushed. Both are there after a power cut.
    pub(super) fn write(self, files: &dyn Files, part: &Path) -> Result<(), StorageError> {
        let path = kept_path(part);
        let mut temp = path.clone().into_os_string();
        temp.push(TEMP);
        let temp = PathBuf::from(temp);
        let written = (|| {
            let mut file = files.create(&temp)?;
            file.append(&self.encode())?;
            file.sync()?;
            drop(file);
            files.rename(&temp, &path)?;
            files.sync_dir(part.parent().unwrap_or_else(|| Path::new(".")))
        })();
        written.map_err(|error| StorageError::io("write", path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_these_bytes() {
        let kept = Kept { len: 300, crc: 0x0403_0201 };
        let bytes = kept.encode();
        let mut golden = b"QUORPART\x01\0\0\0\x2c\x01\0\0\0\0\0\0\x01\x02\x03\x04".to_vec();
        golden.extend(crc32c::crc32c(&golden).to_le_bytes());
        assert_eq!(bytes, golden);
        assert_eq!(Kept::decode(&bytes), Some(kept));
        for bit in 0..LEN * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Kept::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_name_says_which_bytes_they_are() {
        let id = SnapshotId { covers: LogId::new(3, 17), len: 300, fingerprint: 0x0403_0201 };
        assert_eq!(name(GroupId(0), &id), "g0-T3-17.300-04030201.part");
        for name in ["g0-T3-17.300-04030201.part", "g0-T3-17.300-04030201.part.kept"] {
            assert_eq!(parse_name(name), Some((GroupId(0), LogId::new(3, 17))), "{name}");
        }
        for other in ["g0-T3-17.snap", "g0-T3-17.300.part", "g0-T3-17.300-4030201.part", "notes.part"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
