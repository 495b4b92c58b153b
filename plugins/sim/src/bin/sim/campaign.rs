//! Many runs: how far it is, what they came to, and the smallest plans of what was found.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use quorate_sim::campaign::{Options, Progress, Tally, failure, run, smaller, summary};
use quorate_sim::run::{Finding, Run};
use quorate_sim::shrink::Budget;
use quorate_sim::workload::RegistersWorkload;

use crate::args::Campaign;
use crate::{FINE, FOUND};

/// What the machine is that is simulated.
pub(crate) const WORKLOAD: RegistersWorkload = RegistersWorkload { keys: 5 };

pub(crate) fn campaign(asked: &Campaign) -> Result<u8, String> {
    let recipe = &asked.recipe;
    let end = asked.seeds.map_or(u64::MAX, |seeds| asked.from.saturating_add(seeds));
    let options = Options {
        seeds: asked.from..end,
        time: asked.time,
        jobs: asked.jobs,
        limit: recipe.limit,
        twice_in: asked.twice_in,
    };
    let stop = stop_on_interrupt()?;
    eprintln!("a campaign from seed {}; an interrupt ends it with what it came to", asked.from);
    let mut progress = Progress::default();
    let tally = run(&options, |seed| recipe.setup(seed), || WORKLOAD, &stop, |tally| progress.show(tally));
    progress.done();
    let full_mix = recipe.is_full_mix();
    print!("{}", summary(&tally, full_mix, |seed| recipe.command(seed, None)));
    let missing = if full_mix { tally.missing() } else { Vec::new() };
    tell_smaller(asked, &tally);
    Ok(if tally.found.is_empty() && missing.is_empty() { FINE } else { FOUND })
}

/// Tells of the smallest runs that show what was found, and of what there was no time to make smaller.
fn tell_smaller(asked: &Campaign, tally: &Tally) {
    let budget = Budget { time: asked.shrink, jobs: asked.jobs, limit: asked.recipe.limit };
    let untouched = smaller(
        tally,
        || WORKLOAD,
        &budget,
        |run, shrunk| {
            let hash = run.report.as_ref().map(|report| report.hash);
            let command = asked.recipe.command(run.setup.seed, hash);
            println!("\n{}", failure(run, shrunk, &command, &asked.out));
        },
    );
    let class = |run: &Run| run.finding.as_ref().map_or_else(String::new, Finding::class);
    let named: Vec<String> =
        untouched.iter().map(|run| format!("{} (seed {})", class(run), run.setup.seed)).collect();
    if !named.is_empty() {
        println!("\nnot made smaller, since `--shrink` leaves no time: {}", named.join(", "));
    }
}

/// Set by the first interrupt; the second ends the process at once.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    {
        use signal_hook::consts::SIGINT;
        use signal_hook::flag::{register, register_conditional_shutdown};
        let failed = |error| format!("interrupts cannot be caught: {error}");
        // In this order: the first interrupt finds the flag not set yet.
        register_conditional_shutdown(SIGINT, i32::from(FOUND), stop.clone()).map_err(failed)?;
        register(SIGINT, stop.clone()).map_err(failed)?;
    }
    Ok(stop)
}
