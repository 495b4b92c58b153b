//! The conformance kit, and what a crash and a broken disk leave.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{Flushed, Identity, Storage, Write};
use quorate::testing::storage::StorageHarness;
use quorate::types::{ClusterId, DiskId, GroupId, LogId, LogIndex, NodeId};

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
fn what_looks_like_a_frame_inside_a_torn_one_is_none() {
    let (dir, path, bytes) = three_entries();
    // The entry is a log file: frames that are whole, but elsewhere.
    let storage = FileStorage::open(dir.path()).expect("opens");
    let (flushed, receipt) = Flushed::pair();
    let append = Write::Append { first: LogIndex(3), entries: vec![bytes.clone().into()] };
    storage.write(GroupId::MAIN, append, flushed);
    block_on(receipt).expect("flushed");
    block_on(storage.close());
    let longer = fs::read(&path).expect("written");
    fs::write(&path, &longer[..longer.len() - 1]).expect("writes");
    assert_eq!(log(&dir).expect("a torn end is no damage"), 0..3);
}

#[test]
fn a_damaged_snapshot_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let storage = FileStorage::open(dir.path()).expect("opens");
    let covers = LogId::new(1, 5);
    block_on(async {
        let mut writer = storage.snapshot_writer(GroupId::MAIN).await.expect("begins");
        writer.write("a".into()).await.expect("writes");
        writer.commit(covers).await.expect("commits");
    });
    let snapshot = || block_on(storage.snapshot(GroupId::MAIN)).map(|found| found.map(|found| found.covers));
    assert_eq!(snapshot().expect("whole"), Some(covers));
    let path = dir.path().join(format!("{}.snap", GroupId::MAIN));
    let bytes = fs::read(&path).expect("written");
    // The framework checks the bytes themselves; what they cover is the plugin's.
    for at in 1..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).expect("writes");
        assert!(matches!(snapshot(), Err(StorageError::Corrupt { .. })), "byte {at}");
    }
    fs::write(&path, "short").expect("writes");
    assert!(matches!(snapshot(), Err(StorageError::Corrupt { .. })));
}

#[test]
fn a_damaged_identity_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let storage = FileStorage::open(dir.path()).expect("opens");
    let identity = Identity { cluster_id: ClusterId([7; 32]), node_id: NodeId(3), disk_id: DiskId([9; 16]) };
    block_on(storage.set_identity_once(&identity)).expect("the first");
    let path = dir.path().join("IDENTITY");
    let bytes = fs::read(&path).expect("written");
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).expect("writes");
        assert!(matches!(block_on(storage.identity()), Err(StorageError::Corrupt { .. })), "byte {at}");
    }
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
