//! A disk that runs full.

use std::path::Path;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{FutureExt, pending};
use quorate::error::StorageError;
use quorate::storage::{Health, Storage, Write};
use quorate_redb::RedbStorage;
use quorate_redb::hooks::Hooks;
use tempfile::tempdir;

use crate::common::*;
use crate::disk::{Crash, Disk};
use crate::hooks::Driver;

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn open_on(disk: &Disk, low_water: u64, ballast: u64) -> RedbStorage {
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

pub(crate) fn ballast_is_there(disk: &Disk) -> bool {
    disk.exists(Path::new("/n1/ballast"))
}

/// Appends to `G0` from `at` until `stop`, and returns the end.
pub(crate) fn append_until(storage: &RedbStorage, mut at: u64, stop: impl Fn(Health) -> bool) -> u64 {
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
