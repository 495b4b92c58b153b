//! Clocks that differ from node to node.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use madsim::task::NodeId;
use madsim::time::TimeHandle;
use quorate::runtime::Instant;

/// How a node's clock differs from simulated time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// How far it is ahead, in nanoseconds.
    pub offset_ns: i64,
    /// How many microseconds it gains in a second; negative when it loses. Above -1,000,000.
    pub drift_ppm: i32,
}

const MILLION: i128 = 1_000_000;

impl Clock {
    fn local(self, global: i128) -> i128 {
        // Most clocks do not drift, and a division of 128 bits is slow.
        if self.drift_ppm == 0 {
            return i128::from(self.offset_ns) + global;
        }
        i128::from(self.offset_ns) + global * (MILLION + i128::from(self.drift_ppm)) / MILLION
    }

    /// This clock from `now` on, in simulated time, ahead by `jump` and with another drift. It never
    /// goes back: the clocks that programs measure time with do not.
    #[must_use]
    pub fn turned(self, now: Duration, jump: Duration, drift_ppm: i32) -> Self {
        let now = nanos(now);
        let other = Self { offset_ns: 0, drift_ppm };
        let offset = self.local(now) + nanos(jump) - other.local(now);
        Self { offset_ns: i64::try_from(offset).expect("a run is shorter than centuries"), drift_ppm }
    }

    /// How long it takes in simulated time until this clock has gone on by `local` nanoseconds.
    fn global_span(self, local: i128) -> i128 {
        if self.drift_ppm == 0 {
            return local;
        }
        local * MILLION / (MILLION + i128::from(self.drift_ppm))
    }
}

thread_local! {
    static CLOCKS: RefCell<BTreeMap<NodeId, Clock>> = const { RefCell::new(BTreeMap::new()) };
}

/// Gives a node its clock.
pub fn set_clock(node: NodeId, clock: Clock) {
    CLOCKS.with_borrow_mut(|clocks| clocks.insert(node, clock));
}

/// Gives every node the right time again.
pub fn forget_clocks() {
    CLOCKS.with_borrow_mut(BTreeMap::clear);
}

fn of_this_node() -> Clock {
    CLOCKS.with_borrow(|clocks| {
        if clocks.is_empty() {
            return Clock::default();
        }
        clocks.get(&madsim::plugin::node()).copied().unwrap_or_default()
    })
}

/// Simulated time: how long the run has lasted, whatever the clocks of its nodes say. Zero outside
/// a simulation, where what is left of one is dropped.
pub fn time() -> Duration {
    TimeHandle::try_current().map(|time| time.elapsed()).unwrap_or_default()
}

/// The time on the clock of the node that asks.
pub(crate) fn local_time() -> Duration {
    duration(of_this_node().local(nanos(time())))
}

/// A moment on the clock of the node that asks, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimInstant(i128);

fn nanos(duration: Duration) -> i128 {
    duration.as_nanos().cast_signed()
}

fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

impl SimInstant {
    /// How long it is until then in simulated time; zero when it has passed.
    pub(super) fn left(self) -> Duration {
        let clock = of_this_node();
        let left = self.0 - clock.local(nanos(time()));
        // Rounded up, or a sleep might end a moment before its deadline.
        duration(clock.global_span(left) + i128::from(left > 0))
    }
}

/// How long `local`, a time on the clock of this node, is in simulated time.
pub(super) fn in_simulated_time(local: Duration) -> Duration {
    duration(of_this_node().global_span(nanos(local)))
}

impl Instant for SimInstant {
    fn now() -> Self {
        Self(of_this_node().local(nanos(time())))
    }
}

impl Add<Duration> for SimInstant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0 + nanos(span))
    }
}

impl AddAssign<Duration> for SimInstant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for SimInstant {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0 - nanos(span))
    }
}

impl SubAssign<Duration> for SimInstant {
    fn sub_assign(&mut self, span: Duration) {
        *self = *self - span;
    }
}

impl Sub for SimInstant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        duration(self.0 - earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_gains_and_a_span_of_it_is_shorter() {
        let fast = Clock { offset_ns: 5, drift_ppm: 500_000 };
        assert_eq!(fast.local(1_000), 1_505);
        assert_eq!(fast.global_span(1_500), 1_000);
        let slow = Clock { offset_ns: -5, drift_ppm: -500_000 };
        assert_eq!(slow.local(1_000), 495);
        assert_eq!(slow.global_span(500), 1_000);
    }

    #[test]
    fn a_clock_that_is_turned_goes_on_from_where_it_was() {
        let second = Duration::from_secs(1);
        let before = Clock { offset_ns: 77, drift_ppm: 200_000 };
        let after = before.turned(second, Duration::from_nanos(5), -100_000);
        assert_eq!(after.local(1_000_000_000), before.local(1_000_000_000) + 5);
        assert_eq!(after.local(2_000_000_000) - after.local(1_000_000_000), 900_000_000);
    }
}
