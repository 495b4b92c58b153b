//! What a directory holds, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::Storage;
use quorate::types::LogId;
use quorate_redb::RedbStorage;
use quorate_redb::hooks::Hooks;
use tempfile::{TempDir, tempdir};

use crate::common::*;
use crate::hooks::Driver;

/// A closed directory with an identity, a vote and a few entries.
fn used() -> (TempDir, PathBuf) {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    write(&storage, G0, append_of(G0, 0..20, 100));
    write(&storage, G0, vote_of("T1 n1"));
    block_on(storage.close());
    let path = dir.path().to_owned();
    (dir, path)
}

fn refusal(dir: &Path) -> StorageError {
    RedbStorage::open(dir).expect_err("it must be refused")
}

#[test]
fn a_fresh_directory_has_these_files_and_no_identity() {
    let parent = tempdir().expect("a directory");
    let dir = parent.path().join("data/n1");
    let storage = RedbStorage::open(&dir).expect("it is made");
    assert_eq!(block_on(storage.identity()).expect("none is no error"), None);
    block_on(storage.set_identity_once(&identity(1))).expect("the first");
    let mut names: Vec<_> =
        fs::read_dir(&dir).expect("made").map(|entry| entry.expect("readable").file_name()).collect();
    names.sort();
    assert_eq!(names, ["LOCK", "NODE", "ballast", "log.redb", "log.seen", "snap"]);
    assert_eq!(fs::metadata(dir.join("ballast")).expect("there").len(), 16 << 20);
}

#[test]
fn the_identity_is_written_once_in_these_bytes() {
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    block_on(storage.set_identity_once(&identity(1))).expect("the same again is fine");
    let taken = block_on(storage.set_identity_once(&identity(2)));
    assert!(matches!(&taken, Err(StorageError::IdentityTaken { recorded, .. }) if **recorded == identity(1)));
    drop(storage);
    let mut golden = b"QUORNODE\x01\0\0\0".to_vec();
    golden.extend([0xc1; 32]);
    golden.extend(b"\x01\0\0\0\0\0\0\0");
    golden.extend([0xd1; 16]);
    let bytes = fs::read(dir.path().join("NODE")).expect("there");
    assert_eq!(bytes[..68], golden);
    assert_eq!(bytes.len(), 72);
    let storage = RedbStorage::open(dir.path()).expect("its own");
    assert_eq!(block_on(storage.identity()).expect("sound"), Some(identity(1)));
    let taken = block_on(storage.set_identity_once(&identity(2)));
    assert!(matches!(taken, Err(StorageError::IdentityTaken { .. })));
}

#[test]
fn a_directory_without_node_is_reusable_only_while_it_is_empty() {
    let dir = tempdir().expect("a directory");
    drop(RedbStorage::open(dir.path()).expect("fresh"));
    drop(RedbStorage::open(dir.path()).expect("nothing was written"));
    for (what, put) in [
        ("a vote", &(|storage: &RedbStorage| write(storage, G0, vote_of("T1 n1"))) as &dyn Fn(&RedbStorage)),
        ("an entry", &|storage| write(storage, G1, append_of(G1, 0..1, 10))),
        ("a snapshot", &|storage| {
            snapshot(storage, G0, LogId::new(1, 1), &[b"state"]).expect("a sound disk");
        }),
    ] {
        let dir = tempdir().expect("a directory");
        let storage = open(dir.path());
        put(&storage);
        block_on(storage.close());
        fs::remove_file(dir.path().join("NODE")).expect("it was there");
        let error = refusal(dir.path());
        assert!(
            matches!(&error, StorageError::IdentityMissing { path } if path == dir.path()),
            "{what}: {error}"
        );
        assert!(matches!(refusal(dir.path()), StorageError::IdentityMissing { .. }), "and again");
    }
}

#[test]
fn every_damaged_node_is_refused() {
    let (_dir, path) = used();
    let node = path.join("NODE");
    let sound = fs::read(&node).expect("there");
    for bit in 0..sound.len() * 8 {
        let mut flipped = sound.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&node, flipped).expect("a sound disk");
        assert!(matches!(refusal(&path), StorageError::Corrupt { .. }), "bit {bit}");
    }
    for len in [0, 1, 11, 71] {
        fs::write(&node, &sound[..len]).expect("a sound disk");
        assert!(matches!(refusal(&path), StorageError::Corrupt { .. }), "{len} bytes");
    }
    fs::write(&node, vec![0; 10_000]).expect("a sound disk");
    assert!(matches!(refusal(&path), StorageError::Corrupt { .. }));
    let mut newer = sound[..sound.len() - 4].to_vec();
    newer[8] = 2;
    newer.extend(crc32c::crc32c(&newer).to_le_bytes());
    fs::write(&node, newer).expect("a sound disk");
    assert!(matches!(refusal(&path), StorageError::Version { what: "NODE", found: 2, supported: 1 }));
    fs::write(&node, sound).expect("a sound disk");
    assert_log(&open(&path), G0, 0..20, 100);
}

#[test]
fn a_log_that_is_missing_empty_or_junk_is_refused_and_left_alone() {
    let (_dir, path) = used();
    let log = path.join("log.redb");
    let sound = fs::read(&log).expect("there");
    let cases: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("junk", b"this is not a database at all".to_vec()),
        ("long junk", b"junk".repeat(500_000)),
        ("zeros", vec![0; sound.len()]),
        ("cut", sound[..sound.len() / 2].to_vec()),
    ];
    for (what, bytes) in cases {
        fs::write(&log, &bytes).expect("a sound disk");
        let error = refusal(&path);
        assert!(matches!(error, StorageError::Corrupt { .. }), "{what}: {error}");
        assert!(fs::read(&log).expect("there") == bytes, "{what}: it was changed");
    }
    fs::remove_file(&log).expect("it was there");
    assert!(matches!(refusal(&path), StorageError::Corrupt { .. }));
    assert!(!log.exists(), "it was made anew");
    // Another program's redb file.
    let other = redb::Database::create(&log).expect("a sound disk");
    drop(other);
    assert!(matches!(refusal(&path), StorageError::Corrupt { .. }));
    fs::write(&log, sound).expect("a sound disk");
    assert_log(&open(&path), G0, 0..20, 100);
}

#[test]
fn a_log_of_another_version_is_refused_as_that() {
    let (_dir, path) = used();
    let log = path.join("log.redb");
    let sound = fs::read(&log).expect("there");
    // What redb 2 wrote into its two commit slots.
    let mut older = sound.clone();
    (older[64], older[192]) = (2, 2);
    fs::write(&log, &older).expect("a sound disk");
    let error = refusal(&path);
    assert!(matches!(error, StorageError::Version { what: "log.redb", found: 2, supported: 3 }), "{error}");
    assert!(fs::read(&log).expect("there") == older, "it was changed");
    fs::write(&log, sound).expect("a sound disk");
    assert_log(&open(&path), G0, 0..20, 100);
}

#[test]
fn a_read_only_directory_is_refused_with_its_name_and_the_reason() {
    use std::io::ErrorKind;

    use crate::disk::Disk;

    let disk = Disk::default();
    let storage = RedbStorage::builder("/n1").hooks(disk.hooks()).open().expect("it opens");
    block_on(storage.set_identity_once(&identity(1))).expect("its own identity");
    write(&storage, G0, append_of(G0, 0..3, 100));
    block_on(storage.close());
    disk.set_read_only(true);
    let error = RedbStorage::builder("/n1").hooks(disk.hooks()).open().expect_err("it cannot be written");
    match &error {
        StorageError::Io { path, source, .. } => {
            assert_eq!(source.kind(), ErrorKind::ReadOnlyFilesystem);
            assert!(path.as_ref().is_some_and(|path| path.starts_with("/n1")), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    let fresh = RedbStorage::builder("/n2").hooks(disk.hooks()).open();
    assert!(matches!(fresh, Err(StorageError::Io { .. })), "{fresh:?}");
    disk.set_read_only(false);
    let storage = RedbStorage::builder("/n1").hooks(disk.hooks()).open().expect("it opens");
    assert_log(&storage, G0, 0..3, 100);
}

#[cfg(unix)]
#[test]
fn a_directory_without_permission_is_refused_and_left_as_it_was() {
    use std::os::unix::fs::PermissionsExt;

    let parent = tempdir().expect("a directory");
    let dir = parent.path().join("n1");
    fs::create_dir(&dir).expect("a sound disk");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o500)).expect("it is ours");
    let superuser = fs::write(dir.join("probe"), b"").is_ok();
    if !superuser {
        let error = refusal(&dir);
        assert!(
            matches!(&error, StorageError::Io { path: Some(path), .. } if path.starts_with(&dir)),
            "{error:?}"
        );
        assert_eq!(fs::read_dir(&dir).expect("readable").count(), 0);
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("it is ours");
    drop(open(&dir));
}

#[test]
fn a_torn_creation_is_begun_again() {
    let dir = tempdir().expect("a directory");
    fs::write(dir.path().join("log.redb.tmp"), b"half").expect("a sound disk");
    fs::write(dir.path().join("NODE.tmp"), b"half").expect("a sound disk");
    let storage = open(dir.path());
    write(&storage, G0, vote_of("T1 n1"));
    assert!(!dir.path().join("log.redb.tmp").exists() && !dir.path().join("NODE.tmp").exists());
}

#[test]
fn a_second_opener_is_refused_here_and_in_another_process() {
    let name = "directory::a_second_opener_is_refused_here_and_in_another_process";
    if let Some(dir) = std::env::var_os("QUORATE_REDB_SECOND") {
        match RedbStorage::open(dir) {
            Err(StorageError::InUse { .. }) => println!("refused"),
            other => println!("{other:?}"),
        }
        return;
    }
    let dir = tempdir().expect("a directory");
    let storage = open(dir.path());
    assert!(matches!(refusal(dir.path()), StorageError::InUse { .. }));
    let in_another_process = || {
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args([name, "--exact", "--nocapture"])
            .env("QUORATE_REDB_SECOND", dir.path())
            .output()
            .expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(in_another_process().contains("refused"));
    write(&storage, G0, vote_of("T1 n1"));
    block_on(storage.close());
    let answer = in_another_process();
    assert!(answer.contains("Ok(RedbStorage"), "{answer}");
    assert_eq!(state(&open(dir.path()), G0).vote.as_deref(), Some(&b"T1 n1"[..]));
}

#[test]
fn a_closed_directory_is_free_while_other_processes_are_started() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let dir = tempdir().expect("a directory");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A process that is being started has every open file for a moment, and with it the locks.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let status = Command::new("true").status().expect("it runs");
                assert!(status.success());
            }
        });
        let mut refused = 0;
        for _ in 0..500 {
            match RedbStorage::open(dir.path()) {
                Ok(storage) => block_on(storage.close()),
                Err(error) => {
                    assert!(matches!(error, StorageError::InUse { .. }), "{error}");
                    refused += 1;
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(refused, 0, "so many opens were refused");
    });
}

#[test]
fn the_log_itself_is_locked_too() {
    let (_dir, path) = used();
    let database = redb::Database::open(path.join("log.redb")).expect("closed before");
    assert!(matches!(refusal(&path), StorageError::InUse { .. }));
    drop(database);
    assert_log(&open(&path), G0, 0..20, 100);
}

#[test]
fn the_file_takes_space_in_steps_and_stays_a_plain_redb_file() {
    use std::os::unix::fs::MetadataExt;

    let dir = tempdir().expect("a directory");
    let log = dir.path().join("log.redb");
    let driver = Driver::default();
    let builder = RedbStorage::builder(dir.path()).hooks(driver.hooks(Hooks::default(), false));
    let storage = builder.open().expect("it opens");
    block_on(storage.set_identity_once(&identity(1))).expect("its own identity");
    for first in (0..60).step_by(10) {
        let receipt = queue(&storage, G0, append_of(G0, first..first + 10, 50_000));
        driver.drive();
        block_on(receipt).expect("a sound disk");
    }
    let (len, taken) = fs::metadata(&log).map(|file| (file.len(), file.blocks() * 512)).expect("there");
    // 60 entries take 4 MB by themselves. The first 1.5 MB of a new file are as redb makes them.
    assert!(taken > 6 << 20 && taken + (1 << 20) > len, "{taken} of {len} bytes are taken");
    drop(storage);
    driver.drive();
    let mut database = redb::Database::open(&log).expect("closed before");
    assert!(database.check_integrity().expect("readable"), "nothing had to be repaired");
    drop(database);
    assert_log(&open(dir.path()), G0, 0..60, 50_000);
}
