//! Rows and values that are not what was written, in a file that redb finds sound.

use std::path::Path;

use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{Health, Storage};
use quorate::types::GroupId;
use quorate_redb::RedbStorage;
use redb::{Database, ReadableDatabase, TableDefinition};
use tempfile::{TempDir, tempdir};

use crate::common::*;

const META: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("meta");

/// A closed directory: three rows of ten entries, a vote, and a purge up to 4.
fn used() -> TempDir {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    for first in [0, 10, 20] {
        write(&storage, G0, append_of(G0, first..first + 10, 50));
    }
    write(&storage, G0, vote_of("T1 n1"));
    write(&storage, G0, purge_of(4));
    drop(storage);
    dir
}

/// Replaces the row at `first`, or removes it.
fn put_row(dir: &Path, first: u64, row: Option<&[u8]>) {
    let database = Database::open(dir.join("log.redb")).expect("closed before");
    let txn = database.begin_write().expect("writable");
    {
        let mut log = txn.open_table(LOG).expect("the table");
        match row {
            Some(row) => drop(log.insert((0, first), row).expect("writable")),
            None => drop(log.remove((0, first)).expect("writable")),
        }
    }
    txn.commit().expect("writable");
}

fn row(dir: &Path, first: u64) -> Vec<u8> {
    let found = rows(dir, G0).into_iter().find(|(at, _)| *at == first);
    found.expect("the row").1
}

#[track_caller]
fn assert_names(result: Result<impl Sized, StorageError>, name: &str) {
    match result.map(|_| ()) {
        Err(StorageError::Corrupt { what, .. }) => {
            assert!(
                what.starts_with(&format!("{name} in /")) && what.ends_with("/log.redb"),
                "{name}: {what}"
            );
        }
        other => panic!("{name} is damaged: {other:?}"),
    }
}

fn deep_check(dir: &Path) -> Result<RedbStorage, StorageError> {
    RedbStorage::builder(dir).deep_check(true).open()
}

#[test]
fn a_sound_file_passes_the_deep_check() {
    let dir = used();
    drop(deep_check(dir.path()).expect("sound"));
}

#[test]
fn a_row_that_is_cut_is_named_by_its_group_and_index() {
    let dir = used();
    let whole = row(dir.path(), 10);
    put_row(dir.path(), 10, Some(&whole[..whole.len() - 1]));
    assert_names(deep_check(dir.path()), "entry 10 of g0");
    let storage = open(dir.path());
    assert_names(try_read(&storage, G0, 12..13, 1000), "entry 10 of g0");
    assert_names(try_read(&storage, G0, 5..30, usize::MAX), "entry 10 of g0");
    assert_eq!(read(&storage, G0, 5..10).len(), 5, "the row before is sound");
    assert_eq!(read(&storage, G0, 20..30).len(), 10, "the row after is sound");
}

#[test]
fn an_entry_out_of_bounds_is_named_by_its_own_index() {
    let dir = used();
    let mut bad = row(dir.path(), 10);
    // The end of the fourth entry: entry 13 would end behind the row, 14 begins there.
    bad[5 + 4 * 3 + 2] = 1;
    put_row(dir.path(), 10, Some(&bad));
    assert_names(deep_check(dir.path()), "entry 13 of g0");
    let storage = open(dir.path());
    assert_eq!(read(&storage, G0, 10..13).len(), 3);
    assert_names(try_read(&storage, G0, 13..14, 1000), "entry 13 of g0");
    assert_names(try_read(&storage, G0, 14..15, 1000), "entry 14 of g0");
    assert_eq!(read(&storage, G0, 15..20).len(), 5);
}

#[test]
fn a_missing_row_is_a_hole_and_never_an_end() {
    let dir = used();
    put_row(dir.path(), 10, None);
    assert_names(deep_check(dir.path()), "entry 10 of g0");
    let storage = open(dir.path());
    assert_names(try_read(&storage, G0, 5..30, usize::MAX), "entry 10 of g0");
    assert_names(try_read(&storage, G0, 12..30, usize::MAX), "entry 12 of g0");
    drop(storage);
    put_row(dir.path(), 0, None);
    let storage = open(dir.path());
    assert_names(block_on(storage.open(G0)), "entry 5 of g0");
    assert_names(try_read(&storage, G0, 5..6, 1000), "entry 5 of g0");
}

#[test]
fn two_rows_with_the_same_entry_are_damage() {
    let dir = used();
    let other = row(dir.path(), 10);
    put_row(dir.path(), 15, Some(&other));
    assert_names(deep_check(dir.path()), "entry 15 of g0");
    let storage = open(dir.path());
    assert_names(try_read(&storage, G0, 10..30, usize::MAX), "entry 15 of g0");
}

#[test]
fn a_row_of_another_version_is_refused_as_that() {
    let dir = used();
    let mut newer = row(dir.path(), 20);
    newer[0] = 7;
    put_row(dir.path(), 20, Some(&newer));
    let storage = open(dir.path());
    let found = try_read(&storage, G0, 20..21, 1000);
    assert!(matches!(found, Err(StorageError::Version { found: 7, supported: 1, .. })), "{found:?}");
}

#[test]
fn a_damaged_value_is_named() {
    let dir = used();
    let put = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let database = Database::open(dir.path().join("log.redb")).expect("closed before");
        let meta = database.begin_read().expect("readable").open_table(META).expect("the table");
        let mut value = meta.get((0, name)).expect("readable").expect("there").value().to_vec();
        drop(meta);
        change(&mut value);
        let txn = database.begin_write().expect("writable");
        txn.open_table(META).expect("the table").insert((0, name), value.as_slice()).expect("writable");
        txn.commit().expect("writable");
    };
    put("vote", &|value| value[3] ^= 1);
    assert_names(deep_check(dir.path()), "the vote of g0");
    let storage = open(dir.path());
    assert_names(block_on(storage.open(G0)), "the vote of g0");
    assert!(block_on(storage.open(GroupId(1))).is_ok(), "another group is sound");
    drop(storage);
    put("vote", &|value| value[3] ^= 1);
    put("purged", &|value| value.truncate(3));
    assert_names(RedbStorage::open(dir.path()), "the purged of g0");
}

#[test]
fn a_truncation_through_a_damaged_row_fails_and_changes_nothing() {
    let dir = used();
    let whole = row(dir.path(), 10);
    put_row(dir.path(), 10, Some(&whole[..3]));
    let storage = open(dir.path());
    assert_names(try_write(&storage, G0, truncate_of(15)), "entry 10 of g0");
    assert_eq!(storage.health().get(), Health::Failed);
    drop(storage);
    assert_eq!(rows(dir.path(), G0).len(), 3);
}
