//! What is told of a run that failed: everything that is needed to look into it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::commit::commit;
use crate::plan_file::PlanFile;
use crate::run::{Finding, Run};
use crate::shrink::{Shrunk, Size};

/// Tells of a failing run: the seed, the commit, what is wrong, the smallest plan, and the commands
/// that run both again. `command` is that of the run itself. The plan is put into `folder`, and shown
/// whole when that cannot be done.
pub fn failure(run: &Run, shrunk: &Shrunk, command: &str, folder: &Path) -> String {
    let seed = run.setup.seed;
    let mut text = String::new();
    let at = commit().map_or_else(String::new, |commit| format!(" at commit {commit}"));
    let whole = run.finding.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    // Behind the first line is a history or a backtrace.
    let (found, rest) = whole.split_once('\n').unwrap_or((&whole, ""));
    let _ = writeln!(text, "seed {seed}{at}: {found}");
    for also in run.also() {
        let _ = writeln!(text, "  also: {}", first_line(&also));
    }
    let _ = writeln!(text, "  again: {command}");
    let smallest = &shrunk.run;
    let cut_short = if shrunk.cut_short { ", and more time might make it smaller" } else { "" };
    let _ = writeln!(
        text,
        "  shrunk from {} to {}, in {} runs{cut_short}",
        shrunk.from,
        Size::of(&smallest.setup),
        shrunk.tried,
    );
    for planned in &smallest.setup.plan.faults {
        let _ = writeln!(text, "    {planned}");
    }
    if let Some(finding) = &smallest.finding {
        let _ = writeln!(text, "  finds: {}", first_line(finding));
    }
    let file = PlanFile { why: found.to_owned(), finds: None, setup: smallest.setup.clone() };
    let path = name(folder, run);
    match file.write(&path) {
        Ok(()) => {
            let _ = writeln!(text, "  the smallest again: cargo sim --plan {}", path.display());
        }
        Err(error) => {
            let _ = writeln!(text, "  {error} was not written; this is it:\n{}", file.to_json());
        }
    }
    if !rest.is_empty() {
        let _ = writeln!(text, "{}", rest.trim_end());
    }
    text
}

fn first_line(wrong: &impl ToString) -> String {
    wrong.to_string().lines().next().unwrap_or_default().to_owned()
}

/// A file for the plan of a run, by what was found and where.
fn name(folder: &Path, run: &Run) -> PathBuf {
    let class = run.finding.as_ref().map_or_else(String::new, Finding::class);
    let class: String = class.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    folder.join(format!("seed-{}-{class}.json", run.setup.seed))
}
