//! A snapshot that is larger than what the process may take: in and out, a little at a time.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use futures::executor::block_on;
use quorate::storage::{SnapshotId, Storage};
use quorate::types::LogId;
use tempfile::tempdir;

use crate::common::*;

const CHILD: &str = "QUORATE_REDB_SNAPSHOT_DIR";
const NAME: &str = "memory::a_large_snapshot_goes_in_and_out_in_bounded_memory";
/// How large; `QUORATE_REDB_SNAPSHOT_MIB` sets another size. The limit holds for any.
const MIB: u64 = 256;
/// How much more memory than before any of it.
const LIMIT_KIB: u64 = 64 << 10;
const CHUNK: usize = 256 << 10;

/// A number of kibibytes from what the kernel says of this process.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux says it");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the field is there");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Chunk `number` of a snapshot that is never in memory whole.
fn chunk(number: u64) -> Bytes {
    let mut chunk = vec![number as u8; CHUNK];
    chunk[..8].copy_from_slice(&number.to_le_bytes());
    chunk.into()
}

/// Writes the snapshot as a build does, reads it, and receives it once more as from another node,
/// broken off in the middle.
fn child(dir: &Path, mib: u64) {
    let storage = open(dir);
    let before = status("VmRSS");
    let chunks = mib * (1 << 20) / CHUNK as u64;
    block_on(async {
        let mut writer = storage.snapshot_writer(G0).await.expect("a sound disk");
        for number in 0..chunks {
            writer.write(chunk(number)).await.expect("a sound disk");
        }
        writer.commit(LogId::new(1, 1)).await.expect("a sound disk");

        let mut stored = storage.snapshot(G0).await.expect("sound").expect("there");
        let fingerprint = stored.reader.fingerprint().expect("a file has one");
        let id = SnapshotId { covers: LogId::new(1, 2), len: stored.len, fingerprint };
        for half in [0..chunks / 2, chunks / 2..chunks] {
            let mut resumed = storage.resume_snapshot(G0, &id).await.expect("a sound disk");
            let mut held = 0;
            while let Some(chunk) = resumed.held.next().await.expect("sound") {
                held += chunk.len() as u64;
            }
            assert_eq!(held, half.start * CHUNK as u64);
            for number in half.clone() {
                let read = stored.reader.next().await.expect("sound").expect("not the end");
                assert!(read == chunk(number), "chunk {number} differs");
                resumed.writer.write(read).await.expect("a sound disk");
            }
            if half.end == chunks {
                resumed.writer.commit(id.covers).await.expect("a sound disk");
            }
        }
        assert!(stored.reader.next().await.expect("sound").is_none());
    });
    let grown = status("VmHWM").saturating_sub(before);
    println!("{mib} MiB in, out and in again: {grown} KiB more than the {before} KiB before");
    assert!(grown < LIMIT_KIB, "{grown} KiB more");
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_snapshot_goes_in_and_out_in_bounded_memory() {
    let mib = std::env::var("QUORATE_REDB_SNAPSHOT_MIB").ok();
    let mib = mib.map_or(MIB, |mib| mib.parse().expect("a number"));
    if let Some(dir) = std::env::var_os(CHILD) {
        return child(Path::new(&dir), mib);
    }
    // A process of its own: the peak is of all that was ever in it.
    let dir = tempdir().expect("a directory");
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args([NAME, "--exact", "--nocapture"])
        .env(CHILD, dir.path())
        .output()
        .expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}");
    assert!(output.status.success(), "{out}{err}");
}
