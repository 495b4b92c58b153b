//! The power fails before every single operation, from the first start on.

use std::path::Path;

use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{Health, Storage};
use quorate::types::LogId;
use quorate_redb::RedbStorage;

use crate::common::*;
use crate::disk::{Crash, Disk};
use crate::hooks::Driver;

/// How far a run got: what it was told is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    #[default]
    Nothing,
    Identity,
    Vote,
    Entries,
    Snapshot,
    Newer,
    Purged,
    Truncated,
}

fn open_on(disk: &Disk) -> Result<(RedbStorage, Driver), StorageError> {
    let driver = Driver::default();
    let storage = RedbStorage::builder("/n1")
        .hooks(driver.hooks(disk.hooks(), false))
        .preallocate_bytes(0)
        .ballast_bytes(1 << 16)
        .low_water_bytes(1 << 16)
        .open()?;
    Ok((storage, driver))
}

/// The life of a node in short. Ends where the power does.
fn live(disk: &Disk, reached: &mut Reached) -> Result<(), StorageError> {
    let (storage, driver) = open_on(disk)?;
    let write = |write| {
        let receipt = queue(&storage, G0, write);
        driver.drive();
        block_on(receipt)
    };
    block_on(storage.set_identity_once(&identity(1)))?;
    *reached = Reached::Identity;
    write(vote_of("T1 n1"))?;
    *reached = Reached::Vote;
    write(append_of(G0, 0..20, 300))?;
    *reached = Reached::Entries;
    snapshot(&storage, G0, LogId::new(1, 5), &[b"five"])?;
    *reached = Reached::Snapshot;
    snapshot(&storage, G0, LogId::new(1, 9), &[b"nine"])?;
    *reached = Reached::Newer;
    write(purge_of(9))?;
    *reached = Reached::Purged;
    write(truncate_of(15))?;
    *reached = Reached::Truncated;
    storage.shut(&driver);
    Ok(())
}

trait Shut {
    fn shut(self, driver: &Driver);
}

impl Shut for RedbStorage {
    fn shut(self, driver: &Driver) {
        drop(self);
        assert!(driver.drive(), "the writer ends when its storage is dropped");
    }
}

fn check(disk: &Disk, reached: Reached, what: &str) {
    let (storage, driver) = open_on(disk).unwrap_or_else(|error| panic!("{what}, {reached:?}: {error}"));
    let identity_now = block_on(storage.identity()).expect("readable");
    assert!(identity_now.is_none_or(|found| found == identity(1)), "{what}");
    assert!(reached < Reached::Identity || identity_now.is_some(), "{what}: the identity is lost");
    let state = state(&storage, G0);
    if reached >= Reached::Vote {
        assert_eq!(state.vote.as_deref(), Some(&b"T1 n1"[..]), "{what}: the vote is lost");
    }
    // A step that was not acknowledged may be there or not, and the one before it is.
    let (before, after) = match reached {
        Reached::Nothing | Reached::Identity => (0..0, 0..0),
        Reached::Vote => (0..0, 0..20),
        Reached::Entries | Reached::Snapshot => (0..20, 0..20),
        Reached::Newer => (0..20, 10..20),
        Reached::Purged => (10..20, 10..15),
        Reached::Truncated => (10..15, 10..15),
    };
    assert!(state.log == before || state.log == after, "{what}, {reached:?}: {:?}", state.log);
    assert_log(&storage, G0, state.log, 300);
    let five = Some((LogId::new(1, 5), b"five".to_vec()));
    let nine = Some((LogId::new(1, 9), b"nine".to_vec()));
    let found = read_snapshot(&storage, G0).expect("whole");
    let allowed = match reached {
        Reached::Nothing | Reached::Identity | Reached::Vote => [None, None],
        Reached::Entries => [None, five],
        Reached::Snapshot => [five, nine],
        _ => [nine.clone(), nine],
    };
    assert!(allowed.contains(&found), "{what}, {reached:?}: {found:?}");
    // And it goes on from there.
    if identity_now.is_some() {
        let end = state_end(&storage);
        let receipt = queue(&storage, G0, append_of(G0, end..end + 1, 300));
        driver.drive();
        block_on(receipt).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(storage.health().get(), Health::Ok);
    }
    storage.shut(&driver);
}

fn state_end(storage: &RedbStorage) -> u64 {
    state(storage, G0).log.end
}

#[test]
fn a_power_cut_before_any_operation_loses_nothing_acknowledged() {
    let mut furthest = Reached::Nothing;
    let whole = Disk::default();
    live(&whole, &mut furthest).expect("a sound disk");
    assert_eq!(furthest, Reached::Truncated);
    let ops = whole.ops();
    assert!(ops > 50, "{ops} operations are too few to be all of them");
    let mut seen = std::collections::BTreeSet::new();
    for at in 0..ops {
        let crashes = [Crash::LoseAll, Crash::KeepAll, Crash::Tear(at), Crash::Tear(at + 10_000)];
        for crash in crashes {
            let disk = Disk::default();
            disk.cut_power_after(at);
            let mut reached = Reached::Nothing;
            // The last operations are of the close, which says nothing of its failure.
            drop(live(&disk, &mut reached));
            disk.crash(crash);
            seen.insert(reached);
            check(&disk, reached, &format!("power cut before operation {at}, {crash:?}"));
        }
    }
    assert_eq!(seen.len(), 8, "every step was interrupted: {seen:?}");
}

#[test]
fn a_power_cut_during_recovery_loses_nothing_either() {
    let disk = Disk::default();
    let mut reached = Reached::Nothing;
    live(&disk, &mut reached).expect("a sound disk");
    for round in 0..60 {
        // A crash without a close, so that the next start has something to repair.
        let (storage, driver) = open_on(&disk).expect("it opens");
        let end = state_end(&storage);
        let receipt = queue(&storage, G0, append_of(G0, end..end + 1, 300));
        driver.drive();
        block_on(receipt).expect("a sound disk");
        disk.cut_power_after(0);
        drop(storage);
        driver.kill();
        disk.crash(Crash::Tear(round));
        disk.cut_power_after(round % 12);
        if let Ok((storage, driver)) = open_on(&disk) {
            drop(storage);
            driver.kill();
        }
        disk.crash(Crash::Tear(round + 1000));
        let (storage, driver) = open_on(&disk).expect("it opens");
        assert_log(&storage, G0, 10..end + 1, 300);
        storage.shut(&driver);
    }
    assert!(disk.exists(Path::new("/n1/log.redb")));
}

#[test]
fn a_vote_before_there_is_an_identity_is_not_forgotten_either() {
    let disk = Disk::default();
    let (storage, driver) = open_on(&disk).expect("it opens");
    let receipt = queue(&storage, G0, vote_of("T1 n1"));
    driver.drive();
    block_on(receipt).expect("a sound disk");
    disk.cut_power_after(0);
    drop(storage);
    driver.kill();
    disk.crash(Crash::LoseAll);
    let error = open_on(&disk).err().expect("it holds a vote and belongs to nobody");
    assert!(matches!(error, StorageError::IdentityMissing { .. }), "{error}");
}
