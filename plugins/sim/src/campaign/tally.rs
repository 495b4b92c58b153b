//! The sums over a campaign's runs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::events::{EVENTS, Event};
use super::{Done, Options};
use crate::cluster::Counts;
use crate::run::Run;

/// Something that a campaign found.
#[derive(Clone, Debug)]
pub struct Found {
    /// In which seed.
    pub seed: u64,
    /// Of which class.
    pub class: String,
    /// What, in one line.
    pub what: String,
}

/// How many runs of a class are kept whole, when different things are said of them.
const KEPT: usize = 3;

/// What a campaign has come to so far.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How many seeds there are to run; `u64::MAX` when only the time ends it.
    pub wanted: u64,
    /// The real time after which no run begins.
    pub time: Option<Duration>,
    /// How many have run.
    pub seeds: u64,
    /// The real time so far.
    pub took: Duration,
    /// The simulated time of all runs together.
    pub simulated: Duration,
    /// What happened in all of them.
    pub counts: Counts,
    /// How often each kind of fault was planned.
    pub faults: BTreeMap<String, u64>,
    /// What was found.
    pub found: Vec<Found>,
    /// The first run of every class, whole, and a few more of which something else is said.
    pub kept: Vec<Run>,
    /// How many seeds were run twice.
    pub twice: u64,
    /// The seed that took longest, and how long.
    pub slowest: Option<(u64, Duration)>,
}

impl Tally {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            wanted: options.seeds.end.saturating_sub(options.seeds.start),
            time: options.time,
            seeds: 0,
            took: Duration::ZERO,
            simulated: Duration::ZERO,
            counts: Counts::default(),
            faults: BTreeMap::new(),
            found: Vec::new(),
            kept: Vec::new(),
            twice: 0,
            slowest: None,
        }
    }

    pub(super) fn add(&mut self, Done { run, twice }: Done) {
        self.seeds += 1;
        self.twice += u64::from(twice);
        if let Some(report) = &run.report {
            self.counts.add(&report.counts);
            self.simulated += report.ended;
        }
        for planned in &run.setup.plan.faults {
            *self.faults.entry(kind(&planned.fault)).or_default() += 1;
        }
        if self.slowest.is_none_or(|(_, slowest)| run.took > slowest) {
            self.slowest = Some((run.setup.seed, run.took));
        }
        if let Some(finding) = &run.finding {
            let class = finding.class();
            let what = finding.to_string().lines().next().unwrap_or_default().to_owned();
            let alike: Vec<&Found> = self.found.iter().filter(|found| found.class == class).collect();
            let is_new = alike.iter().all(|found| !alike_but_for_numbers(&found.what, &what));
            let kept = self.kept.iter().filter_map(|run| run.finding.as_ref());
            if is_new && kept.filter(|finding| finding.class() == class).count() < KEPT {
                self.kept.push(run.clone());
            }
            self.found.push(Found { seed: run.setup.seed, class, what });
        }
    }

    /// The events that must have happened by now in a campaign of the full mix, and have not.
    pub fn missing(&self) -> Vec<&'static Event> {
        let due = |event: &&Event| event.within.is_some_and(|within| self.seeds >= within);
        EVENTS.iter().filter(due).filter(|event| (event.count)(&self.counts) == 0).collect()
    }

    /// Seeds in a minute of real time.
    pub fn pace(&self) -> f64 {
        let minutes = self.took.as_secs_f64() / 60.0;
        let seeds = f64::from(u32::try_from(self.seeds).unwrap_or(u32::MAX));
        if minutes > 0.0 { seeds / minutes } else { 0.0 }
    }
}

/// Whether two texts say the same, be it of other nodes, times and entries.
fn alike_but_for_numbers(one: &str, other: &str) -> bool {
    let words = |text: &str| text.split(|c: char| c.is_ascii_digit() || c == '.').collect::<String>();
    words(one) == words(other)
}

/// The name of a value's variant, as it is derived.
fn kind(value: &impl std::fmt::Debug) -> String {
    let all = format!("{value:?}");
    all.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_words_is_kept_apart() {
        let down = |node, at| format!("liveness at {at}s: n{node} is down after 30s of calm");
        assert!(alike_but_for_numbers(&down(1, "0.5"), &down(12, "17.25")));
        assert!(!alike_but_for_numbers(&down(1, "0.5"), "liveness at 0.5s: n1 acknowledges no write"));
    }
}
