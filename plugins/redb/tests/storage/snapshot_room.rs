//! Snapshots on a disk that runs full, and what is kept of those that broke off.

use std::path::PathBuf;

use bytes::Bytes;
use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{Health, SnapshotId, SnapshotWriter, Storage};
use quorate::types::LogId;
use quorate_redb::RedbStorage;

use crate::common::*;
use crate::disk::Disk;
use crate::disk_full::{MIB, append_until, ballast_is_there, open_on};

/// More than any disk here has room for.
const LARGE: SnapshotId = SnapshotId { covers: LogId::new(1, 9), len: 1 << 30, fingerprint: 7 };

/// The file of what has arrived of a snapshot of `G0`.
fn part_of(id: &SnapshotId) -> PathBuf {
    let SnapshotId { covers, len, fingerprint } = id;
    format!("/n1/snap/g0-{covers}.{len}-{fingerprint:08x}.part").into()
}

/// The first 20 MiB of [`LARGE`] arrive.
fn begin_a_part(storage: &RedbStorage) -> Box<dyn SnapshotWriter> {
    let mut writer = block_on(storage.resume_snapshot(G0, &LARGE)).expect("a sound disk").writer;
    for _ in 0..20 {
        block_on(writer.write(vec![1; MIB as usize].into())).expect("room");
    }
    writer
}

#[test]
fn a_snapshot_for_which_there_is_no_space_leaves_the_older_and_no_trace() {
    let disk = Disk::default();
    let storage = open_on(&disk, MIB, MIB);
    snapshot(&storage, G0, LogId::new(1, 1), &[b"one"]).expect("room");
    let used = disk.used();
    disk.set_capacity(used + 3 * MIB);
    let mut writer = block_on(storage.snapshot_writer(G0)).expect("open");
    let chunk = Bytes::from(vec![1; MIB as usize]);
    let error = (0..5).find_map(|_| block_on(writer.write(chunk.clone())).err()).expect("no space for 5 MiB");
    assert!(matches!(error, StorageError::Full { .. }), "{error}");
    drop(writer);
    assert_eq!(disk.used(), used);
    assert_eq!(read_snapshot(&storage, G0).expect("whole"), Some((LogId::new(1, 1), b"one".to_vec())));
    disk.fail_syncs(true);
    snapshot(&storage, G0, LogId::new(1, 2), &[b"two"]).expect_err("not flushed");
    disk.fail_syncs(false);
    assert_eq!(read_snapshot(&storage, G0).expect("whole"), Some((LogId::new(1, 1), b"one".to_vec())));
}

#[test]
fn a_snapshot_that_does_not_fit_takes_neither_the_reserve_nor_what_the_log_needs() {
    let disk = Disk::default();
    disk.set_capacity(60 * MIB);
    let storage = open_on(&disk, 16 * MIB, 4 * MIB);
    let mut end = append_until(&storage, 0, |health| health != Health::Ok);
    // So does a node when it is told: it makes a snapshot, so that the log can be purged.
    let mut writer = block_on(storage.snapshot_writer(G0)).expect("open");
    let chunk = Bytes::from(vec![1; 256 << 10]);
    let error = (0..1000).find_map(|_| {
        let refused = block_on(writer.write(chunk.clone())).err();
        // What is queued completes meanwhile.
        try_write(&storage, G0, append_of(G0, end..end + 1, 5000)).expect("there is room for it");
        end += 1;
        refused
    });
    let error = error.expect("it does not fit");
    assert!(matches!(error, StorageError::Full { .. }), "{error}");
    assert_eq!(storage.health().get(), Health::Low);
    assert!(ballast_is_there(&disk));
    assert!(60 * MIB - disk.used() >= MIB, "the log has room still");
    drop(writer);
    write(&storage, G0, purge_of(end - 2));
    block_on(storage.health().until(|health| *health == Health::Ok)).expect("room again");
    assert_log(&storage, G0, end - 1..end, 5000);
}

#[test]
fn what_is_kept_of_a_snapshot_that_broke_off_is_room_for_the_rest_of_it() {
    let disk = Disk::default();
    disk.set_capacity(100 * MIB);
    let storage = open_on(&disk, 16 * MIB, 4 * MIB);
    let room = || storage.snapshot_room().expect("the disk is measured");
    let before = room();
    let chunk = Bytes::from(vec![1; MIB as usize]);
    // What else is kept of it takes a little.
    let chunks = before / MIB - 1;
    let id = SnapshotId { covers: LogId::new(1, 9), len: chunks * MIB, fingerprint: 7 };
    let mut writer = block_on(storage.resume_snapshot(G0, &id)).expect("a sound disk").writer;
    for _ in 0..40 {
        block_on(writer.write(chunk.clone())).expect("room");
    }
    let is_as_before = |when: &str| {
        let after = room();
        assert!(after <= before && before - after < MIB, "{when}: room for {after}, and before {before}");
    };
    is_as_before("while it is written, as another writer may take it over");
    disk.grow_after_a_look(&part_of(&id), 2 * MIB);
    let meanwhile = room();
    assert!(meanwhile + MIB > before, "what is written meanwhile counts, and once more at most: {meanwhile}");
    drop(writer);
    is_as_before("once it broke off");
    let mut resumed = block_on(storage.resume_snapshot(G0, &id)).expect("a sound disk");
    let mut held = 0;
    while let Some(chunk) = block_on(resumed.held.next()).expect("whole") {
        held += chunk.len() as u64;
    }
    for at in (held..id.len).step_by(MIB as usize) {
        block_on(resumed.writer.write(chunk.slice(..MIB.min(id.len - at) as usize))).expect("it said so");
    }
}

#[test]
fn what_is_kept_of_a_snapshot_that_broke_off_goes_when_space_is_short() {
    let disk = Disk::default();
    disk.set_capacity(100 * MIB);
    let storage = open_on(&disk, 16 * MIB, 4 * MIB);
    let writer = begin_a_part(&storage);
    assert!(disk.exists(&part_of(&LARGE)));
    // Room for the 20 MiB and little more.
    disk.set_capacity(disk.used() + 10 * MIB);
    let end = append_until(&storage, 0, |health| health == Health::Low);
    assert!(disk.exists(&part_of(&LARGE)), "it is being written");
    drop(writer);
    write(&storage, G0, append_of(G0, end..end + 1, 5000));
    block_on(storage.health().until(|health| *health == Health::Ok)).expect("room again");
    assert!(!disk.exists(&part_of(&LARGE)));
}

#[test]
fn what_is_kept_of_a_snapshot_that_broke_off_goes_before_another_finds_no_room() {
    let disk = Disk::default();
    disk.set_capacity(100 * MIB);
    let storage = open_on(&disk, 16 * MIB, 4 * MIB);
    let part = begin_a_part(&storage);
    disk.set_capacity(disk.used() + 10 * MIB);
    let room = storage.snapshot_room().expect("the disk is measured") / MIB;
    let chunk = Bytes::from(vec![1; MIB as usize]);
    // One that nobody could go on with, as from a leader that gives none a fingerprint.
    let fits = || {
        let mut writer = block_on(storage.snapshot_writer(G0)).expect("a sound disk");
        (0..room).take_while(|_| block_on(writer.write(chunk.clone())).is_ok()).count() as u64
    };
    assert!(fits() <= 10 && disk.exists(&part_of(&LARGE)), "it is being written");
    drop(part);
    assert_eq!((fits(), disk.exists(&part_of(&LARGE))), (room, false));
}

#[test]
fn a_part_that_could_not_be_gone_on_with_goes_when_space_is_short() {
    let disk = Disk::default();
    disk.set_capacity(100 * MIB);
    let storage = open_on(&disk, 16 * MIB, 4 * MIB);
    drop(begin_a_part(&storage));
    disk.fail_syncs(true);
    assert!(block_on(storage.resume_snapshot(G0, &LARGE)).is_err(), "its name is flushed first");
    disk.fail_syncs(false);
    assert!(disk.exists(&part_of(&LARGE)));
    disk.set_capacity(disk.used() + 10 * MIB);
    append_until(&storage, 0, |_| !disk.exists(&part_of(&LARGE)));
}
