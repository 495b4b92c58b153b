//! Snapshots of other nodes that break off on their way, and go on where they were.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{ResumedSnapshot, SnapshotId, SnapshotWriter, Storage};
use quorate::types::{GroupId, LogId};
use quorate_redb::RedbStorage;
use tempfile::tempdir;

use crate::common::*;
use crate::disk::{Crash, Disk};

const MIB: usize = 1 << 20;

fn bytes(len: usize) -> Bytes {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn id_of(bytes: &[u8], index: u64) -> SnapshotId {
    SnapshotId { covers: LogId::new(1, index), len: bytes.len() as u64, fingerprint: crc32c::crc32c(bytes) }
}

fn resume(storage: &RedbStorage, group: GroupId, id: &SnapshotId) -> ResumedSnapshot {
    block_on(storage.resume_snapshot(group, id)).expect("a sound disk")
}

/// What is held, to its end.
fn held(resumed: &mut ResumedSnapshot) -> Result<Vec<u8>, StorageError> {
    let mut all = Vec::new();
    while let Some(chunk) = block_on(resumed.held.next())? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

fn put(writer: &mut Box<dyn SnapshotWriter>, bytes: &Bytes) {
    for at in (0..bytes.len()).step_by(100_000) {
        let chunk = bytes.slice(at..bytes.len().min(at + 100_000));
        block_on(writer.write(chunk)).expect("a sound disk");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("snap")).expect("the directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable").file_name().into_string().expect("a plain name"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_transfer_that_broke_off_goes_on_where_it_was_after_a_reopen_too() {
    let dir = tempdir().expect("a directory");
    let all = bytes(3_000_000);
    let id = id_of(&all, 9);
    let mut parts = vec![all.slice(..1_234_567), all.slice(1_234_567..2_000_000), all.slice(2_000_000..)];
    let mut there = 0;
    let storage = open(dir.path());
    let mut first = resume(&storage, G0, &id);
    assert!(held(&mut first).expect("sound").is_empty());
    let last = parts.pop().expect("three");
    drop(first);
    drop(storage);
    for part in parts {
        let storage = open(dir.path());
        let mut resumed = resume(&storage, G0, &id);
        assert!(held(&mut resumed).expect("sound") == all[..there], "what was there at {there}");
        put(&mut resumed.writer, &part);
        there += part.len();
        assert!(read_snapshot(&storage, G0).expect("sound").is_none(), "invisible until it is committed");
    }
    let storage = open(dir.path());
    let mut resumed = resume(&storage, G0, &id);
    assert!(held(&mut resumed).expect("sound") == all[..there]);
    put(&mut resumed.writer, &last);
    block_on(resumed.writer.commit(id.covers)).expect("a sound disk");
    assert!(read_snapshot(&storage, G0).expect("sound") == Some((id.covers, all.to_vec())));
    assert_eq!(names(dir.path()), ["g0-T1-9.snap"]);
}

#[test]
fn snapshots_that_end_in_their_checksum_have_fingerprints_of_their_own() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let fingerprint = |index, content: &[u8]| {
        let checksum = crc32c::crc32c(content).to_le_bytes();
        snapshot(&storage, G0, LogId::new(1, index), &[content, &checksum]).expect("a sound disk");
        let stored = block_on(storage.snapshot(G0)).expect("sound").expect("there");
        stored.reader.fingerprint().expect("a file has one")
    };
    let one = fingerprint(1, &bytes(100_000));
    let mut other = bytes(100_000).to_vec();
    other[50_000] ^= 1;
    assert_ne!(fingerprint(1, &other), one);
    assert_eq!(fingerprint(2, &bytes(100_000)), one, "the same bytes, whatever they cover");
}

#[test]
fn other_bytes_under_the_same_log_id_begin_anew_and_one_part_is_kept() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let (one, other) = (bytes(200_000), bytes(200_001));
    put(&mut resume(&storage, G0, &id_of(&one, 9)).writer, &one.slice(..150_000));
    put(&mut resume(&storage, G1, &id_of(&one, 9)).writer, &one.slice(..50_000));
    let mut resumed = resume(&storage, G0, &id_of(&other, 9));
    assert!(held(&mut resumed).expect("sound").is_empty(), "none of these bytes");
    put(&mut resumed.writer, &other.slice(..10));
    drop(resumed);
    assert_eq!(names(dir.path()).len(), 4, "a file and a record for each group: {:?}", names(dir.path()));
    assert_eq!(held(&mut resume(&storage, G1, &id_of(&one, 9))).expect("sound").len(), 50_000);
    let resumed = resume(&storage, G0, &id_of(&other, 9));
    block_on(resumed.writer.discard());
    assert_eq!(names(dir.path()).len(), 2, "the other group's alone");
    assert!(held(&mut resume(&storage, G0, &id_of(&other, 9))).expect("sound").is_empty());
}

#[test]
fn a_second_transfer_takes_over_from_the_first() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let all = bytes(20 * MIB);
    let id = id_of(&all, 9);
    let mut first = resume(&storage, G0, &id);
    put(&mut first.writer, &all.slice(..17 * MIB));
    // The stream of the first is dead, and nobody has noticed.
    let mut second = resume(&storage, G0, &id);
    let there = held(&mut second).expect("sound");
    assert!(there.len() >= 8 * MIB, "flushed now and then: {}", there.len());
    assert!(there == all[..there.len()]);
    let late = block_on(first.writer.write(all.slice(17 * MIB..18 * MIB)));
    assert!(matches!(late, Err(StorageError::Plugin { .. })), "{late:?}");
    put(&mut second.writer, &all.slice(there.len()..));
    let late = block_on(first.writer.commit(id.covers));
    assert!(matches!(late, Err(StorageError::Plugin { .. })), "{late:?}");
    block_on(second.writer.commit(id.covers)).expect("a sound disk");
    assert!(read_snapshot(&storage, G0).expect("sound") == Some((id.covers, all.to_vec())));
    assert_eq!(names(dir.path()), ["g0-T1-9.snap"]);
}

#[test]
fn what_is_left_of_a_transfer_is_checked_and_thrown_away() {
    let dir = tempdir().expect("a directory");
    let all = bytes(300_000);
    let id = id_of(&all, 9);
    let part = || {
        let storage = open(dir.path());
        put(&mut resume(&storage, G0, &id).writer, &all.slice(..200_000));
        drop(storage);
        let name = names(dir.path())
            .into_iter()
            .find(|name| Path::new(name).extension().is_some_and(|end| end == "part"))
            .expect("kept");
        dir.path().join("snap").join(name)
    };
    let path = part();
    let mut flipped = fs::read(&path).expect("there");
    flipped[77_777] ^= 1;
    fs::write(&path, &flipped).expect("a sound disk");
    let storage = open(dir.path());
    let mut resumed = resume(&storage, G0, &id);
    assert!(matches!(held(&mut resumed), Err(StorageError::Corrupt { .. })));
    block_on(resumed.writer.discard());
    assert!(names(dir.path()).is_empty());
    drop(storage);
    // A record that is not sound, or says more than there is, is no record.
    let path = part();
    let kept = path.with_extension("part.kept");
    let sound = fs::read(&kept).expect("there");
    fs::write(&kept, &sound[..sound.len() - 1]).expect("a sound disk");
    assert!(held(&mut resume(&open(dir.path()), G0, &id)).expect("sound").is_empty());
    let path = part();
    fs::write(&path, &all[..100_000]).expect("a sound disk");
    assert!(held(&mut resume(&open(dir.path()), G0, &id)).expect("sound").is_empty());
}

#[test]
fn a_newer_snapshot_makes_the_part_of_an_older_one_useless() {
    let dir = tempdir().expect("a directory");
    let all = bytes(1000);
    let storage = open(dir.path());
    put(&mut resume(&storage, G0, &id_of(&all, 9)).writer, &all);
    snapshot(&storage, G0, LogId::new(1, 20), &[b"newer"]).expect("a sound disk");
    let resumed = resume(&storage, G0, &id_of(&all, 9));
    block_on(resumed.writer.commit(LogId::new(1, 9))).expect("it succeeds and changes nothing");
    assert_eq!(names(dir.path()), ["g0-T1-20.snap"]);
    put(&mut resume(&storage, G0, &id_of(&all, 11)).writer, &all);
    drop(storage);
    let storage = open(dir.path());
    assert_eq!(names(dir.path()), ["g0-T1-20.snap"], "removed by the next start");
    assert_eq!(read_snapshot(&storage, G0).expect("sound"), Some((LogId::new(1, 20), b"newer".to_vec())));
}

#[test]
fn what_is_left_of_a_transfer_goes_once_the_node_has_come_as_far_by_itself() {
    let dir = tempdir().expect("a directory");
    let all = bytes(1000);
    let storage = open(dir.path());
    let break_off = |index| put(&mut resume(&storage, G0, &id_of(&all, index)).writer, &all.slice(..500));
    break_off(9);
    snapshot(&storage, G0, LogId::new(1, 8), &[b"older"]).expect("a sound disk");
    assert_eq!(names(dir.path()).len(), 3, "it is still of use: {:?}", names(dir.path()));
    snapshot(&storage, G0, LogId::new(1, 9), &[b"own"]).expect("a sound disk");
    assert_eq!(names(dir.path()), ["g0-T1-9.snap"], "by its own snapshot");
    // One that is being written is let be until it ends.
    let mut arriving = resume(&storage, G0, &id_of(&all, 11));
    put(&mut arriving.writer, &all.slice(..500));
    snapshot(&storage, G0, LogId::new(1, 12), &[b"own"]).expect("a sound disk");
    put(&mut arriving.writer, &all.slice(500..700));
    drop(arriving);
    assert_eq!(names(dir.path()), ["g0-T1-12.snap"]);
    // A machine on a disk makes no snapshots: there it is the purge that says how far it came.
    break_off(20);
    write(&storage, G0, append_of(G0, 0..30, 10));
    write(&storage, G1, purge_of(25));
    write(&storage, G0, purge_of(19));
    write(&storage, G0, vote_of("T1 n1"));
    assert_eq!(names(dir.path()).len(), 3, "it is still of use: {:?}", names(dir.path()));
    write(&storage, G0, purge_of(20));
    block_on(storage.close());
    assert_eq!(names(dir.path()), ["g0-T1-12.snap"], "by its purge");
}

#[test]
fn a_power_cut_at_any_point_of_a_transfer_leaves_a_prefix_or_the_whole() {
    let all = bytes(50_000);
    let id = id_of(&all, 9);
    let open_on = |disk: &Disk| {
        let storage = RedbStorage::builder("/n1").hooks(disk.hooks()).ballast_bytes(0).open();
        let storage = storage.expect("it opens");
        block_on(storage.set_identity_once(&identity(1))).expect("its own identity");
        storage
    };
    // One transfer that breaks off twice, as far as the power lasts.
    let transfer = |disk: &Disk, storage: &RedbStorage, most: u64| -> Result<(), StorageError> {
        disk.cut_power_after(most);
        for end in [20_000, 40_000, 50_000] {
            let mut resumed = block_on(storage.resume_snapshot(G0, &id))?;
            let there = held(&mut resumed)?.len();
            block_on(resumed.writer.write(all.slice(there..end)))?;
            if end == all.len() {
                block_on(resumed.writer.commit(id.covers))?;
            }
        }
        Ok(())
    };
    let disk = Disk::default();
    let storage = open_on(&disk);
    let before = disk.ops();
    transfer(&disk, &storage, 100_000).expect("a sound disk");
    let ops = disk.ops() - before;
    assert!(ops > 20, "{ops} operations are too few to be all of them");
    let mut resumed_with_some = 0;
    for at in 0..ops {
        for crash in [Crash::LoseAll, Crash::KeepAll, Crash::Tear(at)] {
            let disk = Disk::default();
            let storage = open_on(&disk);
            drop(transfer(&disk, &storage, at));
            drop(storage);
            disk.crash(crash);
            let storage = open_on(&disk);
            let what = format!("power cut before operation {at}, {crash:?}");
            let found = read_snapshot(&storage, G0).unwrap_or_else(|error| panic!("{what}: {error}"));
            if let Some(found) = found {
                assert!(found == (id.covers, all.to_vec()), "{what}");
                continue;
            }
            let mut resumed = resume(&storage, G0, &id);
            let there = held(&mut resumed).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(there == all[..there.len()], "{what}: other bytes");
            resumed_with_some += u32::from(!there.is_empty());
            block_on(resumed.writer.write(all.slice(there.len()..))).expect("a sound disk");
            block_on(resumed.writer.commit(id.covers)).expect("a sound disk");
            let whole = read_snapshot(&storage, G0).expect("sound");
            assert!(whole == Some((id.covers, all.to_vec())), "{what}");
        }
    }
    assert!(resumed_with_some > 10, "something was held only {resumed_with_some} times");
}
