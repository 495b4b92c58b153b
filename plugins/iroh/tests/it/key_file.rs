//! The file of a key: private, written once, never overwritten.

use std::fs;
use std::path::Path;

use quorate_iroh::{KeyError, NodeKey};

#[test]
fn a_key_is_created_once_and_read_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("deep/er/node.key");
    let created = NodeKey::load_or_create(&path).expect("created");
    assert_eq!(NodeKey::load_or_create(&path).expect("read").public(), created.public());
    assert_eq!(NodeKey::load(&path).expect("read").public(), created.public());
    let names: Vec<_> = fs::read_dir(path.parent().expect("a directory"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["node.key"], "no temporary file is left");
}

#[test]
fn there_is_no_key_where_there_is_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = NodeKey::load(dir.path().join("node.key")).expect_err("no file");
    assert!(matches!(&error, KeyError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
}

#[test]
fn all_who_create_it_at_once_get_the_same_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("node.key");
    let keys: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| NodeKey::load_or_create(&path).expect("a key").public()))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("node.key");
    NodeKey::load_or_create(&path).expect("created");
    let mode = fs::metadata(&path).expect("a file").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    for open in [0o640, 0o604, 0o660, 0o666, 0o601] {
        set_mode(&path, open);
        let error = NodeKey::load_or_create(&path).expect_err("not private");
        assert!(matches!(error, KeyError::NotPrivate { mode, .. } if mode == open), "{error}");
    }
    set_mode(&path, 0o400);
    NodeKey::load_or_create(&path).expect("its owner may make it read-only");
}

#[test]
fn a_file_of_a_newer_version_is_not_called_damaged() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("node.key");
    NodeKey::load_or_create(&path).expect("created");
    let mut newer = fs::read(&path).expect("a file");
    newer[7] = 2;
    fs::write(&path, &newer).expect("our own file");
    let error = NodeKey::load_or_create(&path).expect_err("unknown");
    assert!(matches!(error, KeyError::Version { found: 2, .. }), "{error}");
    assert_eq!(fs::read(&path).expect("a file"), newer, "not overwritten");
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("node.key");
    NodeKey::load_or_create(&path).expect("created");
    let good = fs::read(&path).expect("a file");
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    let long = [&good[..], b"x"].concat();
    for bytes in [&flipped[..], &good[..40], &[], &long, b"-----BEGIN PRIVATE KEY-----"] {
        fs::write(&path, bytes).expect("our own file");
        let error = NodeKey::load_or_create(&path).expect_err("damaged");
        assert!(matches!(&error, KeyError::Damaged { path: named, .. } if *named == path), "{error}");
        assert_eq!(fs::read(&path).expect("a file"), bytes, "not overwritten");
    }
    fs::write(&path, &good).expect("our own file");
    NodeKey::load(&path).expect("whole again");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, b"not a directory").expect("our own file");
    let error = NodeKey::load_or_create(file.join("node.key")).expect_err("no place for it");
    assert!(matches!(&error, KeyError::Io { path, .. } if path.starts_with(&file)), "{error}");
}
