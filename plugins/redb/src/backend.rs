//! The backend under redb: takes space ahead of need, and remembers how an operation failed.
//!
//! A flush of a file that grew costs about three times one of a file that did not, since the file
//! system's own journal is flushed with it. So bytes are zero-filled in steps before redb writes
//! there. redb itself doubles the length of its file without writing it; the length stays redb's.

use std::io;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

/// redb's file is made of pages of this size.
pub(crate) const PAGE: u64 = 4096;

const ZEROS: &[u8] = &[0; 256 * 1024];

/// What a backend and those above redb have to tell each other: how operations failed, for those
/// who decide what a failed transaction means, and whether space is short.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    no_space: AtomicBool,
    other: AtomicBool,
    thrifty: AtomicBool,
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

    fn add(&self, error: &io::Error, may_lack_space: bool) {
        let no_space = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let seen = if may_lack_space && no_space { &self.no_space } else { &self.other };
        seen.store(true, Ordering::Relaxed);
    }
}

/// A backend that takes space in zero-filled steps. Locking is the inner backend's.
#[derive(Debug)]
pub(crate) struct Preallocated {
    inner: Box<dyn StorageBackend>,
    /// Bytes, a multiple of a page; 0 fills nothing.
    step: u64,
    /// For each step of the file, up to where something may have been written. Zeros are written
    /// behind that alone, with the lock held, so that they never land on data. redb does not fill
    /// its file from the front, so one edge for all of it would not do.
    edges: Mutex<Vec<u64>>,
    shared: Arc<Shared>,
}

impl Preallocated {
    /// Wraps `inner`. Everything in a file that is there may be data.
    pub(crate) fn new(inner: Box<dyn StorageBackend>, step: u64, shared: Arc<Shared>) -> io::Result<Self> {
        let step = step.next_multiple_of(PAGE);
        let mut edges = Vec::new();
        if step > 0 {
            let len = inner.len()?;
            edges.extend((1..=len.div_ceil(step)).map(|number| len.min(number * step)));
        }
        Ok(Self { inner, step, edges: Mutex::new(edges), shared })
    }

    fn edges(&self) -> MutexGuard<'_, Vec<u64>> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills with zeros the rest of each step that a write of `range` reaches further into.
    fn fill(&self, range: Range<u64>) -> io::Result<()> {
        if self.step == 0 || range.is_empty() {
            return Ok(());
        }
        let mut edges = self.edges();
        let mut len = None;
        for number in range.start / self.step..=(range.end - 1) / self.step {
            let (start, end) = (number * self.step, (number + 1) * self.step);
            let number = number as usize;
            while edges.len() <= number {
                let next = edges.len() as u64 * self.step;
                edges.push(next);
            }
            if edges[number] >= range.end.min(end) {
                continue;
            }
            let len = *len.get_or_insert(self.inner.len()?);
            let mut reached = edges[number];
            if !self.shared.thrifty.load(Ordering::Relaxed) {
                reached = self.zeros(reached.max(start)..end.min(len));
            }
            edges[number] = reached.max(range.end.min(end));
        }
        Ok(())
    }

    /// Writes zeros and returns how far it came: space taken ahead is not owed to anyone, and the
    /// write that follows says itself what is wrong.
    fn zeros(&self, range: Range<u64>) -> u64 {
        let mut at = range.start;
        while at < range.end {
            let zeros = &ZEROS[..ZEROS.len().min((range.end - at) as usize)];
            if self.inner.write(at, zeros).is_err() {
                break;
            }
            at += zeros.len() as u64;
        }
        at
    }

    fn note<T>(&self, result: io::Result<T>, may_lack_space: bool) -> io::Result<T> {
        result.inspect_err(|error| self.shared.add(error, may_lack_space))
    }
}

impl StorageBackend for Preallocated {
    fn len(&self) -> io::Result<u64> {
        self.note(self.inner.len(), false)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(self.inner.read(offset, out), false)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.len()?;
        let result = self.inner.set_len(len);
        if result.is_err() {
            // redb refuses a file whose length is not one that it set. The first error is the one
            // to report; if this fails too, the next open says so.
            drop(self.inner.set_len(before));
        } else if self.step > 0 {
            let mut edges = self.edges();
            edges.truncate(len.div_ceil(self.step) as usize);
            for edge in edges.iter_mut() {
                *edge = len.min(*edge);
            }
        }
        self.note(result, true)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.inner.sync_data(), false)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.fill(offset..offset + data.len() as u64), false)?;
        self.note(self.inner.write(offset, data), true)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
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

    fn small(len: usize, room: u64) -> (Handle, Preallocated, Arc<Shared>) {
        let small = Handle(Arc::new(Small {
            bytes: Mutex::new(vec![0; len]),
            written: Mutex::new(Vec::new()),
            room,
            break_set_len: AtomicBool::new(false),
        }));
        let failures = Arc::new(Shared::default());
        let backend = Preallocated::new(Box::new(small.clone()), 4 * PAGE, failures.clone());
        (small, backend.expect("memory has a length"), failures)
    }

    #[test]
    fn it_takes_space_in_steps_within_the_length_and_never_over_data() {
        let (small, backend, _) = small(0, u64::MAX);
        let taken = || std::mem::take(&mut *small.0.written.lock().expect("unpoisoned"));
        backend.set_len(10 * PAGE).expect("room");
        backend.write(PAGE, &[7; 100]).expect("room");
        assert_eq!(taken(), [(0, 4 * PAGE), (PAGE, 100)]);
        backend.write(9 * PAGE, &[8; 100]).expect("room");
        assert_eq!(taken(), [(8 * PAGE, 2 * PAGE), (9 * PAGE, 100)], "not beyond the end, nor between");
        backend.set_len(12 * PAGE).expect("room");
        backend.write(10 * PAGE, &[9; 100]).expect("room");
        assert_eq!(taken(), [(10 * PAGE, 2 * PAGE), (10 * PAGE, 100)]);
        backend.write(3 * PAGE, &[6; 2 * PAGE as usize]).expect("room");
        assert_eq!(taken(), [(4 * PAGE, 4 * PAGE), (3 * PAGE, 2 * PAGE)], "over two steps");
        for (at, byte) in [(1, 7), (9, 8), (10, 9), (3, 6), (4, 6), (5, 0)] {
            let mut read = [1; 100];
            backend.read(at * PAGE, &mut read).expect("there");
            assert_eq!(read, [byte; 100], "page {at}");
        }
        backend.set_len(2 * PAGE).expect("room");
        backend.set_len(6 * PAGE).expect("room");
        backend.write(2 * PAGE, &[5; 100]).expect("room");
        assert_eq!(taken(), [(2 * PAGE, 2 * PAGE), (2 * PAGE, 100)], "what was cut is taken again");
    }

    #[test]
    fn a_step_without_room_is_given_up_and_the_write_is_tried() {
        let (_, backend, failures) = small(8 * PAGE as usize, 9 * PAGE);
        backend.set_len(64 * PAGE).expect("a length costs nothing");
        backend.write(8 * PAGE, &[7; 100]).expect("room for this one");
        assert!(!failures.only_space_failed());
        backend.write(9 * PAGE, &[7; 100]).expect_err("no room");
        assert!(failures.only_space_failed());
        failures.forget();
        backend.sync_data().expect_err("broken");
        assert!(!failures.only_space_failed(), "a failed flush is final");
    }

    #[test]
    fn while_space_is_short_none_is_taken_ahead() {
        let (small, backend, shared) = small(0, u64::MAX);
        backend.set_len(10 * PAGE).expect("room");
        shared.set_thrifty(true);
        backend.write(PAGE, &[7; 100]).expect("room");
        shared.set_thrifty(false);
        backend.write(2 * PAGE, &[7; 100]).expect("room");
        let taken = small.0.written.lock().expect("unpoisoned");
        let edge = PAGE + 100;
        assert_eq!(*taken, [(PAGE, 100), (edge, 4 * PAGE - edge), (2 * PAGE, 100)]);
    }

    #[test]
    fn a_failed_growth_leaves_the_length_as_it_was() {
        let (small, backend, failures) = small(8 * PAGE as usize, u64::MAX);
        small.0.break_set_len.store(true, Ordering::Relaxed);
        backend.set_len(16 * PAGE).expect_err("broken");
        assert_eq!(backend.len().expect("known"), 8 * PAGE);
        assert!(failures.only_space_failed());
    }
}
