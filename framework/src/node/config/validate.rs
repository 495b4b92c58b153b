//! The check of every field: one error per field that is wrong, and on the field to change.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::{Config, ElectionSection, LimitsSection, NodeSection, SnapshotSection, TimeoutsSection};
use crate::types::NodeId;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const HEARTBEAT_MS: RangeInclusive<u64> = 5..=10_000;
const TIMEOUT_MIN_HEARTBEATS: u64 = 3;
const TIMEOUT_MAX_MS: u64 = 60_000;
const COMMAND_BYTES: RangeInclusive<usize> = 1..=4 * MIB;

/// A configuration with wrong fields. Every one is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} wrong field(s):\n  {}", fields.len(), fields.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
pub struct ConfigError {
    /// One error per wrong field, in the order of the declaration.
    pub fields: Vec<FieldError>,
}

/// A field with a value it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}: it must be {expected}")]
pub struct FieldError {
    /// Its path, as in `election.timeout_min_ms`.
    pub field: &'static str,
    /// The value found.
    pub found: String,
    /// What it may be, as in `from 5 to 10000`.
    pub expected: String,
}

impl Config {
    /// Checks every field against the bounds in its documentation.
    ///
    /// A bound that depends on another field is checked against the nearest value which that field
    /// may have, so that one mistake is one error.
    ///
    /// # Errors
    /// [`ConfigError`] with one [`FieldError`] per wrong field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // Here and below a struct is taken apart without `..`: a new field that nobody checks is
        // then a compile error.
        let Self { node, election, limits, snapshot, timeouts } = self;
        let mut check = Check::default();
        node.check(&mut check);
        election.check(&mut check);
        limits.check(&mut check);
        snapshot.check(&mut check);
        timeouts.check(&mut check);
        if check.wrong.is_empty() { Ok(()) } else { Err(ConfigError { fields: check.wrong }) }
    }
}

impl NodeSection {
    fn check(&self, check: &mut Check) {
        let Self { id, data_dir } = self;
        if *id == Some(NodeId(0)) {
            check.refuse("node.id", 0, "at least 1, or absent");
        }
        if data_dir.as_ref().is_some_and(|dir| dir.as_os_str().is_empty()) {
            check.refuse("node.data_dir", "empty", "the path of a directory, or absent");
        }
    }
}

impl ElectionSection {
    fn check(&self, check: &mut Check) {
        let Self { heartbeat_ms, timeout_min_ms, timeout_max_ms } = *self;
        check.within("election.heartbeat_ms", heartbeat_ms, HEARTBEAT_MS);

        let least = TIMEOUT_MIN_HEARTBEATS * nearest(heartbeat_ms, HEARTBEAT_MS);
        let most = TIMEOUT_MAX_MS - 1;
        if !(least..=most).contains(&timeout_min_ms) {
            let expected = format!("from {least} (three times election.heartbeat_ms) to {most}");
            check.refuse("election.timeout_min_ms", timeout_min_ms, expected);
        }

        let least = nearest(timeout_min_ms, least..=most) + 1;
        if !(least..=TIMEOUT_MAX_MS).contains(&timeout_max_ms) {
            let expected = format!("from {least} (more than election.timeout_min_ms) to {TIMEOUT_MAX_MS}");
            check.refuse("election.timeout_max_ms", timeout_max_ms, expected);
        }
    }
}

impl LimitsSection {
    fn check(&self, check: &mut Check) {
        let Self { max_command_bytes, queue_bytes, batch_bytes, batches_in_flight, cache_bytes } = *self;
        check.within("limits.max_command_bytes", max_command_bytes, COMMAND_BYTES);
        let least = nearest(max_command_bytes, COMMAND_BYTES);
        if queue_bytes < least {
            let expected = format!("at least {least} (limits.max_command_bytes)");
            check.refuse("limits.queue_bytes", queue_bytes, expected);
        }
        check.within("limits.batch_bytes", batch_bytes, 1..=MIB);
        check.within("limits.batches_in_flight", batches_in_flight, 1..=64);
        check.at_least("limits.cache_bytes", cache_bytes, MIB);
    }
}

impl SnapshotSection {
    fn check(&self, check: &mut Check) {
        let Self { log_bytes, keep_entries, chunk_bytes } = *self;
        check.at_least("snapshot.log_bytes", log_bytes, 64 << 10);
        check.within("snapshot.keep_entries", keep_entries, 0..=10_000_000);
        check.within("snapshot.chunk_bytes", chunk_bytes, 4 * KIB..=4 * MIB);
    }
}

impl TimeoutsSection {
    fn check(&self, check: &mut Check) {
        let Self { call_ms, connect_ms, drain_ms } = *self;
        check.within("timeouts.call_ms", call_ms, 1..=3_600_000);
        check.within("timeouts.connect_ms", connect_ms, 10..=60_000);
        check.within("timeouts.drain_ms", drain_ms, 0..=600_000);
    }
}

/// The value of `allowed` that is nearest to `found`.
fn nearest<T: Ord + Copy>(found: T, allowed: RangeInclusive<T>) -> T {
    found.clamp(*allowed.start(), *allowed.end())
}

/// Collects what is wrong.
#[derive(Default)]
struct Check {
    wrong: Vec<FieldError>,
}

impl Check {
    fn within<T: PartialOrd + Display>(&mut self, field: &'static str, found: T, allowed: RangeInclusive<T>) {
        if !allowed.contains(&found) {
            self.refuse(field, found, format!("from {} to {}", allowed.start(), allowed.end()));
        }
    }

    fn at_least<T: PartialOrd + Display>(&mut self, field: &'static str, found: T, least: T) {
        if found < least {
            self.refuse(field, found, format!("at least {least}"));
        }
    }

    fn refuse(&mut self, field: &'static str, found: impl ToString, expected: impl Into<String>) {
        self.wrong.push(FieldError { field, found: found.to_string(), expected: expected.into() });
    }
}
