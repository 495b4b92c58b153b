//! A configuration made in code: a setter per field, in Rust's own types.

use std::path::PathBuf;
use std::time::Duration;

use super::{Config, ConfigError};
use crate::types::NodeId;

/// Makes a [`Config`]; what is not set keeps its default, or the preset it was made from.
///
/// Durations are rounded up to whole milliseconds, so that a short one never becomes zero.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ConfigBuilder {
    pub(super) config: Config,
}

impl From<Config> for ConfigBuilder {
    /// Starts from `config`, as in `ConfigBuilder::from(Config::testing())`.
    fn from(config: Config) -> Self {
        Self { config }
    }
}

impl ConfigBuilder {
    /// Starts from the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks every field and returns the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names every wrong field, as [`Config::validate`] does.
    pub fn build(self) -> Result<Config, ConfigError> {
        self.config.validate()?;
        Ok(self.config)
    }

    /// Sets [`NodeSection::id`](super::NodeSection::id).
    pub fn node_id(mut self, id: impl Into<NodeId>) -> Self {
        self.config.node.id = Some(id.into());
        self
    }

    /// Sets [`NodeSection::data_dir`](super::NodeSection::data_dir).
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config.node.data_dir = Some(dir.into());
        self
    }

    /// Sets [`ElectionSection::heartbeat_ms`](super::ElectionSection::heartbeat_ms).
    pub fn heartbeat(mut self, duration: Duration) -> Self {
        self.config.election.heartbeat_ms = millis(duration);
        self
    }

    /// Sets [`ElectionSection::timeout_min_ms`](super::ElectionSection::timeout_min_ms).
    pub fn election_timeout_min(mut self, duration: Duration) -> Self {
        self.config.election.timeout_min_ms = millis(duration);
        self
    }

    /// Sets [`ElectionSection::timeout_max_ms`](super::ElectionSection::timeout_max_ms).
    pub fn election_timeout_max(mut self, duration: Duration) -> Self {
        self.config.election.timeout_max_ms = millis(duration);
        self
    }

    /// Sets [`LimitsSection::max_command_bytes`](super::LimitsSection::max_command_bytes).
    pub fn max_command_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.max_command_bytes = bytes;
        self
    }

    /// Sets [`LimitsSection::queue_bytes`](super::LimitsSection::queue_bytes).
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.queue_bytes = bytes;
        self
    }

    /// Sets [`LimitsSection::batch_bytes`](super::LimitsSection::batch_bytes).
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.batch_bytes = bytes;
        self
    }

    /// Sets [`LimitsSection::batches_in_flight`](super::LimitsSection::batches_in_flight).
    pub fn batches_in_flight(mut self, batches: usize) -> Self {
        self.config.limits.batches_in_flight = batches;
        self
    }

    /// Sets [`LimitsSection::cache_bytes`](super::LimitsSection::cache_bytes).
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.cache_bytes = bytes;
        self
    }

    /// Sets [`SnapshotSection::log_bytes`](super::SnapshotSection::log_bytes).
    pub fn snapshot_log_bytes(mut self, bytes: u64) -> Self {
        self.config.snapshot.log_bytes = bytes;
        self
    }

    /// Sets [`SnapshotSection::keep_entries`](super::SnapshotSection::keep_entries).
    pub fn snapshot_keep_entries(mut self, entries: u64) -> Self {
        self.config.snapshot.keep_entries = entries;
        self
    }

    /// Sets [`SnapshotSection::chunk_bytes`](super::SnapshotSection::chunk_bytes).
    pub fn snapshot_chunk_bytes(mut self, bytes: usize) -> Self {
        self.config.snapshot.chunk_bytes = bytes;
        self
    }

    /// Sets [`TimeoutsSection::call_ms`](super::TimeoutsSection::call_ms).
    pub fn call_timeout(mut self, duration: Duration) -> Self {
        self.config.timeouts.call_ms = millis(duration);
        self
    }

    /// Sets [`TimeoutsSection::connect_ms`](super::TimeoutsSection::connect_ms).
    pub fn connect_timeout(mut self, duration: Duration) -> Self {
        self.config.timeouts.connect_ms = millis(duration);
        self
    }

    /// Sets [`TimeoutsSection::drain_ms`](super::TimeoutsSection::drain_ms).
    pub fn drain_timeout(mut self, duration: Duration) -> Self {
        self.config.timeouts.drain_ms = millis(duration);
        self
    }
}

/// Whole milliseconds, rounded up. What does not fit becomes the longest time there is, which no
/// field accepts.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
