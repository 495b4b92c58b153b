//! A run as lines of text, in the order of time.

use std::fmt::Write;
use std::time::Duration;

use super::story::{Happened, Stopped, Story, Told, Turn};
use crate::moment::Outcome;
use crate::plan::Planned;
use crate::run::{Finding, Run};
use crate::workload::Workload;

/// How many lines before a violation are shown again at the end.
const BEFORE: usize = 15;

/// The run as a person reads it. Its trace must be [recorded](crate::trace::Trace::recording); without
/// `calls` the calls of clients are left out.
pub fn timeline<W: Workload>(run: &Run, workload: &W, calls: bool) -> String {
    let story = Story::of(run, workload);
    let mut text = String::new();
    begin(&mut text, run);
    let happened = lines(run, &story, false);
    for line in if calls { lines(run, &story, true) } else { happened.clone() } {
        let _ = writeln!(text, "{}", line.1);
    }
    verdict(&mut text, run, &story, &happened);
    text
}

fn begin(text: &mut String, run: &Run) {
    let setup = &run.setup;
    let _ = writeln!(
        text,
        "seed {}: {} nodes, {} clients, faults for {:.1} s{}",
        setup.seed,
        setup.nodes,
        setup.clients,
        setup.length.as_secs_f64(),
        setup.mutation.map_or_else(String::new, |bug| format!(", with the planted bug {bug:?}")),
    );
    text.push_str("plan\n");
    for Planned { at, fault } in &setup.plan.faults {
        let _ = writeln!(text, "{}  {fault:?}", clock(*at));
    }
    let _ = writeln!(text, "      at the end  {:?} lasts at {:?}", setup.plan.lasting, setup.plan.minority);
    text.push_str("run\n");
}

/// A time of a run, 12 characters wide.
fn clock(at: Duration) -> String {
    format!("{:>11.6}s", at.as_secs_f64())
}

fn lines(run: &Run, story: &Story, calls: bool) -> Vec<(Duration, String)> {
    let mut lines: Vec<(Duration, String)> = run
        .trace
        .events()
        .iter()
        .map(|event| (event.at, format!("{}  {}", clock(event.at), event.what)))
        .collect();
    let over = |happened: &Happened| {
        let ended = happened.ended.filter(|ended| *ended > happened.began)?;
        Some((ended, format!("{}  over: {}", clock(ended), happened.words)))
    };
    lines.extend(story.faults.iter().filter_map(over));
    for (node, turns) in &story.lives {
        let mut leads = false;
        for (at, turn) in turns {
            match turn {
                Turn::Stops(stopped) => {
                    leads = false;
                    if let Some(what) = lost(stopped) {
                        lines.push((*at, format!("{}    n{node}: {what}", clock(*at))));
                    }
                }
                Turn::Role(role, term) => {
                    if leads && role != "Leader" {
                        lines
                            .push((*at, format!("{}  n{node} leads no more: {role} in T{term}", clock(*at))));
                    }
                    leads = role == "Leader";
                }
                Turn::Boots(_) | Turn::Snapshot(_) => {}
            }
        }
    }
    if calls {
        lines.extend(story.calls.iter().map(|told| (end_of(told), call(told))));
    }
    lines.sort_by_key(|(at, _)| *at);
    lines
}

/// What a crash did to a disk, when it did anything.
fn lost(stopped: &Stopped) -> Option<String> {
    let Stopped { keeps, waiting, lost, torn } = stopped;
    let mut parts = Vec::new();
    if *waiting > 0 && keeps != "Process" {
        parts.push(format!("{waiting} operations on its log were not flushed"));
    }
    if *lost {
        parts.push("writes were lost".to_owned());
    }
    if *torn > 0 {
        parts.push(format!("{torn} writes were torn"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn end_of(told: &Told) -> Duration {
    told.ended.as_ref().map_or(Duration::MAX, |(ended, _)| *ended)
}

fn call(told: &Told) -> String {
    let who = told.client.map_or_else(|| "run".to_owned(), |client| format!("c{client}"));
    let Some((ended, outcome)) = &told.ended else {
        return format!("{}  {who} -> n{}  {}  had not ended", clock(told.began), told.node, told.words);
    };
    let how = match (outcome, told.write) {
        (Outcome::Answered(_), true) => "acknowledged",
        (Outcome::Answered(_), false) => "answered",
        (Outcome::Refused, true) => "REFUSED",
        (Outcome::Refused, false) => "no answer",
        (Outcome::Unknown, _) => "OUTCOME UNKNOWN",
    };
    let took = ended.saturating_sub(told.began).as_secs_f64() * 1_000.0;
    format!("{}  {who} -> n{}  {}  {how} after {took:.1} ms", clock(*ended), told.node, told.words)
}

fn verdict(text: &mut String, run: &Run, story: &Story, happened: &[(Duration, String)]) {
    let Some(finding) = &run.finding else {
        text.push_str("verdict\n  everything held\n");
        return;
    };
    let _ = writeln!(text, "verdict\n  {finding}");
    let also = run.also();
    if !also.is_empty() {
        text.push_str("and also\n");
    }
    for also in also {
        let _ = writeln!(text, "  {}", also.to_string().lines().next().unwrap_or_default());
    }
    if !story.evidence.is_empty() {
        text.push_str("the smallest history that shows it; the last answer cannot be explained\n");
        for id in &story.evidence {
            if let Some(told) = story.calls.iter().find(|told| told.id == *id) {
                let _ = writeln!(text, "  began {}  ended {}", clock(told.began).trim(), call(told).trim());
            }
        }
    } else if let Finding::Violation(violation) = finding {
        let before: Vec<_> = happened.iter().filter(|(at, _)| *at <= violation.at).collect();
        text.push_str("what came before it\n");
        for (_, line) in &before[before.len().saturating_sub(BEFORE)..] {
            let _ = writeln!(text, "{line}");
        }
    }
}
