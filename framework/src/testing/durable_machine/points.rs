//! The points of a life: the first are all cut, and of those behind them some are drawn.

use std::cell::RefCell;

use super::DurableHarness;
use crate::testing::Seeded;

/// How many points a case goes through one by one, and how many at most it draws from those after them.
const POINTS: u64 = 400;
/// More operations than any machine needs for what a case does.
const ENDLESS: u64 = 1 << 32;

/// Lives with power for so many operations, from none to as many as are needed; `live` says whether the
/// power lasted to the end, or else what failed. Of a life with more than [`POINTS`] operations up to as
/// many points are drawn from the rest, one from each part of it. Does nothing for a harness that cannot
/// count operations.
///
/// # Panics
/// When the power never lasts to the end.
pub(super) fn at_every_point<H: DurableHarness>(
    rng: &mut Seeded,
    live: impl FnMut(u64) -> Result<(), String>,
) {
    if H::cut_power_after(&H::place(), 0) {
        go_through(rng, live);
    }
}

fn go_through(rng: &mut Seeded, mut live: impl FnMut(u64) -> Result<(), String>) {
    let last = RefCell::new(String::new());
    let mut live = |points| live(points).map_err(|error| last.replace(error)).is_ok();
    if (0..POINTS).any(&mut live) {
        return;
    }
    let (mut short, mut end) = (POINTS - 1, 2 * POINTS);
    while !live(end) {
        (short, end) = (end, 2 * end);
        assert!(
            end < ENDLESS,
            "with power for {short} operations a life did not come to its end: {}. Either that fails with power, too, \
             or `cut_power_after` does not count down what it is given",
            last.borrow()
        );
    }
    while end - short > 1 + end / POINTS {
        let middle = short + (end - short) / 2;
        *(if live(middle) { &mut end } else { &mut short }) = middle;
    }
    let left = end - POINTS;
    println!("the life has about {end} operations: of the last {left} up to {POINTS} are drawn");
    for part in 0..POINTS {
        let points = POINTS + left * part / POINTS..POINTS + left * (part + 1) / POINTS;
        if !points.is_empty() {
            live(rng.draw(points));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visited(operations: u64) -> Vec<u64> {
        let mut visited = Vec::new();
        go_through(&mut Seeded::new(operations), |points| {
            visited.push(points);
            if points < operations { Err("no power".to_owned()) } else { Ok(()) }
        });
        visited
    }

    #[test]
    fn a_short_life_is_cut_at_every_point_and_a_long_one_all_over() {
        assert_eq!(visited(0), [0]);
        assert_eq!(visited(POINTS - 1), (0..POINTS).collect::<Vec<_>>());
        for operations in [POINTS, POINTS + 1, 1000, 123_456] {
            let mut visited = visited(operations);
            assert!(visited.len() < 900, "{operations}: {} lives", visited.len());
            visited.retain(|points| *points < operations);
            visited.sort_unstable();
            assert!(visited.iter().take(400).copied().eq(0..POINTS), "{operations}");
            let widest = 2 * operations.div_ceil(POINTS);
            visited.push(operations);
            let wide = visited.windows(2).find(|two| two[1] - two[0] > widest);
            assert_eq!(wide, None, "{operations}: nothing is drawn between these");
        }
    }

    #[test]
    #[should_panic(expected = "operations a life did not come to its end: a batch failed. Either")]
    fn a_life_that_fails_with_power_is_told_with_its_reason() {
        go_through(&mut Seeded::new(1), |_| Err("a batch failed".to_owned()));
    }
}
