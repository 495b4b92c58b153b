//! The backend under redb: takes space ahead of need, remembers how an operation failed, and sees to it
//! that what is read is what was written.
//!
//! A flush of a file that grew costs about three times one of a file that did not, since the file
//! system's own journal is flushed with it. So bytes are zero-filled in steps before redb writes
//! there: a piece at a time, between two commits, the step that is being written and the one after
//! it. redb itself doubles the length of its file without writing it; the length stays redb's.

use std::collections::BTreeSet;
use std::io;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use redb::{BackendError, StorageBackend};

use crate::sums::Sums;

/// redb's file is made of pages of this size.
pub(crate) const PAGE: u64 = 4096;

const ZEROS: &[u8] = &[0; 256 * 1024];

/// Whether there was no space for it.
pub(crate) fn lacks_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What a backend and those above redb have to tell each other: how operations failed, for those
/// who decide what a failed transaction means, and whether space is short.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    no_space: AtomicBool,
    other: AtomicBool,
    thrifty: AtomicBool,
    ahead: Mutex<Weak<Ahead>>,
    /// Kept when the file is opened again in the middle of a write.
    sums: Arc<Sums>,
}

impl Shared {
    /// Forgets them before a transaction.
    pub(crate) fn forget(&self) {
        self.no_space.store(false, Ordering::Relaxed);
        self.other.store(false, Ordering::Relaxed);
    }

    /// Whether nothing failed but a write for which there was no space. A failed flush counts as
    /// other, even for want of space: what it left behind may reappear.
    pub(crate) fn only_space_failed(&self) -> bool {
        self.no_space.load(Ordering::Relaxed) && !self.other.load(Ordering::Relaxed)
    }

    /// Whether to take no space ahead of need.
    pub(crate) fn set_thrifty(&self, thrifty: bool) {
        self.thrifty.store(thrifty, Ordering::Relaxed);
    }

    /// Takes up to `most` bytes of space ahead of need; whether there is more to take.
    pub(crate) fn grow(&self, most: u64) -> bool {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let Some(ahead) = ahead else { return false };
        if self.thrifty.load(Ordering::Relaxed) {
            ahead.steps().wanted.clear();
            return false;
        }
        ahead.grow(most)
    }

    fn add(&self, error: &io::Error, may_lack_space: bool) {
        let seen = if may_lack_space && lacks_space(error) { &self.no_space } else { &self.other };
        seen.store(true, Ordering::Relaxed);
    }
}

/// What a file has taken ahead of need, and what it is about to take.
///
/// Only the thread that writes to the file may call [`Self::grow`]: zeros must not land on what it
/// writes meanwhile.
#[derive(Debug)]
pub(crate) struct Ahead {
    inner: Box<dyn StorageBackend>,
    sums: Arc<Sums>,
    /// Bytes, a multiple of a page; 0 takes nothing.
    step: u64,
    steps: Mutex<Steps>,
}

#[derive(Debug, Default)]
struct Steps {
    /// How long the file was when it was opened.
    opened: u64,
    /// For each step of the file, up to where something may have been written. redb does not fill
    /// its file from the front, so one edge for all of it would not do.
    edges: Vec<u64>,
    /// The steps to be filled.
    wanted: BTreeSet<usize>,
}

impl Ahead {
    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `range` is about to be written: what is left of its steps, and the step after them, are
    /// wanted, if they have not been filled.
    fn note_write(&self, range: Range<u64>) {
        if self.step == 0 || range.is_empty() {
            return;
        }
        let mut steps = self.steps();
        let (first, last) = (range.start / self.step, (range.end - 1) / self.step);
        while steps.edges.len() <= last as usize + 1 {
            let start = steps.edges.len() as u64 * self.step;
            steps.edges.push(start);
        }
        for number in first..=last + 1 {
            let end = (number + 1) * self.step;
            let number = number as usize;
            if steps.edges[number] < end {
                steps.wanted.insert(number);
                // Behind what was there before nothing is known from where writes went.
                if number as u64 <= last && end > steps.opened {
                    steps.edges[number] = steps.edges[number].max(range.end.min(end));
                }
            }
        }
    }

    /// Fills up to `most` bytes of what is wanted; whether there is more. What fails is given up:
    /// space taken ahead is not owed to anyone, and the write that needs it says what is wrong.
    pub(crate) fn grow(&self, most: u64) -> bool {
        let mut steps = self.steps();
        let Some(number) = steps.wanted.first().copied() else { return false };
        let Ok(len) = self.inner.len() else { return false };
        let (from, end) = (steps.edges[number], len.min((number as u64 + 1) * self.step));
        let upto = end.min(from + most);
        let filled = if from < upto { self.zeros(from..upto, steps.opened) } else { Ok(()) };
        if filled.is_ok() {
            steps.edges[number] = from.max(upto);
        }
        if filled.is_err() || upto >= end {
            steps.wanted.remove(&number);
        }
        !steps.wanted.is_empty()
    }

    fn zeros(&self, range: Range<u64>, opened: u64) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let zeros = &ZEROS[..ZEROS.len().min((range.end - at) as usize)];
            // Where there may be data zeros go on zeros alone, which changes nothing but the space.
            if at >= opened || self.holds_nothing(at, zeros.len(), opened)? {
                self.sums.forget(at..at + zeros.len() as u64);
                self.inner.write(at, zeros)?;
            }
            at += zeros.len() as u64;
        }
        Ok(())
    }

    fn holds_nothing(&self, at: u64, len: usize, opened: u64) -> io::Result<bool> {
        let mut there = vec![0; len.min((opened - at) as usize)];
        self.inner.read(at, &mut there)?;
        Ok(there.iter().all(|byte| *byte == 0))
    }

    fn set_len(&self, len: u64) {
        if self.step == 0 {
            return;
        }
        let mut steps = self.steps();
        let numbers = len.div_ceil(self.step) as usize;
        steps.edges.truncate(numbers);
        steps.wanted.retain(|number| *number < numbers);
        for edge in &mut steps.edges {
            *edge = len.min(*edge);
        }
        steps.opened = len.min(steps.opened);
    }
}

/// A backend that notes where it is written, so that space is taken before it is needed. Locking is
/// the inner backend's.
#[derive(Debug)]
pub(crate) struct Preallocated {
    ahead: Arc<Ahead>,
    shared: Arc<Shared>,
}

impl Preallocated {
    /// Wraps `inner`, of which about the first `known` bytes take space already.
    pub(crate) fn new(
        inner: Box<dyn StorageBackend>,
        step: u64,
        known: u64,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let step = step.next_multiple_of(PAGE);
        let mut steps = Steps::default();
        if step > 0 {
            steps.opened = inner.len()?;
            let numbers = 0..steps.opened.div_ceil(step);
            // A step that takes its space is full as far as anyone here knows.
            let edge = |number: u64| if number < known / step { (number + 1) * step } else { number * step };
            steps.edges = numbers.map(edge).collect();
        }
        let sums = shared.sums.clone();
        let ahead = Arc::new(Ahead { inner, sums, step, steps: Mutex::new(steps) });
        *shared.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&ahead);
        Ok(Self { ahead, shared })
    }

    fn note<T>(&self, result: io::Result<T>, may_lack_space: bool) -> io::Result<T> {
        result.inspect_err(|error| self.shared.add(error, may_lack_space))
    }
}

impl StorageBackend for Preallocated {
    fn len(&self) -> io::Result<u64> {
        self.note(self.ahead.inner.len(), false)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.ahead.inner.read(offset, out).and_then(|()| self.ahead.sums.check(offset, out));
        self.note(read, false)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.len()?;
        self.ahead.sums.set_len(len.min(before));
        let result = self.ahead.inner.set_len(len);
        if result.is_err() {
            // redb refuses a file whose length is not one that it set. The first error is the one
            // to report; if this fails too, the next open says so.
            drop(self.ahead.inner.set_len(before));
        } else {
            self.ahead.set_len(len);
        }
        self.note(result, true)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.ahead.inner.sync_data(), false)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let range = offset..offset + data.len() as u64;
        self.ahead.note_write(range.clone());
        // One that fails may have got half way.
        self.ahead.sums.forget(range);
        let written = self.ahead.inner.write(offset, data);
        if written.is_ok() {
            self.ahead.sums.wrote(offset, data);
        }
        self.note(written, true)
    }

    fn close(&self) -> io::Result<()> {
        self.ahead.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.ahead.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.ahead.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.ahead.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.ahead.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.ahead.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.ahead.inner.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes in memory, with room for so many; what was written is remembered.
    #[derive(Debug)]
    struct Small {
        bytes: Mutex<Vec<u8>>,
        written: Mutex<Vec<(u64, u64)>>,
        room: u64,
        break_set_len: AtomicBool,
    }

    #[derive(Clone, Debug)]
    struct Handle(Arc<Small>);

    impl StorageBackend for Handle {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.bytes.lock().expect("unpoisoned").len() as u64)
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            out.copy_from_slice(&self.0.bytes.lock().expect("unpoisoned")[offset as usize..][..out.len()]);
            Ok(())
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            let broken = self.0.break_set_len.swap(false, Ordering::Relaxed);
            // A broken one gets half way, as a file system may.
            let reached = if broken { len - 100 } else { len };
            self.0.bytes.lock().expect("unpoisoned").resize(reached as usize, 0);
            if broken { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
        fn sync_data(&self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            let end = offset + data.len() as u64;
            if end > self.0.room {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.written.lock().expect("unpoisoned").push((offset, data.len() as u64));
            self.0.bytes.lock().expect("unpoisoned")[offset as usize..end as usize].copy_from_slice(data);
            Ok(())
        }
    }

    fn small(len: usize, room: u64, known: u64) -> (Handle, Preallocated, Arc<Shared>) {
        let small = Handle(Arc::new(Small {
            bytes: Mutex::new(vec![0; len]),
            written: Mutex::new(Vec::new()),
            room,
            break_set_len: AtomicBool::new(false),
        }));
        let failures = Arc::new(Shared::default());
        let backend = Preallocated::new(Box::new(small.clone()), 4 * PAGE, known, failures.clone());
        (small, backend.expect("memory has a length"), failures)
    }

    fn taken(small: &Handle) -> Vec<(u64, u64)> {
        std::mem::take(&mut *small.0.written.lock().expect("unpoisoned"))
    }

    #[test]
    fn a_write_fills_nothing_and_what_it_needs_next_is_filled_after_it() {
        let (small, backend, shared) = small(0, u64::MAX, 0);
        backend.set_len(10 * PAGE).expect("room");
        assert!(!shared.grow(PAGE), "nothing was written yet");
        backend.write(PAGE, &[7; 100]).expect("room");
        assert_eq!(taken(&small), [(PAGE, 100)], "the write alone");
        let edge = PAGE + 100;
        assert!(shared.grow(2 * PAGE), "a piece at a time");
        assert_eq!(taken(&small), [(edge, 2 * PAGE)]);
        assert!(shared.grow(100 * PAGE), "the rest of this step");
        assert_eq!(taken(&small), [(edge + 2 * PAGE, PAGE - 100)]);
        assert!(!shared.grow(100 * PAGE), "and all of the next");
        assert_eq!(taken(&small), [(4 * PAGE, 4 * PAGE)]);
        backend.write(6 * PAGE, &[8; 100]).expect("room");
        assert!(!shared.grow(100 * PAGE));
        assert_eq!(taken(&small), [(6 * PAGE, 100), (8 * PAGE, 2 * PAGE)], "up to the length");
        backend.set_len(12 * PAGE).expect("room");
        backend.write(10 * PAGE, &[9; 100]).expect("room");
        while shared.grow(100 * PAGE) {}
        assert_eq!(taken(&small), [(10 * PAGE, 100), (10 * PAGE + 100, 2 * PAGE - 100)]);
        for (at, byte) in [(1, 7), (6, 8), (10, 9), (2, 0)] {
            let mut read = [1; 100];
            backend.read(at * PAGE, &mut read).expect("there");
            assert_eq!(read, [byte; 100], "page {at}");
        }
        backend.write(9 * PAGE, &[9; 100]).expect("room");
        backend.set_len(2 * PAGE).expect("room");
        assert!(!shared.grow(100 * PAGE), "what was wanted is cut off");
        assert_eq!(taken(&small), [(9 * PAGE, 100)]);
        backend.set_len(6 * PAGE).expect("room");
        backend.write(2 * PAGE, &[5; 100]).expect("room");
        while shared.grow(100 * PAGE) {}
        let edge = 2 * PAGE + 100;
        assert_eq!(
            taken(&small),
            [(2 * PAGE, 100), (edge, 4 * PAGE - edge), (4 * PAGE, 2 * PAGE)],
            "what was cut is taken again"
        );
    }

    #[test]
    fn of_a_file_that_was_there_only_what_holds_nothing_is_filled() {
        // Three steps: the first takes its space, of the others nobody knows.
        let (small, backend, shared) = small(12 * PAGE as usize, u64::MAX, 5 * PAGE);
        small.0.bytes.lock().expect("unpoisoned")[9 * PAGE as usize] = 7;
        backend.write(PAGE, &[1; 100]).expect("room");
        assert!(shared.grow(2 * PAGE));
        assert!(!shared.grow(2 * PAGE));
        assert_eq!(taken(&small), [(PAGE, 100), (4 * PAGE, 2 * PAGE), (6 * PAGE, 2 * PAGE)], "the second");
        backend.write(11 * PAGE, &[2; 100]).expect("room");
        while shared.grow(PAGE) {}
        assert_eq!(
            taken(&small),
            [(11 * PAGE, 100), (8 * PAGE, PAGE), (10 * PAGE, PAGE)],
            "neither on what was there nor on what came"
        );
        let mut read = [0; 1];
        backend.read(9 * PAGE, &mut read).expect("there");
        assert_eq!(read, [7]);
    }

    #[test]
    fn a_step_without_room_is_given_up_and_the_write_is_tried() {
        let (_, backend, failures) = small(8 * PAGE as usize, 9 * PAGE, u64::MAX);
        backend.set_len(64 * PAGE).expect("a length costs nothing");
        backend.write(8 * PAGE, &[7; 100]).expect("room for this one");
        while failures.grow(4 * PAGE) {}
        assert!(!failures.only_space_failed(), "space ahead is not owed");
        backend.write(9 * PAGE, &[7; 100]).expect_err("no room");
        assert!(failures.only_space_failed());
        failures.forget();
        backend.sync_data().expect_err("broken");
        assert!(!failures.only_space_failed(), "a failed flush is final");
    }

    #[test]
    fn while_space_is_short_none_is_taken_ahead() {
        let (small, backend, shared) = small(0, u64::MAX, 0);
        backend.set_len(10 * PAGE).expect("room");
        shared.set_thrifty(true);
        backend.write(PAGE, &[7; 100]).expect("room");
        assert!(!shared.grow(100 * PAGE));
        assert_eq!(taken(&small), [(PAGE, 100)]);
        shared.set_thrifty(false);
        backend.write(2 * PAGE, &[7; 100]).expect("room");
        while shared.grow(100 * PAGE) {}
        assert_eq!(taken(&small).len(), 3, "the write, this step and the next");
    }

    #[test]
    fn a_failed_growth_leaves_the_length_as_it_was() {
        let (small, backend, failures) = small(8 * PAGE as usize, u64::MAX, u64::MAX);
        small.0.break_set_len.store(true, Ordering::Relaxed);
        backend.set_len(16 * PAGE).expect_err("broken");
        assert_eq!(backend.len().expect("known"), 8 * PAGE);
        assert!(failures.only_space_failed());
    }
}
