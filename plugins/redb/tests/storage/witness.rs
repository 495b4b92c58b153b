//! `log.seen`: whatever happens to it alone is no harm, and it is never ahead of the log.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;

use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{Health, Identity, Storage};
use quorate::types::DiskId;
use quorate_redb::RedbStorage;
use quorate_redb::hooks::Files;

use crate::common::*;
use crate::disk::{Crash, Disk};
use crate::hooks::Driver;

const LOG_FILE: &str = "/n1/log.redb";
const SEEN_FILE: &str = "/n1/log.seen";
const HEADER: usize = 28;
const RECORD: usize = 12;

fn try_open(disk: &Disk) -> Result<(RedbStorage, Driver), StorageError> {
    try_open_as(disk, &identity(1))
}

fn try_open_as(disk: &Disk, identity: &Identity) -> Result<(RedbStorage, Driver), StorageError> {
    let driver = Driver::default();
    let builder = RedbStorage::builder("/n1").hooks(driver.hooks(disk.hooks(), false));
    let storage = builder.preallocate_bytes(0).ballast_bytes(0).low_water_bytes(0).open()?;
    block_on(storage.set_identity_once(identity))?;
    Ok((storage, driver))
}

fn open_on(disk: &Disk) -> (RedbStorage, Driver) {
    try_open(disk).expect("it opens")
}

fn append(storage: &RedbStorage, driver: &Driver, index: u64) -> Result<(), StorageError> {
    let receipt = queue(storage, G0, append_of(G0, index..index + 1, 200));
    driver.drive();
    block_on(receipt)
}

/// The process dies: nothing is closed, and all that was written stays.
fn kill(disk: &Disk, storage: RedbStorage, driver: &Driver) {
    disk.cut_power_after(0);
    drop(storage);
    driver.kill();
    disk.crash(Crash::KeepAll);
}

fn shut(storage: RedbStorage, driver: &Driver) {
    drop(storage);
    assert!(driver.drive(), "the writer ends when its storage is dropped");
}

/// The numbers in the file, as a reader of its layout finds them.
fn numbers(disk: &Disk) -> Vec<u64> {
    let bytes = disk.bytes(Path::new(SEEN_FILE));
    assert_eq!(&bytes[..12], b"QUORSEEN\x01\0\0\0");
    let number = |record: &[u8]| u64::from_le_bytes(*record.first_chunk().expect("whole"));
    bytes[HEADER..].chunks_exact(RECORD).map(number).collect()
}

/// A log of ten entries whose last commit has rotted while it was not closed.
fn rotten(disk: &Disk) {
    let (storage, driver) = open_on(disk);
    for index in 0..9 {
        append(&storage, &driver, index).expect("a sound disk");
    }
    let before = disk.bytes(Path::new(LOG_FILE));
    append(&storage, &driver, 9).expect("a sound disk");
    kill(disk, storage, &driver);
    let mut log = disk.bytes(Path::new(LOG_FILE));
    let start = entry(G0, 9, 200);
    let at = log.windows(200).position(|window| window == &start[..]).expect("it was written");
    assert_ne!(before.get(at..at + 200), Some(&log[at..at + 200]), "by the last commit");
    log[at] ^= 1;
    disk.set_bytes(Path::new(LOG_FILE), &log);
}

#[test]
fn a_commit_that_was_flushed_and_rots_is_missed_by_its_number() {
    let disk = Disk::default();
    rotten(&disk);
    // However often it is opened: what was seen is not forgotten with the first error.
    for _ in 0..3 {
        let Err(StorageError::Corrupt { what, detail }) = try_open(&disk) else { panic!("it opened") };
        assert_eq!(what, LOG_FILE);
        let expected = "commit 10 was flushed, and is lost: the last one that is whole is 9";
        assert!(detail.contains(expected), "{detail}");
    }
}

#[test]
fn every_commit_is_seen_before_it_is_acknowledged_and_each_open_begins_anew() {
    let disk = Disk::default();
    let (storage, driver) = open_on(&disk);
    assert_eq!(numbers(&disk), [0; 0], "begun before it was known whose it is");
    for index in 0..5 {
        append(&storage, &driver, index).expect("a sound disk");
        assert_eq!(numbers(&disk), (1..=index + 1).collect::<Vec<_>>());
    }
    shut(storage, &driver);
    let (storage, driver) = open_on(&disk);
    assert_eq!(numbers(&disk), [5]);
    append(&storage, &driver, 5).expect("a sound disk");
    assert_eq!(numbers(&disk), [5, 6]);
    kill(&disk, storage, &driver);
    let (storage, driver) = open_on(&disk);
    assert_eq!(numbers(&disk), [6]);
    assert_log(&storage, G0, 0..6, 200);
    shut(storage, &driver);
    assert!(!disk.exists(Path::new("/n1/log.seen.tmp")));
}

#[test]
fn one_that_has_grown_is_begun_anew() {
    let disk = Disk::default();
    let (storage, driver) = open_on(&disk);
    let mut longest = 0;
    for round in 0..12_000 {
        let receipt = queue(&storage, G0, vote_of(&round.to_string()));
        driver.drive();
        block_on(receipt).expect("a sound disk");
        longest = longest.max(disk.bytes(Path::new(SEEN_FILE)).len());
    }
    assert!(((64 << 10) - RECORD..64 << 10).contains(&longest), "{longest}");
    let numbers = numbers(&disk);
    assert!(numbers.len() < 2000, "{} records", numbers.len());
    assert_eq!(numbers.last(), Some(&12_000));
    kill(&disk, storage, &driver);
    assert_eq!(state(&open_on(&disk).0, G0).vote.as_deref(), Some(&b"11999"[..]));
}

#[test]
fn one_that_is_missing_empty_torn_or_junk_says_nothing() {
    let sound = Disk::default();
    let (storage, driver) = open_on(&sound);
    for index in 0..10 {
        append(&storage, &driver, index).expect("a sound disk");
    }
    kill(&sound, storage, &driver);
    let (log, seen) = (sound.bytes(Path::new(LOG_FILE)), sound.bytes(Path::new(SEEN_FILE)));
    let mut all: Vec<Vec<u8>> = (0..seen.len()).map(|len| seen[..len].to_vec()).collect();
    all.extend((0..seen.len() * 8).map(|bit| {
        let mut flipped = seen.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    }));
    all.extend([b"junk".to_vec(), vec![0; 5000], vec![0xff; 5000], [&seen[..], &vec![7; 300_000]].concat()]);
    for bytes in all {
        sound.set_bytes(Path::new(LOG_FILE), &log);
        sound.set_bytes(Path::new(SEEN_FILE), &bytes);
        let (storage, driver) = open_on(&sound);
        assert_log(&storage, G0, 0..10, 200);
        assert_eq!(numbers(&sound), [10], "begun anew");
        shut(storage, &driver);
    }
    // And in front of a damaged log it is as if there were none: the last commit counts as torn.
    for bytes in [&b""[..], b"junk", &seen[..HEADER], &seen[..HEADER + 9 * RECORD + 5]] {
        let disk = Disk::default();
        rotten(&disk);
        disk.set_bytes(Path::new(SEEN_FILE), bytes);
        let (storage, driver) = open_on(&disk);
        assert_log(&storage, G0, 0..9, 200);
        shut(storage, &driver);
    }
    // Nor need it be there at all.
    sound.remove(Path::new(SEEN_FILE));
    let (storage, driver) = open_on(&sound);
    assert_eq!(numbers(&sound), [10]);
    shut(storage, &driver);
}

#[test]
fn a_log_that_was_seen_and_is_missing_is_not_made_anew() {
    let disk = Disk::default();
    let (storage, driver) = open_on(&disk);
    append(&storage, &driver, 0).expect("a sound disk");
    shut(storage, &driver);
    disk.remove(Path::new(LOG_FILE));
    disk.remove(Path::new("/n1/NODE"));
    let error = try_open(&disk).err().expect("a log was there");
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

#[test]
fn a_disk_that_is_full_for_it_alone_fails_no_commit_and_it_catches_up() {
    let disk = Disk::default();
    let (storage, driver) = open_on(&disk);
    append(&storage, &driver, 0).expect("a sound disk");
    // From here on the log has room inside its own file, and nothing else has any.
    let full = "/n1/log.seen";
    disk.fail_writes_of(Some(Path::new(full)));
    for index in 1..200 {
        append(&storage, &driver, index).expect("the log has room");
    }
    assert_eq!(storage.health().get(), Health::Ok);
    assert_eq!(numbers(&disk), [1], "it lags");
    disk.fail_writes_of(None);
    let mut index = 200;
    while *numbers(&disk).last().expect("one") < index {
        append(&storage, &driver, index).expect("a sound disk");
        index += 1;
        assert!(index < 400, "it never caught up");
    }
    append(&storage, &driver, index).expect("a sound disk");
    assert_eq!(numbers(&disk).last(), Some(&(index + 1)));
    kill(&disk, storage, &driver);
    // Nor does an open fail for it.
    disk.fail_writes_of(Some(Path::new(full)));
    let (storage, driver) = open_on(&disk);
    assert_log(&storage, G0, 0..index + 1, 200);
    append(&storage, &driver, index + 1).expect("a sound disk");
    shut(storage, &driver);
}

#[test]
fn a_commit_whose_flush_fails_is_not_seen() {
    let disk = Disk::default();
    let (storage, driver) = open_on(&disk);
    append(&storage, &driver, 0).expect("a sound disk");
    disk.fail_syncs(true);
    append(&storage, &driver, 1).expect_err("not flushed");
    disk.fail_syncs(false);
    shut(storage, &driver);
    assert_eq!(numbers(&disk), [1]);
    disk.crash(Crash::LoseAll);
    let (storage, driver) = open_on(&disk);
    assert_log(&storage, G0, 0..1, 200);
    shut(storage, &driver);
}

#[test]
fn a_power_cut_that_spares_it_never_finds_it_ahead() {
    // All of the witness reaches the disk at once here, and nothing of the log but what was flushed:
    // the worst that the order of writes allows.
    let run = |disk: &Disk, acknowledged: &mut u64| -> Result<(), StorageError> {
        for life in 0..3 {
            let (storage, driver) = try_open(disk)?;
            for index in life * 4..life * 4 + 4 {
                append(&storage, &driver, index)?;
                *acknowledged = index + 1;
            }
            shut(storage, &driver);
        }
        Ok(())
    };
    let whole = Disk::default();
    run(&whole, &mut 0).expect("a sound disk");
    let mut found = BTreeSet::new();
    for at in 0..whole.ops() {
        for crash in [Crash::LoseAll, Crash::Tear(at), Crash::Tear(at + 10_000)] {
            let (disk, mut acknowledged) = (Disk::default(), 0);
            disk.cut_power_after(at);
            drop(run(&disk, &mut acknowledged));
            disk.keep(Path::new(SEEN_FILE));
            disk.crash(crash);
            let opened = try_open(&disk);
            let (storage, driver) = opened.unwrap_or_else(|error| panic!("cut at {at}, {crash:?}: {error}"));
            let end = state(&storage, G0).log.end;
            assert!(end >= acknowledged, "cut at {at}, {crash:?}: {end} of {acknowledged}");
            found.insert(end);
            shut(storage, &driver);
        }
    }
    assert!(found.len() > 10, "every commit was interrupted: {found:?}");
}

#[test]
fn what_was_seen_is_not_forgotten_in_a_power_cut_after_the_first_error() {
    let disk = Disk::default();
    rotten(&disk);
    // As `log.seen` is most of the time: written, and not flushed.
    let seen = disk.bytes(Path::new(SEEN_FILE));
    disk.remove(Path::new(SEEN_FILE));
    let mut file = disk.create(Path::new(SEEN_FILE)).expect("a sound disk");
    file.append(&seen).expect("a sound disk");
    let log = disk.bytes(Path::new(LOG_FILE));
    // redb goes back to the commit before, for good, and the error comes later. The power may fail at any
    // time from there on.
    let mut repaired = 0;
    for at in 0.. {
        let disk = disk.fork();
        disk.cut_power_after(at);
        let error = try_open(&disk).err().expect("the last commit is lost");
        disk.crash(Crash::LoseAll);
        // Before that a power cut takes the witness, as it may at any time.
        let untouched = disk.bytes(Path::new(LOG_FILE)) == log;
        match try_open(&disk).err() {
            Some(StorageError::Corrupt { what, .. }) => assert_eq!(what, LOG_FILE),
            other => assert!(other.is_none() && untouched, "cut at {at}: {other:?}"),
        }
        repaired += u32::from(!untouched);
        if matches!(error, StorageError::Corrupt { .. }) {
            break;
        }
    }
    assert!(repaired > 1, "it was never too late");
}

#[test]
fn what_a_killed_process_did_not_flush_is_flushed_before_it_is_built_on() {
    // The process dies between a write and its flush. What it wrote is read by the next one, as if it
    // were on the disk; and then the power fails, which spares the witness alone.
    let found_more = Cell::new(0);
    let life = |disk: &Disk, from: u64, acknowledged: &mut u64| -> Result<(), StorageError> {
        let (storage, driver) = try_open(disk)?;
        let first = state(&storage, G0).log.end;
        found_more.set(found_more.get() + u32::from(first > *acknowledged));
        for index in first..first.max(from) + 3 {
            append(&storage, &driver, index)?;
            *acknowledged = index + 1;
        }
        drop(storage);
        driver.kill();
        Ok(())
    };
    let whole = Disk::default();
    life(&whole, 0, &mut 0).expect("a sound disk");
    let (first, begun) = (whole.ops(), whole.fork());
    begun.kill();
    life(&begun, 3, &mut 0).expect("a sound disk");
    let second = begun.ops() - first;
    for killed in 0..first {
        for cut in 0..second {
            let (disk, mut acknowledged) = (Disk::default(), 0);
            disk.cut_power_after(killed);
            drop(life(&disk, 0, &mut acknowledged));
            disk.kill();
            disk.cut_power_after(cut);
            drop(life(&disk, 3, &mut acknowledged));
            disk.keep(Path::new(SEEN_FILE));
            disk.crash(if cut % 2 == 0 { Crash::LoseAll } else { Crash::Tear(killed * 1000 + cut) });
            let opened = try_open(&disk);
            let when = format!("killed at {killed}, cut at {cut}");
            let (storage, driver) = opened.unwrap_or_else(|error| panic!("{when}: {error}"));
            let end = state(&storage, G0).log.end;
            assert!(end >= acknowledged, "{when}: {end} of {acknowledged}");
            shut(storage, &driver);
        }
    }
    assert!(found_more.get() > 0, "no second life began with a commit that the first had not flushed");
}

#[test]
fn what_was_found_at_a_start_survives_a_power_cut() {
    // A node builds on what it finds: it votes by it, and tells a leader how far its log goes.
    let mut found_more = 0;
    let whole = Disk::default();
    let run = |disk: &Disk, acknowledged: &mut u64| -> Result<(), StorageError> {
        let (storage, driver) = try_open(disk)?;
        for index in 0..3 {
            append(&storage, &driver, index)?;
            *acknowledged = index + 1;
        }
        shut(storage, &driver);
        Ok(())
    };
    run(&whole, &mut 0).expect("a sound disk");
    for killed in 0..whole.ops() {
        let (disk, mut acknowledged) = (Disk::default(), 0);
        disk.cut_power_after(killed);
        drop(run(&disk, &mut acknowledged));
        disk.kill();
        let (storage, driver) = open_on(&disk);
        let found = state(&storage, G0).log.end;
        found_more += u32::from(found > acknowledged);
        disk.cut_power_after(0);
        drop(storage);
        driver.kill();
        disk.crash(Crash::LoseAll);
        let (storage, driver) = open_on(&disk);
        assert_eq!(state(&storage, G0).log.end, found, "killed at {killed}");
        shut(storage, &driver);
    }
    assert!(found_more > 0, "no commit was found that was not acknowledged");
}

#[test]
fn a_leftover_that_cannot_be_removed_stops_no_open() {
    let disk = Disk::default();
    let (storage, driver) = open_on(&disk);
    append(&storage, &driver, 0).expect("a sound disk");
    shut(storage, &driver);
    let leftover = Path::new("/n1/log.seen.tmp");
    drop(disk.create(leftover).expect("a sound disk"));
    disk.fail_removes_of(Some(leftover));
    let (storage, driver) = open_on(&disk);
    append(&storage, &driver, 1).expect("a sound disk");
    assert_log(&storage, G0, 0..2, 200);
    shut(storage, &driver);
}

#[test]
fn the_witness_of_another_directory_says_nothing() {
    let (one, other) = (Disk::default(), Disk::default());
    let owner = Identity { disk_id: DiskId([0xd2; 16]), ..identity(1) };
    for (disk, owner, entries) in [(&one, identity(1), 3), (&other, owner, 10)] {
        let (storage, driver) = try_open_as(disk, &owner).expect("a sound disk");
        for index in 0..entries {
            append(&storage, &driver, index).expect("a sound disk");
        }
        shut(storage, &driver);
    }
    one.set_bytes(Path::new(SEEN_FILE), &other.bytes(Path::new(SEEN_FILE)));
    let (storage, driver) = open_on(&one);
    assert_log(&storage, G0, 0..3, 200);
    assert_eq!(numbers(&one), [3], "begun anew, as its own");
    shut(storage, &driver);
    // Nor does it speak for a log that has lost a commit: it is as if there were none.
    let disk = Disk::default();
    rotten(&disk);
    disk.set_bytes(Path::new(SEEN_FILE), &other.bytes(Path::new(SEEN_FILE)));
    let (storage, driver) = open_on(&disk);
    assert_eq!(numbers(&disk), [9]);
    shut(storage, &driver);
}
