//! The storage in memory passes the kit: as it is, and with flushes that come late, from a thread of
//! their own, as those of a real disk do.

use quorate::error::StorageError;
use quorate::storage::MemoryStorage;
use quorate::testing::storage::{CrashHarness, StorageHarness};

mod at_once {
    use super::{CrashHarness, MemoryStorage, StorageError, StorageHarness};

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
        async fn crash(place: &mut MemoryStorage, storage: MemoryStorage) {
            *place = storage.crash();
        }
    }

    quorate::storage_conformance!(AtOnce, crash);
}

mod late {
    use std::pin::pin;

    use futures::channel::oneshot;
    use futures::executor::block_on;
    use futures::future::{Either, select};

    use super::{CrashHarness, MemoryStorage, StorageError, StorageHarness};

    struct Late;

    /// A disk, and a thread that flushes what is held back, one write after the other.
    struct LateDisk {
        disk: MemoryStorage,
        /// Dropped with the disk, which ends the thread.
        _flusher: oneshot::Sender<()>,
    }

    impl LateDisk {
        fn new(disk: MemoryStorage) -> Self {
            disk.hold_flushes();
            let (sender, mut dropped) = oneshot::channel();
            let flushed = disk.clone();
            std::thread::spawn(move || {
                let mut held = flushed.held();
                while let Either::Left(_) = block_on(select(pin!(held.until(|held| *held > 0)), &mut dropped))
                {
                    flushed.flush_held(1);
                    std::thread::yield_now();
                }
            });
            Self { disk, _flusher: sender }
        }
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
        async fn crash(place: &mut LateDisk, storage: MemoryStorage) {
            // Some of what was held back reached the disk, although nobody was told.
            let kept = storage.held().get() / 2;
            *place = LateDisk::new(storage.crash_keeping(kept));
        }
    }

    quorate::storage_conformance!(Late, crash);
}
