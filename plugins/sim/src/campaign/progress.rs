//! The line that says how far a campaign is.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use super::{EVENTS, Tally};

/// How often a line is written where lines stay.
const EVERY: Duration = Duration::from_secs(10);

/// Writes the line to stderr: over itself on a terminal, one after the other elsewhere.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    next: Instant,
    width: usize,
    /// How many findings were told.
    told: usize,
}

impl Default for Progress {
    fn default() -> Self {
        Self { terminal: stderr().is_terminal(), next: Instant::now() + EVERY, width: 0, told: 0 }
    }
}

impl Progress {
    /// Shows how far it is, and at once what was found.
    pub fn show(&mut self, tally: &Tally) {
        for found in tally.found.iter().skip(self.told) {
            self.done();
            let _ = writeln!(stderr(), "seed {}: {}", found.seed, found.what);
        }
        self.told = tally.found.len();
        if !self.terminal && Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + EVERY;
        let line = line(tally);
        // A progress line that nobody can read is no reason to stop.
        let _ = if self.terminal {
            let width = std::mem::replace(&mut self.width, line.len());
            write!(stderr(), "\r{line:width$}").and_then(|()| stderr().flush())
        } else {
            writeln!(stderr(), "{line}")
        };
    }

    /// Leaves a terminal's line as it is: what follows begins on one of its own.
    pub fn done(&mut self) {
        if self.terminal && std::mem::take(&mut self.width) > 0 {
            let _ = writeln!(stderr());
        }
    }
}

/// How far a campaign is, in one line.
fn line(tally: &Tally) -> String {
    let seen = EVENTS.iter().filter(|event| (event.count)(&tally.counts) > 0).count();
    let of = if tally.wanted == u64::MAX { String::new() } else { format!("/{}", tally.wanted) };
    let left = left(tally).map_or_else(String::new, |left| format!(", {} left", clock(left)));
    format!(
        "{}{of} seeds, {:.1}/min, rare events {seen}/{}, found {}, {}{left}",
        tally.seeds,
        tally.pace(),
        EVENTS.len(),
        tally.found.len(),
        clock(tally.took),
    )
}

/// How long it will take, as it went so far.
fn left(tally: &Tally) -> Option<Duration> {
    let by_time = tally.time.map(|time| time.saturating_sub(tally.took));
    let by_seeds = (tally.wanted != u64::MAX && tally.seeds > 0).then(|| {
        let small = |seeds: u64| u32::try_from(seeds).unwrap_or(u32::MAX);
        (tally.took / small(tally.seeds)).saturating_mul(small(tally.wanted.saturating_sub(tally.seeds)))
    });
    match (by_time, by_seeds) {
        (Some(time), Some(seeds)) => Some(time.min(seeds)),
        (one, other) => one.or(other),
    }
}

/// A time as hours, minutes and seconds.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Options;

    #[test]
    fn the_line_says_how_far_it_is_and_how_long_it_will_take() {
        let mut tally = Tally::new(&Options { seeds: 10..110, ..Options::default() });
        tally.seeds = 25;
        tally.took = Duration::from_secs(50);
        tally.counts.crashes = 3;
        let of = EVENTS.len();
        assert_eq!(
            line(&tally),
            format!("25/100 seeds, 30.0/min, rare events 1/{of}, found 0, 0:50, 2:30 left")
        );
        // The time is over before all seeds are done.
        tally.time = Some(Duration::from_mins(1));
        assert!(line(&tally).ends_with("0:10 left"));
        tally.wanted = u64::MAX;
        assert!(line(&tally).starts_with("25 seeds,"));
        tally.took = Duration::from_secs(3_700);
        assert_eq!((clock(tally.took).as_str(), tally.pace() < 1.0), ("1:01:40", true));
    }
}
