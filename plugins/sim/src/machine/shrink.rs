//! The fewest commands that still show it.

use super::live::Step;

/// How often a smaller history is tried.
const TRIES: usize = 400;

/// A history from which no command can be left out, or few; `shows` says whether one still shows what
/// was found. The queries of commands before the last are left out, too, when they can be.
pub(super) fn smallest(log: &[Step], mut shows: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut log = log.to_vec();
    let mut tries = 0;
    let mut try_one = |smaller: &[Step]| {
        tries += 1;
        tries <= TRIES && shows(smaller)
    };
    // What comes after does not matter: halve for the shortest beginning.
    let (mut without, mut with) = (0, log.len());
    while with - without > 1 {
        let middle = usize::midpoint(without, with);
        if try_one(&log[..middle]) {
            with = middle;
        } else {
            without = middle;
        }
    }
    log.truncate(with);
    let mut chunk = log.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < log.len() {
            let mut smaller = log.clone();
            smaller.drain(at..(at + chunk).min(log.len()));
            if try_one(&smaller) {
                log = smaller;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    for number in 0..log.len() {
        let mut smaller = log.clone();
        smaller[number].queries.clear();
        if smaller != log && try_one(&smaller) {
            log = smaller;
        }
    }
    log
}
