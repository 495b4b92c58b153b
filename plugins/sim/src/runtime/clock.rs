//! Clocks that differ from node to node.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use madsim::task::NodeId;
use madsim::time::TimeHandle;
use quorate::runtime::Instant;

use crate::rng::Rng;

/// How a node's clock differs from simulated time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// How far it is ahead, in nanoseconds.
    pub offset_ns: i64,
    /// How many microseconds it gains in a second; negative when it loses. Above -1,000,000.
    pub drift_ppm: i32,
}

const MILLION: i128 = 1_000_000;

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset_ns, drift_ppm } = self;
        let ahead = Duration::from_nanos(offset_ns.unsigned_abs());
        let word = if *offset_ns < 0 { "behind" } else { "ahead" };
        write!(f, "is {ahead:.3?} {word} and gains {drift_ppm} us a second")
    }
}

impl Clock {
    /// A clock as nodes have them: up to an hour ahead, as their processes began at other times, with a
    /// drift that is mostly small.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let most = *rng.pick(&[100, 1_000, 20_000]);
        let drift_ppm = rng.below(2 * most + 1) as i32 - most as i32;
        Self { offset_ns: rng.below(3_600_000_000_000).cast_signed(), drift_ppm }
    }

    fn local(self, global: i128) -> i128 {
        i128::from(self.offset_ns) + global + self.gain(global)
    }

    /// What it gains in a time, rounded down.
    fn gain(self, global: i128) -> i128 {
        // A division of 128 bits is slow, and a run of a day has numbers of 64.
        let short = i64::try_from(global).ok();
        match short.and_then(|global| global.checked_mul(i64::from(self.drift_ppm))) {
            Some(gain) => i128::from(gain.div_euclid(1_000_000)),
            None => (global * i128::from(self.drift_ppm)).div_euclid(MILLION),
        }
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
        match i64::try_from(local).ok().and_then(|local| local.checked_mul(1_000_000)) {
            Some(local) => i128::from(local / (1_000_000 + i64::from(self.drift_ppm))),
            None => local * MILLION / (MILLION + i128::from(self.drift_ppm)),
        }
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
    fn long_times_and_short_ones_are_counted_alike() {
        for drift_ppm in [-50_000, -1, 0, 1, 777, 50_000] {
            let clock = Clock { offset_ns: 9, drift_ppm };
            // About the end of what 64 bits hold.
            for global in [0, 1, 999_999, 123_456_789, i128::from(i64::MAX) / 50_000, 1 << 62, 1 << 70] {
                for global in [global, global + 1, -global] {
                    let exact = (global * (MILLION + i128::from(drift_ppm))).div_euclid(MILLION);
                    assert_eq!(clock.local(global), 9 + exact, "{drift_ppm} {global}");
                    let span = global * MILLION / (MILLION + i128::from(drift_ppm));
                    assert_eq!(clock.global_span(global), span, "{drift_ppm} {global}");
                }
            }
        }
    }

    #[test]
    fn drawn_clocks_differ_and_are_within_an_hour_and_a_fiftieth() {
        let mut rng = Rng::new(1);
        let drawn: Vec<Clock> = (0..1_000).map(|_| Clock::draw(&mut rng)).collect();
        assert!(drawn.iter().all(|clock| (0..3_600_000_000_000).contains(&clock.offset_ns)));
        assert!(drawn.iter().all(|clock| clock.drift_ppm.abs() <= 20_000));
        let fast = drawn.iter().filter(|clock| clock.drift_ppm > 0).count();
        assert!((300..700).contains(&fast), "{fast}");
        assert_eq!(drawn[0], Clock::draw(&mut Rng::new(1)));
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
