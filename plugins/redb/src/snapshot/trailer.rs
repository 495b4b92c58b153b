//! The end of a snapshot file.
//!
//! `magic 8 | version u32 | group u64 | term u64 | index u64 | length u64 | crc32c of the bytes u32
//! | crc32c of this trailer u32`, little endian.

use std::path::Path;

use quorate::error::StorageError;
use quorate::types::{GroupId, LogId};

use crate::hooks::{Files, ReadFile};

const MAGIC: [u8; 8] = *b"QUORSNAP";
const VERSION: u32 = 1;
const LEN: usize = 8 + 4 + 8 + 8 + 8 + 8 + 4 + 4;

/// What a snapshot file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Whose it is.
    pub(super) group: GroupId,
    /// The last log id it covers.
    pub(super) covers: LogId,
    /// How many bytes come before the trailer.
    pub(super) len: u64,
    /// Their checksum.
    pub(super) crc: u32,
}

impl Trailer {
    /// The bytes in the file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let numbers = [self.group.get(), self.covers.term.get(), self.covers.index.get(), self.len];
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the trailer of the file at `path`, which is named for `group` and `covers`. The bytes
    /// before it are checked when they are read.
    pub(super) fn read(
        files: &dyn Files,
        path: &Path,
        group: GroupId,
        covers: LogId,
    ) -> Result<(Self, Box<dyn ReadFile>), StorageError> {
        let io = |error| StorageError::io("read", path.to_owned(), error);
        let mut file = files.open(path).map_err(io)?;
        let total = file.len().map_err(io)?;
        let Some(len) = total.checked_sub(LEN as u64) else {
            return Err(damaged(path, format!("it has {total} bytes, too few for its trailer")));
        };
        let mut bytes = [0; LEN];
        file.read_at(len, &mut bytes).map_err(io)?;
        let trailer = Self::decode(&bytes, path)?;
        if trailer.len != len {
            return Err(damaged(path, format!("it has {len} bytes and says {}", trailer.len)));
        }
        if (trailer.group, trailer.covers) != (group, covers) {
            return Err(damaged(path, format!("it says {} {}", trailer.group, trailer.covers)));
        }
        Ok((trailer, file))
    }

    fn decode(bytes: &[u8; LEN], path: &Path) -> Result<Self, StorageError> {
        let number = |at: usize| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes of a fixed length"))
        };
        let short = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes of a fixed length"))
        };
        if crc32c::crc32c(&bytes[..LEN - 4]) != short(LEN - 4) {
            return Err(damaged(path, "the checksum of its trailer differs".to_owned()));
        }
        if bytes[..8] != MAGIC {
            return Err(damaged(path, "it is not a snapshot".to_owned()));
        }
        let found = short(8);
        if found != VERSION {
            return Err(StorageError::Version { what: "a snapshot", found, supported: VERSION });
        }
        Ok(Self {
            group: GroupId(number(12)),
            covers: LogId::new(number(20), number(28)),
            len: number(36),
            crc: short(44),
        })
    }
}

/// The file at `path` is not what was written.
pub(super) fn damaged(path: &Path, detail: String) -> StorageError {
    StorageError::Corrupt { what: path.display().to_string(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_these_bytes() {
        let trailer = Trailer { group: GroupId(1), covers: LogId::new(3, 17), len: 300, crc: 0x0403_0201 };
        let bytes = trailer.encode();
        let mut golden = b"QUORSNAP\x01\0\0\0".to_vec();
        golden.extend(b"\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x11\0\0\0\0\0\0\0\x2c\x01\0\0\0\0\0\0");
        golden.extend(b"\x01\x02\x03\x04");
        golden.extend([0x6d, 0xaf, 0x1f, 0xdb]);
        assert_eq!(bytes, golden);
        let bytes: [u8; LEN] = bytes.try_into().expect("its length");
        assert_eq!(Trailer::decode(&bytes, Path::new("s")).expect("whole"), trailer);
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Trailer::decode(&flipped, Path::new("s")).is_err(), "bit {bit}");
        }
    }
}
