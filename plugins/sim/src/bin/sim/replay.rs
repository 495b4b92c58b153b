//! One run, to look at.

use std::fs::File;
use std::io;
use std::path::Path;

use quorate_sim::campaign::failure;
use quorate_sim::plan_file::PlanFile;
use quorate_sim::replay::{page, timeline};
use quorate_sim::run::attempt;
use quorate_sim::shrink::{Budget, shrink};
use quorate_sim::trace::Trace;

use crate::args::{Replay, Which};
use crate::campaign::WORKLOAD;
use crate::{FINE, FOUND};

pub(crate) fn replay(asked: &Replay) -> Result<u8, String> {
    let (setup, command) = match &asked.which {
        Which::Seed(seed) => (asked.recipe.setup(*seed), asked.recipe.command(*seed, None)),
        Which::Plan(path) => {
            let plan = PlanFile::read(path).map_err(|error| with_sources(&error))?;
            println!("{}: {}", path.display(), plan.why);
            (plan.setup, format!("cargo sim --plan {}", path.display()))
        }
    };
    if let Some(path) = &asked.html {
        // Before the run, which may take long.
        File::options().create(true).append(true).open(path).map_err(|error| not_written(path, &error))?;
    }
    let run = attempt(setup, WORKLOAD, asked.recipe.limit, Trace::recording());
    print!("{}", timeline(&run, &WORKLOAD, !asked.brief));
    let hash = run.report.as_ref().map(|report| report.hash.0);
    match (asked.hash, hash) {
        (Some(before), Some(now)) if before != now => println!(
            "this is not the run that was: its trace came to {before:016x}, and now comes to {now:016x}; the \
             code has changed, or how it is built"
        ),
        (Some(_), Some(_)) => println!("this is the run that was: its trace comes to the same"),
        (_, Some(now)) => println!("the trace comes to {now:016x}"),
        (_, None) => println!("the run did not come to its end: its trace is not compared"),
    }
    if let Some(path) = &asked.html {
        std::fs::write(path, page(&run, &WORKLOAD, &command)).map_err(|error| not_written(path, &error))?;
        println!("the page is {}", path.display());
    }
    if run.finding.is_none() {
        let is_the_same = asked.hash.is_none() || asked.hash == hash;
        return Ok(if is_the_same { FINE } else { FOUND });
    }
    if !asked.shrink.is_zero() {
        let budget = Budget { time: asked.shrink, jobs: asked.jobs, limit: asked.recipe.limit };
        let shrunk = shrink(&run, || WORKLOAD, &budget);
        println!("\n{}", failure(&run, &shrunk, &command, &asked.out));
    }
    Ok(FOUND)
}

fn not_written(path: &Path, error: &io::Error) -> String {
    format!("{} is not written: {error}", path.display())
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
