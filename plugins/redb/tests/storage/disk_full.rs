//! A disk that runs full, and one that does not flush.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use futures::future::{FutureExt, pending};
use quorate::error::StorageError;
use quorate::storage::{Health, SnapshotId, SnapshotWriter, Storage, Write};
use quorate::types::LogId;
use quorate_redb::RedbStorage;
use quorate_redb::hooks::Hooks;
use tempfile::tempdir;

use crate::common::*;
use crate::disk::{Crash, Disk};
use crate::hooks::Driver;

const MIB: u64 = 1 << 20;

fn open_on(disk: &Disk, low_water: u64, ballast: u64) -> RedbStorage {
    // The clock stands still: what is told of the disk comes from writes alone.
    let hooks = Hooks { sleep: std::sync::Arc::new(|_: Duration| pending().boxed()), ..disk.hooks() };
    let storage = RedbStorage::builder("/n1")
        .hooks(hooks)
        .low_water_bytes(low_water)
        .ballast_bytes(ballast)
        .preallocate_bytes(MIB)
        .open()
        .expect("it opens");
    block_on(storage.set_identity_once(&identity(1))).expect("its own identity");
    storage
}

fn ballast_is_there(disk: &Disk) -> bool {
    disk.exists(Path::new("/n1/ballast"))
}

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

/// Appends to `G0` from `at` until `stop`, and returns the end.
fn append_until(storage: &RedbStorage, mut at: u64, stop: impl Fn(Health) -> bool) -> u64 {
    while !stop(storage.health().get()) {
        write(storage, G0, append_of(G0, at..at + 1, 50_000));
        at += 1;
        assert!(at < 10_000, "it never happened");
    }
    at
}

#[test]
fn low_is_told_before_the_space_is_gone_and_a_purge_brings_it_back() {
    let disk = Disk::default();
    disk.set_capacity(60 * MIB);
    let storage = open_on(&disk, 16 * MIB, 4 * MIB);
    assert_eq!(storage.health().get(), Health::Ok);
    assert!(ballast_is_there(&disk));
    let end = append_until(&storage, 0, |health| health != Health::Ok);
    assert_eq!(storage.health().get(), Health::Low);
    assert!(ballast_is_there(&disk), "the reserve is for later");
    let left = 60 * MIB - disk.used();
    assert!(left > 8 * MIB, "{left} bytes are left for what is queued");
    // What is queued still completes.
    write(&storage, G0, append_of(G0, end..end + 20, 50_000));
    write(&storage, G0, purge_of(end + 10));
    let back = block_on(storage.health().until(|health| *health == Health::Ok));
    assert_eq!(back, Some(Health::Ok), "the purged rows make room inside the file");
    assert_log(&storage, G0, end + 11..end + 20, 50_000);
}

#[test]
fn a_full_disk_is_survived_from_the_reserve_and_recovers_by_a_purge() {
    let disk = Disk::default();
    disk.set_capacity(40 * MIB);
    // Told too late: the writes go on to the very end.
    let storage = open_on(&disk, MIB, 8 * MIB);
    let end = append_until(&storage, 0, |health| health == Health::Full);
    assert!(!ballast_is_there(&disk), "given back");
    write(&storage, G0, vote_of("T9 n1"));
    write(&storage, G0, append_of(G0, end..end + 1, 50_000));
    assert_log(&storage, G0, 0..end + 1, 50_000);
    write(&storage, G0, purge_of(end - 2));
    block_on(storage.health().until(|health| *health == Health::Ok)).expect("room again");
    let more = end + 1;
    for at in more..more + 100 {
        write(&storage, G0, append_of(G0, at..at + 1, 50_000));
    }
    assert_log(&storage, G0, end - 1..more + 100, 50_000);
    drop(storage);
    let storage = open_on(&disk, MIB, 8 * MIB);
    assert_log(&storage, G0, end - 1..more + 100, 50_000);
    assert_eq!(state(&storage, G0).vote.as_deref(), Some(&b"T9 n1"[..]));
}

#[test]
fn when_the_reserve_is_gone_too_everything_fails_and_nothing_acknowledged_is_lost() {
    let disk = Disk::default();
    disk.set_capacity(30 * MIB);
    let storage = open_on(&disk, MIB, 2 * MIB);
    let mut at = 0;
    let error = loop {
        match try_write(&storage, G0, append_of(G0, at..at + 1, 50_000)) {
            Ok(()) => at += 1,
            Err(error) => break error,
        }
        assert!(at < 10_000, "it never happened");
    };
    assert!(matches!(error, StorageError::Full { .. }), "{error}");
    assert_eq!(storage.health().get(), Health::Failed);
    let later = try_write(&storage, G1, vote_of("T1 n1"));
    assert!(matches!(later, Err(StorageError::Closed)));
    drop(storage);
    disk.set_capacity(200 * MIB);
    for crash in [Crash::KeepAll, Crash::LoseAll] {
        disk.crash(crash);
        let storage = open_on(&disk, MIB, 2 * MIB);
        assert_eq!(storage.health().get(), Health::Ok);
        assert!(ballast_is_there(&disk), "the reserve is put back when there is room");
        // The failed one is not acknowledged: it may be there or not.
        let end = state(&storage, G0).log.end;
        assert!(end == at || end == at + 1, "{at} were acknowledged, {end} are there");
        assert_log(&storage, G0, 0..end, 50_000);
    }
}

#[test]
fn a_batch_that_meets_a_full_disk_is_replayed_whole_and_once() {
    // The space ends at every point of a batch that appends, truncates, purges and votes.
    let mut replayed = 0;
    for room in (0..2 * MIB).step_by(128 << 10) {
        let disk = Disk::default();
        let storage = open_on(&disk, MIB, 8 * MIB);
        write(&storage, G0, append_of(G0, 0..30, 10_000));
        disk.set_capacity(disk.used() + room);
        let receipts: Vec<_> = [
            append_of(G0, 30..60, 10_000),
            truncate_of(20),
            append_of(G0, 20..200, 10_000),
            purge_of(5),
            vote_of("T2 n1"),
        ]
        .into_iter()
        .map(|write| queue(&storage, G0, write))
        .collect();
        for receipt in receipts {
            block_on(receipt).unwrap_or_else(|error| panic!("{room} bytes of room: {error}"));
        }
        replayed += u32::from(!ballast_is_there(&disk));
        assert_log(&storage, G0, 6..200, 10_000);
        assert_eq!(state(&storage, G0).vote.as_deref(), Some(&b"T2 n1"[..]));
        drop(storage);
        disk.crash(Crash::LoseAll);
        disk.set_capacity(1000 * MIB);
        assert_log(&open_on(&disk, MIB, 8 * MIB), G0, 6..200, 10_000);
    }
    assert!(replayed > 5, "the disk was full only {replayed} times");
}

#[test]
fn a_batch_that_reached_the_disk_and_failed_after_that_is_replayed_to_the_same() {
    // redb makes its file shorter after the flush: the batch is on the disk, and its commit fails.
    // Batches of these kinds, so that each begins from what the next or the same one left.
    type Make = fn(u64) -> Vec<Write>;
    let kinds: [Make; 6] = [
        |end| vec![append_of(G0, end..end + 3, 10_000), truncate_of(end - 1)],
        |end| vec![append_of(G0, end..end + 3, 10_000), truncate_of(end + 1)],
        |end| {
            vec![
                append_of(G0, end..end + 3, 10_000),
                truncate_of(end - 1),
                append_of(G0, end - 1..end, 10_000),
            ]
        },
        |end| vec![truncate_of(end - 2), append_of(G0, end - 2..end + 4, 10_000), vote_of("T1 n1")],
        |end| vec![append_of(G0, end..end + 5, 10_000), purge_of(end + 2), truncate_of(end + 4)],
        |end| {
            vec![
                append_of(G0, end..end + 2, 10_000),
                purge_of(end + 9),
                append_of(G0, end + 10..end + 12, 10_000),
            ]
        },
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        let (disk, driver) = (Disk::default(), Driver::default());
        let storage = RedbStorage::builder("/n1")
            .hooks(driver.hooks(disk.hooks(), false))
            .low_water_bytes(MIB)
            .ballast_bytes(MIB)
            .open()
            .expect("it opens");
        let batch = |writes: Vec<Write>| {
            let receipts: Vec<_> = writes.into_iter().map(|write| queue(&storage, G0, write)).collect();
            driver.drive();
            for receipt in receipts {
                block_on(receipt).unwrap_or_else(|error| panic!("kind {number}: {error}"));
            }
        };
        batch(vec![append_of(G0, 0..3000, 10_000)]);
        batch(vec![truncate_of(20)]);
        disk.fail_shrinks(1);
        let mut log = 0..20;
        let mut rounds = 0;
        while disk.shrinks_to_fail() > 0 {
            let writes = kind(log.end);
            for write in &writes {
                match write {
                    Write::Append { first, entries } => log.end = first.get() + entries.len() as u64,
                    Write::Truncate { from } => log.end = from.get(),
                    Write::Purge { upto, .. } => log = upto.get() + 1..log.end.max(upto.get() + 1),
                    _ => {}
                }
            }
            batch(writes);
            assert_log(&storage, G0, log.clone(), 10_000);
            rounds += 1;
            assert!(rounds < 100, "kind {number}: the file never became shorter");
        }
        assert_log(&storage, G0, log.clone(), 10_000);
        batch(vec![append_of(G0, log.end..log.end + 1, 10_000)]);
        assert_log(&storage, G0, log.start..log.end + 1, 10_000);
    }
}

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

#[test]
fn the_real_disk_is_measured() {
    let dir = tempdir().expect("a directory");
    let health = |low_water| {
        let storage =
            RedbStorage::builder(dir.path()).low_water_bytes(low_water).ballast_bytes(1 << 16).open();
        storage.expect("it opens").health().get()
    };
    assert_eq!(health(1), Health::Ok);
    assert_eq!(health(1 << 60), Health::Low, "no disk has so much");
}

#[test]
fn room_that_comes_back_by_itself_is_noticed_without_a_write() {
    let (disk, driver) = (Disk::default(), Driver::default());
    disk.set_capacity(8 * MIB);
    let timers = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let started = timers.clone();
    let sleep = move |_: Duration| {
        let (tx, rx) = futures::channel::oneshot::channel::<()>();
        started.lock().expect("unpoisoned").push(tx);
        rx.map(drop).boxed()
    };
    let hooks = Hooks { sleep: std::sync::Arc::new(sleep), ..driver.hooks(disk.hooks(), false) };
    let storage = RedbStorage::builder("/n1").hooks(hooks).ballast_bytes(MIB).open().expect("it opens");
    assert_eq!(storage.health().get(), Health::Full, "there is not even room for the reserve");
    let tick = || {
        driver.drive();
        timers.lock().expect("unpoisoned").pop().expect("it looks again later").send(()).expect("it waits");
        driver.drive();
    };
    tick();
    assert_eq!(storage.health().get(), Health::Full);
    disk.set_capacity(100 * MIB);
    tick();
    assert_eq!(storage.health().get(), Health::Ok);
    assert!(ballast_is_there(&disk));
    assert!(timers.lock().expect("unpoisoned").is_empty(), "with room there is nothing to look for");
}
