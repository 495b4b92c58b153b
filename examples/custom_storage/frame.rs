//! How it is written: writes in frames that say how long they are and whether they are whole.

use std::path::Path;
use std::slice;

use bytes::{Buf, BufMut, Bytes};
use crc32c::{crc32c, crc32c_append};
use quorate::error::StorageError;
use quorate::storage::Write;
use quorate::types::{GroupId, LogIndex};

/// Adds a write to `out`: a group, a kind, a number and some byte strings.
pub(crate) fn encode(group: GroupId, write: &Write, out: &mut Vec<u8>) {
    let (kind, number, strings) = match write {
        Write::Append { first, entries } => (1, first.0, &entries[..]),
        Write::Truncate { from } => (2, from.0, &[][..]),
        Write::Purge { upto, marker } => (3, upto.0, slice::from_ref(marker)),
        Write::Vote(vote) => (4, 0, slice::from_ref(vote)),
        Write::Committed(marker) => (5, 0, slice::from_ref(marker)),
    };
    out.put_u64_le(group.0);
    out.put_u8(kind);
    out.put_u64_le(number);
    out.put_u32_le(strings.len() as u32);
    for string in strings {
        out.put_u32_le(string.len() as u32);
        out.extend_from_slice(string);
    }
}

/// Decodes the next write. The checksum was right, so these are bytes of [`encode`].
pub(crate) fn decode(from: &mut Bytes) -> Result<(GroupId, Write), StorageError> {
    let (group, kind, number) = (GroupId(from.get_u64_le()), from.get_u8(), LogIndex(from.get_u64_le()));
    let mut strings = Vec::new();
    for _ in 0..from.get_u32_le() {
        let len = from.get_u32_le() as usize;
        // A copy, or one entry would keep the whole file in memory.
        strings.push(Bytes::copy_from_slice(&from.split_to(len)));
    }
    let write = match (kind, &mut strings[..]) {
        (1, _) => Write::Append { first: number, entries: strings },
        (2, []) => Write::Truncate { from: number },
        (3, [marker]) => Write::Purge { upto: number, marker: std::mem::take(marker) },
        (4, [vote]) => Write::Vote(std::mem::take(vote)),
        (5, [marker]) => Write::Committed(std::mem::take(marker)),
        _ => return Err(StorageError::Version { what: "a write", found: kind.into(), supported: 5 }),
    };
    Ok((group, write))
}

pub(crate) const HEADER: usize = 16;

/// Length and checksum of `bytes`, a checksum of those two and of where the frame begins, and
/// `bytes`. So a copy of a frame elsewhere, as in an entry, is none.
pub(crate) fn frame(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + bytes.len());
    frame.put_u64_le(bytes.len() as u64);
    frame.put_u32_le(crc32c(bytes));
    frame.put_u32_le(crc32c_append(at as u32, &frame));
    frame.extend_from_slice(bytes);
    frame
}

/// What the frame that begins at `at` holds, if there is a whole one.
pub(crate) fn frame_at(file: &Bytes, at: usize) -> Option<Bytes> {
    let mut header = file.get(at..at + HEADER)?;
    let intact = crc32c_append(at as u32, &header[..12]);
    let (len, checksum) = (header.get_u64_le() as usize, header.get_u32_le());
    if header.get_u32_le() != intact || file.len() - at - HEADER < len {
        return None;
    }
    let bytes = file.slice(at + HEADER..at + HEADER + len);
    (crc32c(&bytes) == checksum).then_some(bytes)
}

/// The error of a file that has no whole frame where there is one.
pub(crate) fn damaged(path: &Path, detail: impl Into<String>) -> StorageError {
    StorageError::Corrupt { what: path.display().to_string(), detail: detail.into() }
}
