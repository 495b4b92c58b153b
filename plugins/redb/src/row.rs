//! A row of the log: many entries under the index of the first.
//!
//! `version u8 | count u32 | end u32 * count | entry bytes`, little endian. An end counts from the
//! first byte of the first entry. The entries carry the framework's checksum; a row is checked
//! against its bounds alone.

use std::ops::Range;

use bytes::Bytes;

/// The version this build writes, and the only one it reads.
pub(crate) const VERSION: u8 = 1;

/// The most bytes a row of several entries has. redb rounds a value up to a power-of-two run of
/// pages: with a page to spare for its own header, this is the largest that fits in 64 KiB.
pub(crate) const MAX_BYTES: usize = 60 * 1024;

const PAGE: usize = 4096;
/// More than redb needs in a page that holds one row: its header, the key, where the value ends.
const PAGE_HEAD: usize = 64;

const HEAD: usize = 5;
const END: usize = 4;

/// How a row is damaged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    #[error("the row has {len} bytes, too few for its header")]
    Short { len: usize },
    #[error("the row is empty")]
    Empty,
    #[error("the row says {count} entries of {end} bytes together and has {len} bytes")]
    Length { count: usize, end: usize, len: usize },
    #[error("the entry lies at {start}..{end} of {len} bytes")]
    Bounds { start: usize, end: usize, len: usize },
    #[error("the row has format version {found}")]
    Version { found: u8 },
}

/// The bytes of a row of `count` entries that have `payload` bytes together.
pub(crate) fn size(count: usize, payload: usize) -> usize {
    HEAD + END * count + payload
}

/// Whether an entry of `len` bytes still fits into a row of `count` entries and `payload` bytes.
pub(crate) fn fits(count: usize, payload: usize, len: usize) -> bool {
    size(count + 1, payload + len) <= MAX_BYTES
}

/// How many of `entries`, from the first, go into one row. redb rounds a row up to a power-of-two run
/// of pages: where that would leave a quarter of the run empty or more, half a run comes first.
pub(crate) fn count_of_first(entries: &[&Bytes]) -> usize {
    let pages = |len: usize| (len + PAGE_HEAD).div_ceil(PAGE);
    let all = pages(size(entries.len(), entries.iter().map(|entry| entry.len()).sum()));
    let run = all.next_power_of_two();
    if run < 4 || all * 4 > run * 3 {
        return entries.len();
    }
    let (mut count, mut payload) = (0, 0);
    for entry in entries {
        payload += entry.len();
        if pages(size(count + 1, payload)) > run / 2 {
            break;
        }
        count += 1;
    }
    count.max(1)
}

/// Writes a row into `row`, which has the size that [`size`] says.
pub(crate) fn encode(row: &mut [u8], entries: &[&Bytes]) {
    // Below 2^32 by far: a row is small, and the framework bounds the entry that has its own.
    let (head, rest) = row.split_at_mut(HEAD);
    head[0] = VERSION;
    head[1..].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    let (ends, payload) = rest.split_at_mut(END * entries.len());
    let mut at = 0;
    for (entry, end) in entries.iter().zip(ends.chunks_exact_mut(END)) {
        payload[at..at + entry.len()].copy_from_slice(entry);
        at += entry.len();
        end.copy_from_slice(&(at as u32).to_le_bytes());
    }
}

/// A row as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    ends: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Row<'a> {
    /// Checks the header and that the last entry ends with the row.
    pub(crate) fn parse(row: &'a [u8]) -> Result<Self, RowError> {
        let Some((head, rest)) = row.split_at_checked(HEAD) else {
            return Err(RowError::Short { len: row.len() });
        };
        if head[0] != VERSION {
            return Err(RowError::Version { found: head[0] });
        }
        let count = number(&head[1..]);
        if count == 0 {
            return Err(RowError::Empty);
        }
        let ends = count.checked_mul(END).and_then(|len| rest.split_at_checked(len));
        let Some((ends, payload)) = ends else {
            return Err(RowError::Length { count, end: 0, len: row.len() });
        };
        let parsed = Self { ends, payload };
        if parsed.end(count - 1) != payload.len() {
            return Err(RowError::Length { count, end: parsed.end(count - 1), len: row.len() });
        }
        Ok(parsed)
    }

    /// How many entries it has, at least one.
    pub(crate) fn count(&self) -> usize {
        self.ends.len() / END
    }

    /// Where entry `at` lies in the payload.
    pub(crate) fn bounds(&self, at: usize) -> Result<Range<usize>, RowError> {
        let start = if at == 0 { 0 } else { self.end(at - 1) };
        let (end, len) = (self.end(at), self.payload.len());
        if start > end || end > len {
            return Err(RowError::Bounds { start, end, len });
        }
        Ok(start..end)
    }

    /// The bytes of all entries, one after the other.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The row with its first `keep` entries alone.
    pub(crate) fn prefix(&self, keep: usize) -> Result<Vec<u8>, RowError> {
        let payload = &self.payload[..self.bounds(keep - 1)?.end];
        let mut row = Vec::with_capacity(size(keep, payload.len()));
        row.push(VERSION);
        row.extend_from_slice(&(keep as u32).to_le_bytes());
        row.extend_from_slice(&self.ends[..keep * END]);
        row.extend_from_slice(payload);
        Ok(row)
    }

    fn end(&self, at: usize) -> usize {
        number(&self.ends[at * END..(at + 1) * END])
    }
}

fn number(bytes: &[u8]) -> usize {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(entries: &[&'static [u8]]) -> Vec<u8> {
        let entries: Vec<Bytes> = entries.iter().map(|entry| Bytes::from_static(entry)).collect();
        let mut row = vec![0xff; size(entries.len(), entries.iter().map(Bytes::len).sum())];
        encode(&mut row, &entries.iter().collect::<Vec<_>>());
        row
    }

    #[test]
    fn a_row_has_these_bytes() {
        let golden = [1, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, b'a', b'b', b'c', b'd', b'e'];
        assert_eq!(row(&[b"ab", b"", b"cde"]), golden);
    }

    #[test]
    fn a_row_gives_back_its_entries() {
        let bytes = row(&[b"ab", b"", b"cde"]);
        let row = Row::parse(&bytes).expect("a whole row");
        let entries: Vec<&[u8]> =
            (0..row.count()).map(|at| &row.payload()[row.bounds(at).expect("in bounds")]).collect();
        assert_eq!(entries, [&b"ab"[..], b"", b"cde"]);
    }

    #[test]
    fn a_prefix_is_the_row_it_would_have_been() {
        let bytes = row(&[b"ab", b"", b"cde"]);
        let parsed = Row::parse(&bytes).expect("a whole row");
        assert_eq!(parsed.prefix(2).expect("in bounds"), row(&[b"ab", b""]));
        assert_eq!(parsed.prefix(3).expect("in bounds"), bytes);
    }

    #[test]
    fn every_truncated_row_is_an_error() {
        let bytes = row(&[b"ab", b"", b"cde"]);
        for len in 0..bytes.len() {
            assert!(Row::parse(&bytes[..len]).is_err(), "{len} bytes were taken for a row");
        }
    }

    #[test]
    fn every_flipped_bit_is_an_error_or_stays_in_bounds() {
        let bytes = row(&[b"ab", b"", b"cde"]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(row) = Row::parse(&flipped) {
                for at in 0..row.count() {
                    if let Ok(bounds) = row.bounds(at) {
                        assert!(bounds.end <= row.payload().len());
                    }
                }
            }
        }
        let mut unknown = bytes;
        unknown[0] = 2;
        assert_eq!(Row::parse(&unknown).err(), Some(RowError::Version { found: 2 }));
    }

    #[test]
    fn a_row_that_would_leave_much_of_its_pages_empty_is_split() {
        let of = |count: usize, len: usize| {
            let entry = Bytes::from(vec![7; len]);
            count_of_first(&vec![&entry; count])
        };
        assert_eq!(of(15, 256), 15, "one page");
        assert_eq!(of(20, 256), 20, "two pages: the second row would take one of its own");
        assert_eq!(of(64, 256), 62, "16 KiB and a little: four pages, and one more");
        assert_eq!(of(100, 256), 100, "most of eight pages");
        assert_eq!(of(2, 9000), 1);
        assert_eq!(of(1, 5 * PAGE), 1, "an entry is never split");
        let (mut left, mut pages) = (150, 0);
        while left > 0 {
            let count = of(left, 256);
            pages += (size(count, count * 256) + PAGE_HEAD).div_ceil(PAGE).next_power_of_two();
            left -= count;
        }
        assert_eq!(pages, 10, "39 KB take 40");
    }

    #[test]
    fn a_full_row_stays_within_its_pages() {
        assert!(fits(0, 0, MAX_BYTES - HEAD - END));
        assert!(!fits(0, 0, MAX_BYTES - HEAD - END + 1));
        assert!(!fits(1, MAX_BYTES - HEAD - END, 0));
    }
}
