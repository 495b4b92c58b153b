//! What a campaign came to, as tables for a person.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::progress::clock;
use super::{EVENTS, Found, Tally};

/// How many seeds of a class are named.
const NAMED: usize = 5;

/// The tables. `mix` is whether the seeds were of the full mix, so that what must happen sometimes must
/// have; `again` is the command that runs a seed again.
pub fn summary(tally: &Tally, mix: bool, again: impl Fn(u64) -> String) -> String {
    let mut text = String::new();
    numbers(&mut text, tally);
    faults(&mut text, tally);
    events(&mut text, tally, mix);
    found(&mut text, tally, again);
    text
}

fn row(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "  {name:<42} {value}");
}

fn numbers(text: &mut String, tally: &Tally) {
    let counts = &tally.counts;
    text.push_str("campaign\n");
    let seeds = if tally.wanted == u64::MAX || tally.wanted == tally.seeds {
        tally.seeds.to_string()
    } else {
        format!("{} of {}", tally.seeds, tally.wanted)
    };
    row(text, "seeds", seeds);
    row(text, "real time", clock(tally.took));
    row(text, "seeds a minute", format!("{:.1}", tally.pace()));
    row(text, "simulated time", clock(tally.simulated));
    let speed = tally.simulated.as_secs_f64() / tally.took.as_secs_f64().max(0.001);
    row(text, "simulated seconds a second", format!("{speed:.1}"));
    row(text, "writes acknowledged", counts.acknowledged);
    row(text, "writes refused", counts.refused);
    row(text, "writes of unknown outcome", counts.unknown);
    row(text, "reads answered", counts.reads);
    row(text, "seeds run twice", tally.twice);
    if let Some((seed, took)) = tally.slowest {
        row(text, "slowest seed", format!("{seed} ({:.1} s)", took.as_secs_f64()));
    }
}

fn faults(text: &mut String, tally: &Tally) {
    text.push_str("faults planned\n");
    if tally.faults.is_empty() {
        text.push_str("  none\n");
    }
    for (kind, count) in &tally.faults {
        row(text, kind, count);
    }
}

fn events(text: &mut String, tally: &Tally, mix: bool) {
    text.push_str("what happened sometimes\n");
    let missing = if mix { tally.missing() } else { Vec::new() };
    for event in EVENTS {
        let count = (event.count)(&tally.counts);
        let never = missing.iter().any(|missing| missing.name == event.name);
        if never {
            row(text, event.name, "NEVER, and it must have");
        } else {
            row(text, event.name, count);
        }
    }
}

fn found(text: &mut String, tally: &Tally, again: impl Fn(u64) -> String) {
    text.push_str("found\n");
    if tally.found.is_empty() {
        text.push_str("  nothing\n");
    }
    let mut classes: BTreeMap<&str, Vec<&Found>> = BTreeMap::new();
    for found in &tally.found {
        classes.entry(&found.class).or_default().push(found);
    }
    for (class, all) in classes {
        row(text, class, format!("{} of {} seeds", all.len(), tally.seeds));
        for found in all.iter().take(NAMED) {
            let _ = writeln!(text, "    seed {}: {}\n      {}", found.seed, found.what, again(found.seed));
        }
        if all.len() > NAMED {
            let seeds: Vec<String> =
                all[NAMED..].iter().take(50).map(|found| found.seed.to_string()).collect();
            let _ = writeln!(text, "    and seeds {}", seeds.join(", "));
        }
    }
}
