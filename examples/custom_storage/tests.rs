//! The conformance kit, and what a crash and a broken disk leave.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{Flushed, Storage, Write};
use quorate::testing::storage::StorageHarness;
use quorate::types::{GroupId, LogIndex};

use crate::storage::FileStorage;

struct InADirectory;

impl StorageHarness for InADirectory {
    type Storage = FileStorage;
    type Place = tempfile::TempDir;

    fn place() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    async fn open(place: &tempfile::TempDir) -> Result<FileStorage, StorageError> {
        FileStorage::open(place.path())
    }
}

quorate::storage_conformance!(InADirectory);

/// A group with three entries, each flushed by itself, and its file.
fn three_entries() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a directory");
    let storage = FileStorage::open(dir.path()).expect("opens");
    block_on(async {
        storage.open(GroupId::MAIN).await.expect("opens");
        for index in 0..3 {
            let (flushed, receipt) = Flushed::pair();
            let append = Write::Append { first: LogIndex(index), entries: vec!["entry".into()] };
            storage.write(GroupId::MAIN, append, flushed);
            receipt.await.expect("flushed");
        }
        storage.close().await;
    });
    let path = dir.path().join("LOG");
    let bytes = fs::read(&path).expect("written");
    (dir, path, bytes)
}

fn log(dir: &tempfile::TempDir) -> Result<Range<u64>, StorageError> {
    let storage = FileStorage::open(dir.path())?;
    let state = block_on(storage.open(GroupId::MAIN))?;
    block_on(storage.close());
    Ok(state.log)
}

#[test]
fn a_torn_end_is_cut_off_wherever_it_is_torn() {
    let (dir, path, bytes) = three_entries();
    let last = bytes.len() / 3 * 2;
    for len in last..bytes.len() {
        fs::write(&path, &bytes[..len]).expect("writes");
        assert_eq!(log(&dir).expect("a torn end is no damage"), 0..2, "torn at byte {len}");
    }
    // Longer, but its pages never got there.
    fs::write(&path, [&bytes[..last], &[0; 500]].concat()).expect("writes");
    assert_eq!(log(&dir).expect("a torn end is no damage"), 0..2);
    assert_eq!(fs::read(&path).expect("reads").len(), last, "the next frame follows at once");
}

#[test]
fn damage_before_the_end_is_an_error() {
    let (dir, path, bytes) = three_entries();
    assert_eq!(log(&dir).expect("undamaged"), 0..3);
    for at in 0..bytes.len() / 3 * 2 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).expect("writes");
        assert!(matches!(log(&dir), Err(StorageError::Corrupt { .. })), "byte {at}");
    }
}

#[test]
fn a_lost_log_is_not_an_empty_one() {
    let (dir, path, _) = three_entries();
    fs::write(dir.path().join("IDENTITY"), "recorded").expect("writes");
    fs::remove_file(path).expect("removes");
    assert!(matches!(log(&dir), Err(StorageError::Corrupt { .. })));
}

#[test]
fn a_directory_has_one_owner() {
    let (dir, ..) = three_entries();
    let first = FileStorage::open(dir.path()).expect("opens");
    assert!(matches!(FileStorage::open(dir.path()), Err(StorageError::InUse { .. })));
    block_on(first.close());
    FileStorage::open(dir.path()).expect("released");
}
