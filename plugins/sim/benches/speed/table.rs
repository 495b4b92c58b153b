//! The figures, side by side.

use std::fmt::Write;
use std::time::Duration;

use crate::done::{Done, number};
use crate::mix::LENGTH;
use crate::sides::Compared;

const MINUTE: Duration = Duration::from_mins(1);

/// A table of both sides, their ratio, and what they did.
pub(crate) fn of(nodes: u64, compared: &Compared) -> String {
    let (ours, bare) = compared.sums();
    let runs = number(compared.runs.len() as u64);
    let mut out = format!(
        "## {nodes} nodes, {runs} seeds of {} s\n\n\
         | | simulated s per core s | seeds a minute and core | core µs per operation |\n|---|--:|--:|--:|\n",
        LENGTH.as_secs()
    );
    for (name, done) in [("quorate", &ours), ("bare openraft", &bare)] {
        let seeds = MINUTE.as_secs_f64() * runs / done.took.as_secs_f64();
        let micros = done.cost_of_operation() * 1e6;
        let _ = writeln!(out, "| {name} | {:.1} | {seeds:.0} | {micros:.0} |", 1.0 / done.cost());
    }
    let by_operation = ours.cost_of_operation() / bare.cost_of_operation();
    let by_seed = ours.took.as_secs_f64() / bare.took.as_secs_f64();
    let by_second = ours.cost() / bare.cost();
    let _ = writeln!(
        out,
        "| ours is slower, times | {by_second:.2} | {by_seed:.2} | {by_operation:.2} |\n\n{}\n\
         | what each did | operations | writes | reads | without an end | faults | crashes | leaders | snapshots | flushes a s | frames a s |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        spread(compared)
    );
    for (name, done) in [("quorate", &ours), ("bare openraft", &bare)] {
        let _ = writeln!(out, "{}", what_was_done(name, done));
    }
    out
}

/// The ratio in single seeds.
fn spread(compared: &Compared) -> String {
    let mut ratios: Vec<f64> = compared.runs.iter().map(|(ours, bare)| ours.cost() / bare.cost()).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios[(ratios.len() - 1) * part / 10];
    format!(
        "By seed, times per simulated second: median {:.2}, a tenth below {:.2}, a tenth above {:.2}.\n",
        at(5),
        at(1),
        at(9)
    )
}

fn what_was_done(name: &str, done: &Done) -> String {
    let each_second = |count: u64| number(count) / done.simulated.as_secs_f64();
    let Done { acknowledged, reads, unanswered, faults, crashes, leaders, snapshots, .. } = done;
    let (flushes, frames) = (each_second(done.flushes), each_second(done.frames));
    format!(
        "| {name} | {} | {acknowledged} | {reads} | {unanswered} | {faults} | {crashes} | {leaders} | {snapshots} | \
         {flushes:.0} | {frames:.0} |",
        done.operations()
    )
}
