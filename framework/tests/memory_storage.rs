//! The storage in memory passes the kit: as it is, and with flushes that come late, from a thread of
//! their own, as those of a real disk do.

#![allow(clippy::disallowed_methods, reason = "tests run on tokio and real threads")]

use quorate::error::StorageError;
use quorate::storage::{MemoryStorage, StorageOperation};
use quorate::testing::storage::{CrashHarness, FaultHarness, StorageHarness};

mod at_once {
    use super::{CrashHarness, FaultHarness, MemoryStorage, StorageError, StorageHarness, StorageOperation};

    struct AtOnce;

    impl StorageHarness for AtOnce {
        type Storage = MemoryStorage;
        type Place = MemoryStorage;

        fn place() -> MemoryStorage {
            MemoryStorage::new()
        }

        async fn open(place: &MemoryStorage) -> Result<MemoryStorage, StorageError> {
            Ok(place.clone())
        }
    }

    impl CrashHarness for AtOnce {
        async fn crash(place: &mut MemoryStorage, storage: Option<MemoryStorage>) {
            *place = storage.as_ref().unwrap_or(place).crash();
        }
    }

    impl FaultHarness for AtOnce {
        fn fail_flushes(_: &MemoryStorage, storage: &MemoryStorage, fail: bool) {
            if fail {
                storage.fail_next(StorageOperation::Write);
            }
        }
    }

    quorate::storage_conformance!(AtOnce, crash, faults);
}

mod late {
    use std::pin::pin;
    use std::sync::{Arc, Mutex};

    use futures::channel::oneshot;
    use futures::executor::block_on;
    use futures::future::{Either, select};

    use super::{CrashHarness, FaultHarness, MemoryStorage, StorageError, StorageHarness, StorageOperation};

    struct Late;

    #[derive(Default)]
    struct Power {
        /// How many flushes it lasts for.
        fuse: Option<u64>,
        /// The disk after the power cut.
        after: Option<MemoryStorage>,
    }

    /// A disk, and a thread that flushes what is held back, one write after the other.
    struct LateDisk {
        disk: MemoryStorage,
        power: Arc<Mutex<Power>>,
        /// Dropped with the disk, which ends the thread.
        _flusher: oneshot::Sender<()>,
    }

    impl LateDisk {
        fn new(disk: MemoryStorage) -> Self {
            disk.hold_flushes();
            let power = Arc::new(Mutex::new(Power::default()));
            let (sender, mut dropped) = oneshot::channel();
            let (flushed, last) = (disk.clone(), power.clone());
            std::thread::spawn(move || {
                let mut held = flushed.held();
                while let Either::Left(_) = block_on(select(pin!(held.until(|held| *held > 0)), &mut dropped))
                {
                    flush_one(&flushed, &last);
                    std::thread::yield_now();
                }
            });
            Self { disk, power, _flusher: sender }
        }
    }

    fn flush_one(disk: &MemoryStorage, power: &Mutex<Power>) {
        let mut power = power.lock().expect("unpoisoned");
        if power.fuse == Some(0) && power.after.is_none() {
            power.after = Some(disk.crash());
        }
        power.fuse = power.fuse.map(|left| left.saturating_sub(1));
        drop(power);
        disk.flush_held(1);
    }

    impl StorageHarness for Late {
        type Storage = MemoryStorage;
        type Place = LateDisk;

        fn place() -> LateDisk {
            LateDisk::new(MemoryStorage::new())
        }

        async fn open(place: &LateDisk) -> Result<MemoryStorage, StorageError> {
            Ok(place.disk.clone())
        }
    }

    impl CrashHarness for Late {
        async fn crash(place: &mut LateDisk, _: Option<MemoryStorage>) {
            let after = {
                let mut power = place.power.lock().expect("unpoisoned");
                power.fuse = None;
                // Some of what was held back reached the disk, although nobody was told.
                power.after.take().unwrap_or_else(|| place.disk.crash_keeping(place.disk.held().get() / 2))
            };
            *place = LateDisk::new(after);
        }

        fn cut_power_after(place: &LateDisk, points: u64) -> bool {
            place.power.lock().expect("unpoisoned").fuse = Some(points);
            true
        }
    }

    impl FaultHarness for Late {
        fn fail_flushes(_: &LateDisk, storage: &MemoryStorage, fail: bool) {
            if fail {
                storage.fail_next(StorageOperation::Write);
            }
        }
    }

    quorate::storage_conformance!(Late, crash, faults);
}
