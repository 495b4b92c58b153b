//! Everything about a node that is not a plugin: plain data with defaults that are right.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

/// The configuration of a node. Every field has a default; [`Config::validate`] names each one
/// that is wrong. It can be read from a file by any serde format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Who this node is and where it keeps its files.
    pub node: NodeSection,
    /// Elections and heartbeats.
    pub election: ElectionSection,
    /// How many bytes may wait, and how large things may be.
    pub limits: LimitsSection,
    /// When the log is compacted.
    pub snapshot: SnapshotSection,
    /// How long calls and shutdown may take.
    pub timeouts: TimeoutsSection,
}

/// Who this node is and where it keeps its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NodeSection {
    /// A cross-check: the node id is the one of the member that has this node's key. From 1.
    pub id: Option<NodeId>,
    /// The directory for the node's files, for use when a storage plugin is opened.
    pub data_dir: Option<PathBuf>,
}

/// Elections and heartbeats (Raft paper, section 5.2). Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ElectionSection {
    /// How often a leader shows that it lives, in ms. At least 5.
    pub heartbeat_ms: u64,
    /// The least time without a leader before a follower stands for election, in ms. At least
    /// three heartbeats.
    pub timeout_min_ms: u64,
    /// The most time, in ms. More than the least: the draw between them keeps candidates apart.
    pub timeout_max_ms: u64,
}

impl Default for ElectionSection {
    fn default() -> Self {
        Self { heartbeat_ms: 100, timeout_min_ms: 500, timeout_max_ms: 1_000 }
    }
}

/// How many bytes may wait, and how large things may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitsSection {
    /// The most bytes of one command. At most 4 MiB, at least 1.
    pub max_command_bytes: usize,
    /// The most bytes of one answer; a longer one becomes a fixed error. At most 4 MiB.
    pub max_answer_bytes: usize,
    /// The most bytes of proposals that wait for the log, before callers get *busy*.
    pub queue_bytes: usize,
    /// How many bytes of commands may share one entry. At most 1 MiB; a longer command has an
    /// entry of its own.
    pub batch_bytes: usize,
    /// How many batches may be on their way at once. From 1 to 64.
    pub batches_in_flight: usize,
    /// How many bytes of recent entries are kept in memory for replication and apply.
    pub cache_bytes: usize,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            max_command_bytes: 2 << 20,
            max_answer_bytes: 4 << 20,
            queue_bytes: 64 << 20,
            batch_bytes: 256 << 10,
            batches_in_flight: 2,
            cache_bytes: 64 << 20,
        }
    }
}

/// When the log is compacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SnapshotSection {
    /// A snapshot is built when this many bytes of entries have been applied since the last one.
    pub log_bytes: u64,
    /// How many entries before a snapshot are kept, so that a follower which is a little behind
    /// needs no snapshot.
    pub keep_entries: u64,
    /// The most bytes of one chunk on the wire. From 4 KiB to 4 MiB.
    pub chunk_bytes: usize,
}

impl Default for SnapshotSection {
    fn default() -> Self {
        Self { log_bytes: 64 << 20, keep_entries: 1_000, chunk_bytes: 256 << 10 }
    }
}

/// How long calls and shutdown may take. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TimeoutsSection {
    /// The deadline of a client's call that names none, in ms.
    pub call_ms: u64,
    /// How long one connection attempt may take, in ms.
    pub connect_ms: u64,
    /// How long shutdown waits for calls in progress, in ms.
    pub drain_ms: u64,
}

impl Default for TimeoutsSection {
    fn default() -> Self {
        Self { call_ms: 5_000, connect_ms: 1_000, drain_ms: 5_000 }
    }
}

impl TimeoutsSection {
    /// The deadline of a client's call that names none.
    pub fn call(&self) -> Duration {
        Duration::from_millis(self.call_ms)
    }
}

/// A configuration with wrong fields. Every one is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} wrong field(s):\n  {}", fields.len(), fields.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
pub struct ConfigError {
    /// One error per wrong field, in the order of the declaration.
    pub fields: Vec<FieldError>,
}

/// A field with a value it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}: {expected}")]
pub struct FieldError {
    /// Its path, as in `election.timeout_min_ms`.
    pub field: &'static str,
    /// The value found.
    pub found: String,
    /// What it may be.
    pub expected: String,
}
