//! What a campaign found, made smaller, in the time there is for all of it.

use std::time::{Duration, Instant};

use super::Tally;
use crate::run::Run;
use crate::shrink::{Budget, Shrunk, shrink};
use crate::workload::Workload;

/// The least time in which to begin.
const LEAST: Duration = Duration::from_secs(1);

/// Makes every run that was kept smaller. `budget` is for all of them together: each has the same share,
/// and what one leaves is for those after it. `tell` is told of each. Returns those for which no time
/// was left, as they are.
pub fn smaller<'a, W: Workload>(
    tally: &'a Tally,
    workload: impl Fn() -> W + Sync,
    budget: &Budget,
    mut tell: impl FnMut(&Run, &Shrunk),
) -> Vec<&'a Run> {
    let began = Instant::now();
    let mut untouched = Vec::new();
    for (number, run) in (0_u32..).zip(&tally.kept) {
        let left = budget.time.saturating_sub(began.elapsed());
        if left < LEAST {
            untouched.push(run);
            continue;
        }
        let others = u32::try_from(tally.kept.len()).unwrap_or(u32::MAX) - number;
        let time = (left / others).max(LEAST);
        tell(run, &shrink(run, &workload, &Budget { time, ..*budget }));
    }
    untouched
}
