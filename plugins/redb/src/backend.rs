//! The backend under redb: takes space ahead of need, and remembers how an operation failed.
//!
//! A flush of a file that grew costs about three times one of a file that did not, since the file
//! system's own journal is flushed with it. So bytes are zero-filled in steps before redb writes
//! there. redb itself doubles the length of its file without writing it; the length stays redb's.

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{BackendError, StorageBackend};

/// redb's file is made of pages of this size.
pub(crate) const PAGE: u64 = 4096;

const ZEROS: &[u8] = &[0; 256 * 1024];

/// What the backend saw, for those who decide what a failed transaction means.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    no_space: AtomicBool,
    other: AtomicBool,
    backed: AtomicU64,
}

impl Observed {
    /// Forgets the failures before a transaction.
    pub(crate) fn reset(&self) {
        self.no_space.store(false, Ordering::Relaxed);
        self.other.store(false, Ordering::Relaxed);
    }

    /// Whether nothing failed but a write for which there was no space. A failed flush counts as
    /// other, even for want of space: what it left behind may reappear.
    pub(crate) fn only_space_failed(&self) -> bool {
        self.no_space.load(Ordering::Relaxed) && !self.other.load(Ordering::Relaxed)
    }

    /// How many bytes of the file have been written, and so take space.
    pub(crate) fn backed(&self) -> u64 {
        self.backed.load(Ordering::Relaxed)
    }

    fn failed(&self, error: &io::Error, may_lack_space: bool) {
        let no_space = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let seen = if may_lack_space && no_space { &self.no_space } else { &self.other };
        seen.store(true, Ordering::Relaxed);
    }
}

/// A backend that grows in zero-filled steps. Locking is the inner backend's.
#[derive(Debug)]
pub(crate) struct Preallocated {
    inner: Box<dyn StorageBackend>,
    /// Bytes, a multiple of a page; 0 fills nothing.
    step: u64,
    /// Nothing at or after `observed.backed` was ever written. Held while that moves up, so that
    /// zeros never land on data.
    growing: Mutex<()>,
    observed: Arc<Observed>,
}

impl Preallocated {
    /// Wraps `inner`. Everything in a file that is there may be data.
    pub(crate) fn new(
        inner: Box<dyn StorageBackend>,
        step: u64,
        observed: Arc<Observed>,
    ) -> io::Result<Self> {
        observed.backed.store(inner.len()?, Ordering::Relaxed);
        Ok(Self { inner, step: step.next_multiple_of(PAGE), growing: Mutex::new(()), observed })
    }

    /// Fills with zeros from what is backed to the end of the step that `end` lies in.
    fn fill(&self, end: u64) -> io::Result<()> {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = self.observed.backed();
        if at >= end {
            return Ok(());
        }
        let len = self.inner.len()?;
        let target = if self.step == 0 { at } else { end.next_multiple_of(self.step).min(len) };
        while at < target {
            let zeros = &ZEROS[..ZEROS.len().min((target - at) as usize)];
            if self.inner.write(at, zeros).is_err() {
                // Space taken ahead is not owed to anyone. The write itself says what is wrong.
                break;
            }
            at += zeros.len() as u64;
        }
        self.observed.backed.store(at.max(end), Ordering::Relaxed);
        Ok(())
    }

    fn note<T>(&self, result: io::Result<T>, may_lack_space: bool) -> io::Result<T> {
        result.inspect_err(|error| self.observed.failed(error, may_lack_space))
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
        } else {
            let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
            self.observed.backed.fetch_min(len, Ordering::Relaxed);
        }
        self.note(result, true)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.inner.sync_data(), false)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        if end > self.observed.backed() {
            self.note(self.fill(end), false)?;
        }
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
        written: Mutex<u64>,
        room: u64,
        break_set_len: AtomicBool,
    }

    #[derive(Clone, Debug)]
    struct Shared(Arc<Small>);

    impl StorageBackend for Shared {
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
            let mut written = self.0.written.lock().expect("unpoisoned");
            *written = end.max(*written);
            self.0.bytes.lock().expect("unpoisoned")[offset as usize..end as usize].copy_from_slice(data);
            Ok(())
        }
    }

    fn small(len: usize, room: u64) -> (Shared, Preallocated, Arc<Observed>) {
        let small = Shared(Arc::new(Small {
            bytes: Mutex::new(vec![0; len]),
            written: Mutex::new(0),
            room,
            break_set_len: AtomicBool::new(false),
        }));
        let observed = Arc::new(Observed::default());
        let backend = Preallocated::new(Box::new(small.clone()), 4 * PAGE, observed.clone())
            .expect("memory has a length");
        (small, backend, observed)
    }

    #[test]
    fn it_grows_in_steps_within_the_length_and_never_over_data() {
        let (small, backend, observed) = small(0, u64::MAX);
        backend.set_len(10 * PAGE).expect("room");
        backend.write(PAGE, &[7; 100]).expect("room");
        assert_eq!((*small.0.written.lock().expect("unpoisoned"), observed.backed()), (4 * PAGE, 4 * PAGE));
        backend.write(9 * PAGE, &[8; 100]).expect("room");
        assert_eq!(observed.backed(), 10 * PAGE);
        backend.write(5 * PAGE, &[9; 100]).expect("room");
        for (at, byte) in [(1, 7), (9, 8), (5, 9), (3, 0)] {
            let mut read = [1; 100];
            backend.read(at * PAGE, &mut read).expect("there");
            assert_eq!(read, [byte; 100], "page {at}");
        }
        backend.set_len(2 * PAGE).expect("room");
        assert_eq!((backend.len().expect("known"), observed.backed()), (2 * PAGE, 2 * PAGE));
    }

    #[test]
    fn a_step_without_room_is_given_up_and_the_write_is_tried() {
        let (_, backend, observed) = small(8 * PAGE as usize, 9 * PAGE);
        backend.set_len(64 * PAGE).expect("a length costs nothing");
        backend.write(8 * PAGE, &[7; 100]).expect("room for this one");
        assert!(!observed.only_space_failed());
        backend.write(9 * PAGE, &[7; 100]).expect_err("no room");
        assert!(observed.only_space_failed());
        observed.reset();
        backend.sync_data().expect_err("broken");
        assert!(!observed.only_space_failed(), "a failed flush is final");
    }

    #[test]
    fn a_failed_growth_leaves_the_length_as_it_was() {
        let (small, backend, observed) = small(8 * PAGE as usize, u64::MAX);
        small.0.break_set_len.store(true, Ordering::Relaxed);
        backend.set_len(16 * PAGE).expect_err("broken");
        assert_eq!(backend.len().expect("known"), 8 * PAGE);
        assert!(observed.only_space_failed());
    }
}
