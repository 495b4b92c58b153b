//! raft-engine: TiKV's log of many Raft groups, log files with an index in memory.

use std::error::Error;
use std::path::Path;

use bytes::Bytes;
use protobuf::well_known_types::Any;
use quorate_benches::storage::group_commit::Engine;
use quorate_benches::storage::{KEEP, KEEP_BYTES};
use raft_engine::{Config, LogBatch, MessageExt, ReadableSize};

const GROUP: u64 = 1;

/// After so many entries older ones are dropped.
const PURGE_EVERY: u64 = KEEP / 4;

type Files = raft_engine::Engine;

/// How raft-engine finds the index of an entry: in its first eight bytes.
#[derive(Clone)]
struct Entry;

impl MessageExt for Entry {
    type Entry = Any;

    fn index(entry: &Any) -> u64 {
        entry.value.first_chunk().map_or(0, |index| u64::from_le_bytes(*index))
    }
}

/// The engine, and from where on it keeps entries.
pub struct RaftLog {
    engine: Files,
    start: u64,
}

impl RaftLog {
    /// An empty engine in `dir` whose files are written before their use, and used again.
    ///
    /// # Errors
    /// Those of raft-engine.
    pub fn create(dir: &Path) -> Result<Self, Box<dyn Error>> {
        let engine = Files::open(Config {
            dir: dir.join("raft-engine").display().to_string(),
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize(KEEP_BYTES / 4),
            purge_threshold: ReadableSize(2 * KEEP_BYTES),
            prefill_for_recycle: true,
            ..Config::default()
        })?;
        Ok(Self { engine, start: 0 })
    }

    fn write(&mut self, first: u64, entries: &[Bytes]) -> raft_engine::Result<()> {
        let entry = |(index, entry): (u64, &Bytes)| {
            let mut value = Vec::with_capacity(8 + entry.len());
            value.extend_from_slice(&index.to_le_bytes());
            value.extend_from_slice(entry);
            Any { value, ..Any::default() }
        };
        let encoded: Vec<Any> = (first..).zip(entries).map(entry).collect();
        let mut batch = LogBatch::default();
        batch.add_entries::<Entry>(GROUP, &encoded)?;
        self.engine.write(&mut batch, true)?;
        let end = first + entries.len() as u64;
        if end - self.start >= KEEP + PURGE_EVERY {
            self.start = end - KEEP;
            self.engine.compact_to(GROUP, self.start);
            self.engine.purge_expired_files()?;
        }
        Ok(())
    }
}

impl Engine for RaftLog {
    fn commit(&mut self, first: u64, entries: &[Bytes]) {
        self.write(first, entries).expect("a healthy disk");
    }
}
