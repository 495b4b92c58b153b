//! Time as the log tells it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time on the log's own clock, in microseconds since the cluster was born.
///
/// The leader stamps it on every entry: the greatest time in its log plus the monotonic time since
/// it took office. It never goes back, it is the same on every replica, it stands still while there
/// is no leader, and no wall clock enters into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogTime(u64);

impl LogTime {
    /// The birth of the cluster.
    pub const ZERO: Self = Self(0);

    /// The time `micros` microseconds after the birth of the cluster.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the birth of the cluster.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time `duration` later; stays at the end of time instead of overflowing.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
