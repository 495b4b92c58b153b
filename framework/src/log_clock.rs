//! The log's clock: stamped by the leader, monotonic, the same on every replica.
//!
//! A leader stamps the greatest time in its log plus the monotonic time since it took office, so
//! the clock stands still while there is no leader and no wall clock enters into it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::types::LogTime;

/// Tells the monotonic time of this process since some fixed moment.
type Monotonic = Box<dyn Fn() -> Duration + Send + Sync>;

pub(crate) struct LogClock {
    monotonic: Monotonic,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The greatest time in the log.
    highest: LogTime,
    /// The term this node stamps for, the time in the log when it took office, and when that was.
    office: Option<(u64, LogTime, Duration)>,
}

impl std::fmt::Debug for LogClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogClock").field("state", &self.state).finish_non_exhaustive()
    }
}

impl LogClock {
    pub(crate) fn new(monotonic: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { monotonic: Box::new(monotonic), state: Mutex::default() }
    }

    /// An entry of this time is in the log, or a snapshot covers one.
    pub(crate) fn seen(&self, time: LogTime) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.highest = state.highest.max(time);
    }

    /// The time for an entry that this node appends as the leader of `term`.
    pub(crate) fn stamp(&self, term: u64) -> LogTime {
        self.at(term, true).unwrap_or_default()
    }

    /// The time now, if this node has appended an entry as the leader of `term`.
    pub(crate) fn now(&self, term: u64) -> Option<LogTime> {
        self.at(term, false)
    }

    fn at(&self, term: u64, take_office: bool) -> Option<LogTime> {
        let now = (self.monotonic)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (base, since) = match state.office {
            Some((current, base, since)) if current == term => (base, since),
            _ if take_office => {
                state.office = Some((term, state.highest, now));
                (state.highest, now)
            }
            _ => return None,
        };
        let time = base.saturating_add(now.saturating_sub(since)).max(state.highest);
        if take_office {
            state.highest = time;
        }
        Some(time)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_clock_runs_in_office_only_and_never_goes_back() {
        let wall = Arc::new(AtomicU64::new(1_000));
        let clock = {
            let wall = wall.clone();
            LogClock::new(move || Duration::from_micros(wall.load(Ordering::Relaxed)))
        };
        let micros = LogTime::from_micros;
        clock.seen(micros(50));
        assert_eq!(clock.now(3), None, "not in office");
        assert_eq!(clock.stamp(3), micros(50));
        wall.store(1_010, Ordering::Relaxed);
        assert_eq!((clock.stamp(3), clock.now(3)), (micros(60), Some(micros(60))));
        // Another leader goes on while this node is out of office; its own time does not count.
        clock.seen(micros(70));
        wall.store(9_000, Ordering::Relaxed);
        assert_eq!(clock.stamp(5), micros(70));
        assert_eq!(clock.now(3), None);
    }
}
