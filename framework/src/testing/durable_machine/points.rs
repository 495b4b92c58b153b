//! Every point of a life, or as many as there is time for.

use super::DurableHarness;
use crate::testing::Seeded;

/// How many points a case goes through one by one, and how many it draws from those after them.
const POINTS: u64 = 400;
/// More operations than any machine needs for what a case does.
const ENDLESS: u64 = 1 << 32;

/// Lives with power for so many operations, from none to as many as are needed; `live` says whether the
/// power lasted to the end. Of a life with more than [`POINTS`] operations as many points are drawn from
/// the rest, evenly. Does nothing for a harness that cannot count operations.
///
/// # Panics
/// When the power never lasts to the end.
pub(super) fn at_every_point<H: DurableHarness>(rng: &mut Seeded, live: impl FnMut(u64) -> bool) {
    if H::cut_power_after(&H::place(), 0) {
        go_through(rng, live);
    }
}

fn go_through(rng: &mut Seeded, mut live: impl FnMut(u64) -> bool) {
    if (0..POINTS).any(&mut live) {
        return;
    }
    let (mut short, mut end) = (POINTS - 1, 2 * POINTS);
    while !live(end) {
        (short, end) = (end, 2 * end);
        assert!(
            end < ENDLESS,
            "the power never lasted to the end: does `cut_power_after` count down what it is given?"
        );
    }
    while end - short > 1 + end / POINTS {
        let middle = short + (end - short) / 2;
        *(if live(middle) { &mut end } else { &mut short }) = middle;
    }
    let left = end - POINTS;
    println!("the life has about {end} operations: of {left} points {POINTS} are drawn at most");
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
            points >= operations
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
    #[should_panic(expected = "the power never lasted to the end")]
    fn power_that_is_not_counted_down_is_an_error() {
        go_through(&mut Seeded::new(1), |_| false);
    }
}
