//! A disk that does not flush, and one that does not read.

use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{Health, Storage};
use quorate_redb::RedbStorage;

use crate::common::*;
use crate::disk::{Crash, Disk};
use crate::disk_full::{MIB, ballast_is_there, open_on};

#[test]
fn a_failed_flush_is_final_and_nothing_is_tried_again() {
    let disk = Disk::default();
    let storage = open_on(&disk, MIB, 8 * MIB);
    write(&storage, G0, append_of(G0, 0..3, 100));
    disk.fail_syncs(true);
    let receipts = [append_of(G0, 3..4, 100), vote_of("T2 n1")].map(|write| queue(&storage, G0, write));
    for receipt in receipts {
        let error = block_on(receipt).expect_err("not flushed");
        assert!(matches!(error, StorageError::Io { .. } | StorageError::Closed), "{error}");
    }
    disk.fail_syncs(false);
    assert!(matches!(try_write(&storage, G1, vote_of("T1 n1")), Err(StorageError::Closed)));
    assert_eq!(storage.health().get(), Health::Failed);
    assert!(ballast_is_there(&disk));
    drop(storage);
    disk.crash(Crash::LoseAll);
    let storage = open_on(&disk, MIB, 8 * MIB);
    assert_log(&storage, G0, 0..3, 100);
    assert_eq!(state(&storage, G0).vote, None);
}

#[test]
fn a_failed_read_is_an_error_and_never_an_answer() {
    let disk = Disk::default();
    let open = |disk: &Disk| {
        let builder = RedbStorage::builder("/n1").hooks(disk.hooks()).cache_bytes(0).ballast_bytes(0);
        builder.preallocate_bytes(0).low_water_bytes(0).open()
    };
    let storage = open(&disk).expect("it opens");
    block_on(storage.set_identity_once(&identity(1))).expect("its own identity");
    for at in 0..40 {
        write(&storage, G0, append_of(G0, at..at + 1, 2000));
    }
    write(&storage, G0, vote_of("T1 n1"));
    drop(storage);
    // How many reads each step makes, the writer's own ones among them.
    let (mut steps, mut end, mut failed) = (Vec::new(), 40, [0; 4]);
    let mut count = || steps.push(disk.take_reads());
    count();
    let storage = open(&disk).expect("it opens");
    count();
    drop(block_on(storage.open(G0)).expect("sound"));
    count();
    drop(read(&storage, G0, 0..40));
    count();
    write(&storage, G0, append_of(G0, end..end + 1, 2000));
    drop(storage);
    count();
    end += 1;
    let steps = &steps[1..];
    assert!(steps.iter().all(|reads| *reads > 0), "{steps:?}");
    let mut before = 0;
    for reads in steps {
        // Ten of each step, and not the same ones each time the file has grown.
        for at in (0..*reads).step_by((*reads as usize).div_ceil(10)) {
            end = fail_a_read(&disk, &open, before + at, end, &mut failed);
        }
        before += reads;
    }
    assert!(failed.iter().all(|count| *count > 0), "{failed:?}");
}

/// One life in which no read works after so many; returns the end of the log.
fn fail_a_read(
    disk: &Disk,
    open: &impl Fn(&Disk) -> Result<RedbStorage, StorageError>,
    at: u64,
    end: u64,
    failed: &mut [u32; 4],
) -> u64 {
    disk.fail_reads_after(Some(at));
    let opened = open(disk);
    let mut written = false;
    match opened {
        Err(error) => {
            assert!(matches!(error, StorageError::Io { .. }), "read {at}: {error}");
            failed[0] += 1;
        }
        Ok(storage) => {
            let not_damage = |error: StorageError| {
                assert!(!matches!(error, StorageError::Corrupt { .. }), "read {at}: {error}");
            };
            match block_on(storage.open(G0)) {
                Ok(state) => assert!(state.log.end == end && state.vote.is_some(), "read {at}: {state:?}"),
                Err(error) => {
                    not_damage(error);
                    failed[1] += 1;
                }
            }
            match try_read(&storage, G0, 0..40, usize::MAX) {
                Ok(entries) => assert_eq!(entries.len(), 40, "read {at}"),
                Err(error) => {
                    not_damage(error);
                    failed[2] += 1;
                }
            }
            written = try_write(&storage, G0, append_of(G0, end..end + 1, 2000)).is_ok();
            if !written {
                assert_eq!(storage.health().get(), Health::Failed);
                failed[3] += 1;
            }
        }
    }
    disk.fail_reads_after(None);
    let storage = open(disk).unwrap_or_else(|error| panic!("read {at}: nothing has changed: {error}"));
    let now = state(&storage, G0).log.end;
    assert!(now == end + 1 || (now == end && !written), "read {at}: {now} after {end}");
    assert_log(&storage, G0, 0..now, 2000);
    now
}
