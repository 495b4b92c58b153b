//! Snapshots on real files.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::Storage;
use quorate::types::{GroupId, LogId};
use tempfile::tempdir;

use crate::common::*;

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("snap")).expect("the directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable").file_name().into_string().expect("a plain name"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_survives_a_reopen_and_replaces_the_older() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    assert!(read_snapshot(&storage, G0).expect("sound").is_none());
    let large: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    snapshot(&storage, G0, LogId::new(1, 5), &[b"one"]).expect("a sound disk");
    snapshot(&storage, G1, LogId::new(1, 1), &[b"other"]).expect("a sound disk");
    snapshot(&storage, G0, LogId::new(2, 17), &[&large[..300], b"", &large[300..]]).expect("a sound disk");
    assert_eq!(names(dir.path()), ["g0-T2-17.snap", "g1-T1-1.snap"]);
    drop(storage);
    let storage = open(dir.path());
    assert_eq!(read_snapshot(&storage, G0).expect("sound"), Some((LogId::new(2, 17), large)));
    assert_eq!(read_snapshot(&storage, G1).expect("sound"), Some((LogId::new(1, 1), b"other".to_vec())));
    assert!(read_snapshot(&storage, GroupId(2)).expect("sound").is_none());
}

#[test]
fn a_snapshot_never_replaces_a_newer_and_does_replace_its_equal() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    snapshot(&storage, G0, LogId::new(2, 10), &[b"new"]).expect("a sound disk");
    snapshot(&storage, G0, LogId::new(1, 99), &[b"old"]).expect("it succeeds and changes nothing");
    assert_eq!(read_snapshot(&storage, G0).expect("sound"), Some((LogId::new(2, 10), b"new".to_vec())));
    snapshot(&storage, G0, LogId::new(2, 10), &[b"same"]).expect("a sound disk");
    assert_eq!(read_snapshot(&storage, G0).expect("sound"), Some((LogId::new(2, 10), b"same".to_vec())));
    assert_eq!(names(dir.path()), ["g0-T2-10.snap"]);
}

#[test]
fn nothing_is_visible_before_the_commit_and_nothing_is_left_without_it() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let mut writer = block_on(storage.snapshot_writer(G0)).expect("open");
    block_on(writer.write(Bytes::from_static(b"half"))).expect("a sound disk");
    assert!(read_snapshot(&storage, G0).expect("sound").is_none());
    drop(writer);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_reader_reads_on_when_a_newer_snapshot_is_committed() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    let first = vec![7; 600_000];
    snapshot(&storage, G0, LogId::new(1, 1), &[&first]).expect("a sound disk");
    let mut stored = block_on(storage.snapshot(G0)).expect("sound").expect("there");
    let mut read = block_on(stored.reader.next()).expect("sound").expect("more than one chunk").to_vec();
    assert!(read.len() <= 256 * 1024);
    snapshot(&storage, G0, LogId::new(1, 2), &[b"second"]).expect("a sound disk");
    while let Some(chunk) = block_on(stored.reader.next()).expect("sound") {
        read.extend_from_slice(&chunk);
    }
    assert!(read == first);
}

#[test]
fn an_empty_snapshot_is_a_snapshot() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    snapshot(&storage, G0, LogId::new(1, 1), &[]).expect("a sound disk");
    assert_eq!(read_snapshot(&storage, G0).expect("sound"), Some((LogId::new(1, 1), Vec::new())));
}

#[test]
fn every_flipped_bit_and_every_truncation_of_a_snapshot_is_noticed() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    snapshot(&storage, G0, LogId::new(1, 7), &[b"state"]).expect("a sound disk");
    block_on(storage.close());
    let path = dir.path().join("snap/g0-T1-7.snap");
    let sound = fs::read(&path).expect("the file");
    let noticed = || {
        let storage = open(dir.path());
        matches!(
            read_snapshot(&storage, G0),
            Err(StorageError::Corrupt { .. } | StorageError::Version { .. })
        )
    };
    // Every third bit: each takes a start.
    for bit in (0..sound.len() * 8).step_by(3) {
        let mut flipped = sound.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, flipped).expect("a sound disk");
        assert!(noticed(), "bit {bit}");
    }
    for len in (0..sound.len()).step_by(5) {
        fs::write(&path, &sound[..len]).expect("a sound disk");
        assert!(noticed(), "{len} bytes");
    }
    fs::write(&path, &sound).expect("a sound disk");
    assert!(!noticed(), "the sound file is sound");
}

#[test]
fn damage_in_a_large_snapshot_never_ends_well() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    snapshot(&storage, G0, LogId::new(1, 7), &[&vec![1; 700_000]]).expect("a sound disk");
    let path = dir.path().join("snap/g0-T1-7.snap");
    let mut bytes = fs::read(&path).expect("the file");
    bytes[300_000] ^= 4;
    fs::write(&path, bytes).expect("a sound disk");
    assert!(matches!(read_snapshot(&storage, G0), Err(StorageError::Corrupt { .. })));
    snapshot(&storage, G0, LogId::new(1, 8), &[b"new"]).expect("a newer one heals it");
    assert_eq!(read_snapshot(&storage, G0).expect("sound"), Some((LogId::new(1, 8), b"new".to_vec())));
}

#[test]
fn a_start_takes_the_newest_whole_one_and_removes_what_a_crash_left() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    snapshot(&storage, G0, LogId::new(1, 9), &[b"nine"]).expect("a sound disk");
    block_on(storage.close());
    let snap = dir.path().join("snap");
    let nine = fs::read(snap.join("g0-T1-9.snap")).expect("the file");
    // A newer one that is torn, leftovers, and somebody else's file.
    fs::write(snap.join("g0-T1-10.snap"), &nine[..nine.len() - 1]).expect("a sound disk");
    fs::write(snap.join("g0-3.tmp"), b"half").expect("a sound disk");
    fs::write(snap.join("notes"), b"mine").expect("a sound disk");
    let storage = open(dir.path());
    assert_eq!(read_snapshot(&storage, G0).expect("sound"), Some((LogId::new(1, 9), b"nine".to_vec())));
    assert_eq!(names(dir.path()), ["g0-T1-10.snap", "g0-T1-9.snap", "notes"]);
    // An older one is left when a crash hits between the rename and the removal.
    snapshot(&storage, G0, LogId::new(1, 11), &[b"eleven"]).expect("a sound disk");
    block_on(storage.close());
    fs::write(snap.join("g0-T1-9.snap"), &nine).expect("a sound disk");
    let storage = open(dir.path());
    assert_eq!(read_snapshot(&storage, G0).expect("sound"), Some((LogId::new(1, 11), b"eleven".to_vec())));
    assert_eq!(names(dir.path()), ["g0-T1-11.snap", "notes"]);
}
