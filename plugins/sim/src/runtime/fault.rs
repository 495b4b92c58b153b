//! What a run does inside the framework: rare things made likely, and a bug put in on purpose.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use quorate::runtime::{Bug, Point, Sight};
use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// Which fault points of the framework are live in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Points {
    /// None.
    #[default]
    None,
    /// About half of them, drawn from the seed.
    Drawn,
    /// All of them.
    All,
}

/// Of a run: a stream of numbers of its own, so that firing changes no other draw.
struct Faults {
    rng: Rng,
    /// How likely each live point is to fire, per mille.
    likely: BTreeMap<u8, u64>,
    bug: Option<Bug>,
    fired: u64,
    seen: BTreeMap<Sight, u64>,
}

thread_local! {
    static FAULTS: RefCell<Option<Faults>> = const { RefCell::new(None) };
}

/// Says what is live in the run of `seed` on this thread.
pub fn set_faults(seed: u64, points: Points, bug: Option<Bug>) {
    let mut rng = Rng::stream(seed, "fault points");
    let mut likely = BTreeMap::new();
    for point in Point::ALL {
        // Drawn for every point, so that the answer for one depends on no other.
        let (live, chance) = (rng.chance(500), *rng.pick(&[5, 20, 100, 300]));
        if points == Points::All || (points == Points::Drawn && live) {
            likely.insert(point as u8, chance.min(most(point)));
        }
    }
    FAULTS.set(Some(Faults { rng, likely, bug, fired: 0, seen: BTreeMap::new() }));
}

/// How likely a point may be at most: where a cluster would only stand still otherwise.
fn most(point: Point) -> u64 {
    match point {
        Point::EarlySnapshot | Point::AppendLost => 10,
        Point::ForwardRefused | Point::BeforeVote | Point::BeforePurge => 100,
        _ => 1_000,
    }
}

/// Forgets what was said.
pub fn forget_faults() {
    FAULTS.set(None);
}

/// How often a point has fired in the run on this thread.
pub fn fired() -> u64 {
    FAULTS.with_borrow(|faults| faults.as_ref().map_or(0, |faults| faults.fired))
}

/// How often something was seen in the run on this thread.
pub fn seen(sight: Sight) -> u64 {
    FAULTS.with_borrow(|faults| {
        faults.as_ref().and_then(|faults| faults.seen.get(&sight).copied()).unwrap_or(0)
    })
}

/// Something was seen.
pub(super) fn saw(sight: Sight) {
    FAULTS.with_borrow_mut(|faults| {
        if let Some(faults) = faults {
            *faults.seen.entry(sight).or_default() += 1;
        }
    });
}

/// Whether `point` fires now.
pub(super) fn reaches(point: Point) -> bool {
    FAULTS.with_borrow_mut(|faults| {
        let Some(faults) = faults else { return false };
        let Some(chance) = faults.likely.get(&(point as u8)) else { return false };
        let fires = faults.rng.chance(*chance);
        faults.fired += u64::from(fires);
        fires
    })
}

/// How long a pause lasts: mostly less than a heartbeat.
pub(super) fn moment() -> Duration {
    FAULTS.with_borrow_mut(|faults| {
        let Some(faults) = faults else { return Duration::ZERO };
        let most = *faults.rng.pick(&[200, 2_000, 20_000, 80_000]);
        Duration::from_micros(faults.rng.within(1..most))
    })
}

/// Whether the run has this bug.
pub(super) fn planted(bug: Bug) -> bool {
    FAULTS.with_borrow(|faults| faults.as_ref().is_some_and(|faults| faults.bug == Some(bug)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64, points: Points) -> Vec<bool> {
        set_faults(seed, points, None);
        let drawn = (0..4_000).flat_map(|_| Point::ALL.map(reaches)).collect();
        forget_faults();
        drawn
    }

    #[test]
    fn points_fire_as_the_seed_says_and_not_outside_a_run() {
        assert_eq!(draws(1, Points::Drawn), draws(1, Points::Drawn));
        assert_ne!(draws(1, Points::Drawn), draws(2, Points::Drawn));
        assert!(!draws(1, Points::None).contains(&true));
        assert!(!Point::ALL.map(reaches).contains(&true));
        let all = draws(1, Points::All);
        for (at, point) in Point::ALL.iter().enumerate() {
            assert!(all.iter().skip(at).step_by(Point::ALL.len()).any(|fires| *fires), "{point:?}");
        }
    }

    #[test]
    fn a_run_has_the_bug_that_it_was_given_and_no_other() {
        set_faults(1, Points::None, Some(Bug::AnswersSwapped));
        assert!(planted(Bug::AnswersSwapped) && !planted(Bug::UnknownIsRetried));
        forget_faults();
        assert!(!planted(Bug::AnswersSwapped));
    }
}
