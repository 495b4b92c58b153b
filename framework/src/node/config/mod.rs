//! Everything about a node that is not a plugin: plain data with defaults that are right.
//!
//! This folder owns the fields, their defaults and presets, the [`ConfigBuilder`], and the check of
//! every bound. Plugins are values given to the node's builder and have no field here.

mod builder;
#[cfg(test)]
mod tests;
mod validate;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::builder::ConfigBuilder;
pub use self::validate::{ConfigError, FieldError};
use crate::types::NodeId;

/// The configuration of a node. Every field has a default; [`Config::validate`] names each one
/// that is wrong. It can be read from a file by any serde format, where a field that does not exist
/// is an error.
///
/// ```
/// use std::time::Duration;
///
/// use quorate::node::config::{Config, ConfigBuilder};
///
/// let config = ConfigBuilder::new().node_id(1).data_dir("data/n1").build()?;
/// assert_eq!(config.node.id, Some(1.into()));
///
/// let config = ConfigBuilder::from(Config::testing()).heartbeat(Duration::from_millis(20)).build()?;
/// assert_eq!(config.election.heartbeat_ms, 20);
/// # Ok::<(), quorate::error::ConfigError>(())
/// ```
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

impl Config {
    /// For a cluster on a developer's machine, where a build or a debugger holds a node up for a
    /// second: patient elections, long deadlines, little memory for each of several nodes.
    pub fn development() -> Self {
        Self {
            election: ElectionSection { heartbeat_ms: 250, timeout_min_ms: 1_500, timeout_max_ms: 3_000 },
            limits: LimitsSection { queue_bytes: 16 << 20, cache_bytes: 16 << 20, ..Default::default() },
            snapshot: SnapshotSection { log_bytes: 16 << 20, ..Default::default() },
            timeouts: TimeoutsSection { call_ms: 15_000, ..Default::default() },
            ..Self::default()
        }
    }

    /// For tests: elections as fast as a busy machine with two cores can keep them stable, and
    /// limits so low that snapshots and reads behind the cache happen in a test at all.
    pub fn testing() -> Self {
        Self {
            election: ElectionSection { heartbeat_ms: 50, timeout_min_ms: 250, timeout_max_ms: 500 },
            limits: LimitsSection { queue_bytes: 8 << 20, cache_bytes: 1 << 20, ..Default::default() },
            snapshot: SnapshotSection { log_bytes: 1 << 20, keep_entries: 100, chunk_bytes: 16 << 10 },
            timeouts: TimeoutsSection { call_ms: 10_000, connect_ms: 500, drain_ms: 2_000 },
            ..Self::default()
        }
    }

    /// For a service on machines of its own in one region. These are the defaults, under a name
    /// that says so.
    pub fn production() -> Self {
        Self::default()
    }
}

/// Who this node is and where it keeps its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NodeSection {
    /// A cross-check: the node id is the one of the member that has this node's key. From 1.
    pub id: Option<NodeId>,
    /// The directory for the node's files, for use when a storage plugin is opened. Not empty.
    pub data_dir: Option<PathBuf>,
}

/// Elections and heartbeats (Raft paper, section 5.2). Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ElectionSection {
    /// How often a leader shows that it lives, in ms. From 5 to 10,000.
    pub heartbeat_ms: u64,
    /// The least time without a leader before a follower stands for election, in ms. At least
    /// three heartbeats, so that one that is lost or late unseats nobody; at most 59,999.
    pub timeout_min_ms: u64,
    /// The most time, in ms. More than the least, as the draw between them keeps candidates apart;
    /// at most 60,000.
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
    /// The most bytes of one command. From 1 to 4 MiB.
    pub max_command_bytes: usize,
    /// The most bytes of proposals that wait for the log, before callers get *busy*. At least
    /// `max_command_bytes`, or the largest command could never be queued.
    pub queue_bytes: usize,
    /// How many bytes of commands may share one entry. From 1 to 1 MiB; a longer command has an
    /// entry of its own.
    pub batch_bytes: usize,
    /// How many batches may be on their way at once. From 1 to 64.
    pub batches_in_flight: usize,
    /// How many bytes of recent entries are kept in memory for replication and apply. At least
    /// 1 MiB.
    pub cache_bytes: usize,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            max_command_bytes: 2 << 20,
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
    /// At least 64 KiB.
    pub log_bytes: u64,
    /// How many entries before a snapshot are kept, so that a follower which is a little behind
    /// needs no snapshot. At most 10 million.
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
    /// The deadline of a client's call that names none, in ms. From 1 to 3,600,000.
    pub call_ms: u64,
    /// How long one connection attempt may take, in ms. From 10 to 60,000.
    pub connect_ms: u64,
    /// How long shutdown waits for calls in progress, in ms. From 0 to 600,000.
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
