//! The framework's kit: on real files, and on a disk whose power is cut.

#[allow(dead_code, reason = "the kit needs less of the disk than the plugin's own tests")]
#[path = "storage/disk/mod.rs"]
mod disk;

use std::cell::Cell;

use quorate::error::StorageError;
use quorate_redb::RedbStorage;

mod on_files {
    use quorate::testing::storage::StorageHarness;
    use tempfile::TempDir;

    use super::*;

    struct OnFiles;

    impl StorageHarness for OnFiles {
        type Place = TempDir;
        type Storage = RedbStorage;

        fn place() -> TempDir {
            tempfile::tempdir().expect("a directory")
        }

        async fn open(place: &TempDir) -> Result<RedbStorage, StorageError> {
            RedbStorage::open(place.path())
        }
    }

    // The crash cases run below: real files keep what was written when a process dies.
    quorate::storage_conformance!(OnFiles);
}

mod on_a_disk_without_power {
    use quorate::testing::storage::{CrashHarness, FaultHarness, StorageHarness};

    use super::*;
    use crate::disk::{Crash, Disk};

    struct OnADisk;

    #[derive(Default)]
    struct Place {
        disk: Disk,
        /// How many power cuts there were, and where the last one was asked for: what is torn differs.
        crashes: u64,
        points: Cell<u64>,
    }

    impl StorageHarness for OnADisk {
        type Place = Place;
        type Storage = RedbStorage;

        fn place() -> Place {
            Place::default()
        }

        async fn open(place: &Place) -> Result<RedbStorage, StorageError> {
            // Little is preallocated, or each of hundreds of disks would be that large.
            RedbStorage::builder("/n1")
                .hooks(place.disk.hooks())
                .preallocate_bytes(0)
                .ballast_bytes(1 << 16)
                .low_water_bytes(1 << 16)
                .open()
        }
    }

    impl CrashHarness for OnADisk {
        async fn crash(place: &mut Place, storage: Option<RedbStorage>) {
            // First the power: what the dead process still does reaches nothing.
            place.disk.cut_power_after(0);
            drop(storage);
            place.disk.crash(Crash::Tear(place.crashes * 100_000 + place.points.get()));
            place.crashes += 1;
        }

        fn cut_power_after(place: &Place, points: u64) -> bool {
            place.points.set(points);
            place.disk.cut_power_after(points);
            true
        }
    }

    impl FaultHarness for OnADisk {
        fn fail_flushes(place: &Place, _: &RedbStorage, fail: bool) {
            place.disk.fail_syncs(fail);
        }
    }

    quorate::storage_conformance!(OnADisk, crash, faults);
}
