//! A checksum in memory of every page that was read or written since the file was opened.
//!
//! redb checks its pages when the file is opened and not when it reads one again. A bit that flips
//! under a running node would give a wrong answer, and worse: the page is copied with the next change
//! beside it, under a checksum that is right. Four bytes a page of 4 KiB see to it that what comes back
//! is what was written, or what the open has checked.

use std::io;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use crate::backend::PAGE;

/// The checksums, by the number of the page. 0: not known.
#[derive(Debug, Default)]
pub(crate) struct Sums(RwLock<Vec<u32>>);

/// A page that is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("the page at byte {at} is not what was written")]
struct Changed {
    at: u64,
}

fn sum(page: &[u8]) -> u32 {
    crc32c::crc32c(page).max(1)
}

/// The pages that lie wholly in `data`, which is at `offset`: the number of the first, and each.
fn whole_pages(offset: u64, data: &[u8]) -> (usize, impl Iterator<Item = &[u8]>) {
    let first = offset.div_ceil(PAGE);
    let skip = data.len().min((first * PAGE - offset) as usize);
    (first as usize, data[skip..].chunks_exact(PAGE as usize))
}

impl Sums {
    /// What is in `range` may be anything.
    pub(crate) fn forget(&self, range: Range<u64>) {
        let mut sums = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let end = (range.end.div_ceil(PAGE) as usize).min(sums.len());
        let first = ((range.start / PAGE) as usize).min(end);
        sums[first..end].fill(0);
    }

    /// `data` was written at `offset`, and [`Self::forget`] was called before.
    pub(crate) fn wrote(&self, offset: u64, data: &[u8]) {
        let (first, pages) = whole_pages(offset, data);
        let new: Vec<u32> = pages.map(sum).collect();
        self.put(first, &new);
    }

    fn put(&self, first: usize, new: &[u32]) {
        let mut sums = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if sums.len() < first + new.len() {
            sums.resize(first + new.len(), 0);
        }
        sums[first..first + new.len()].copy_from_slice(new);
    }

    /// `data` was read at `offset`: fails when a page of it is not what was there before.
    pub(crate) fn check(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (first, pages) = whole_pages(offset, data);
        let found: Vec<u32> = pages.map(sum).collect();
        let mut new = false;
        {
            let sums = self.0.read().unwrap_or_else(PoisonError::into_inner);
            for (number, found) in (first..).zip(&found) {
                match sums.get(number).copied().unwrap_or(0) {
                    0 => new = true,
                    known if known == *found => {}
                    _ => {
                        let changed = Changed { at: number as u64 * PAGE };
                        return Err(io::Error::new(io::ErrorKind::InvalidData, changed));
                    }
                }
            }
        }
        if new {
            self.put(first, &found);
        }
        Ok(())
    }

    /// The file has `len` bytes now.
    pub(crate) fn set_len(&self, len: u64) {
        let mut sums = self.0.write().unwrap_or_else(PoisonError::into_inner);
        sums.truncate((len / PAGE) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: usize = PAGE as usize;

    #[test]
    fn what_was_read_or_written_must_come_back() {
        let sums = Sums::default();
        let pages = [vec![1; P], vec![2; P], vec![3; P]].concat();
        sums.check(0, &pages).expect("nothing is known of it");
        sums.check(0, &pages).expect("the same");
        let mut other = pages.clone();
        other[P + 7] ^= 1;
        let error = sums.check(0, &other).expect_err("a flipped bit");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "the page at byte 4096 is not what was written");
        sums.check(P as u64, &other[P..2 * P]).expect_err("alone too");
        sums.check(PAGE * 2, &other[2 * P..]).expect("its neighbour is sound");
        sums.forget(PAGE..PAGE * 2);
        sums.wrote(PAGE, &other[P..2 * P]);
        sums.check(0, &other).expect("as it was written");
        sums.check(0, &pages).expect_err("as it was before");
    }

    #[test]
    fn of_what_is_no_whole_page_nothing_is_known() {
        let sums = Sums::default();
        sums.wrote(0, &vec![1; 3 * P]);
        sums.check(100, &vec![2; P]).expect("parts of two pages");
        sums.check(100, &vec![2; 2 * P]).expect_err("a page, and parts of two");
        sums.forget(PAGE - 1..PAGE);
        sums.check(0, &vec![2; P]).expect("a part of it was written");
        sums.check(PAGE, &vec![2; P]).expect_err("not the next one");
        sums.set_len(PAGE + 1);
        sums.check(PAGE, &vec![2; P]).expect("it was cut off");
        sums.check(0, &[]).expect("nothing");
        sums.forget(PAGE * 90..PAGE * 99);
    }
}
