//! What a simulation of a machine came to.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::finding::Finding;
use super::kept::{Kept, PlansError, Written, quoted};
use crate::cluster::{Counts, with_sources};
use crate::shrink::{Shrunk, Size};

/// Where a simulation stands in its crate, for the command that runs it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The package.
    pub package: &'static str,
    /// The program or example that it is in; `None` in a library and in a test of its own.
    pub program: Option<&'static str>,
    /// The module that the test is in, from its crate on.
    pub module: &'static str,
    /// The test.
    pub test: &'static str,
    /// The file.
    pub file: &'static str,
    /// The folder of the package.
    pub manifest: &'static str,
    /// The folder for what is written, of a test or a bench of its own; `None` in a library or program.
    pub tmpdir: Option<&'static str>,
}

impl Place {
    /// The command that runs this test again.
    pub fn command(&self) -> String {
        let Self { package, program, module, test, file, tmpdir, .. } = self;
        let integration = tmpdir.is_some();
        let (krate, module) = module.split_once("::").unwrap_or((module, ""));
        let parts = || file.split(['/', '\\']);
        let under = |folder: &str| parts().any(|part| part == folder);
        // A crate's name has underscores where its file may have dashes.
        let named = |part: &&str| part.trim_end_matches(".rs").replace('-', "_") == krate;
        let file_name = || parts().find(named).map_or(krate, |part| part.trim_end_matches(".rs"));
        let target = match program {
            Some(program) if under("examples") => format!("--example {program}"),
            Some(program) => format!("--bin {program}"),
            None if integration && under("benches") => format!("--bench {}", file_name()),
            None if integration => format!("--test {}", file_name()),
            None => "--lib".to_owned(),
        };
        let test = if module.is_empty() { (*test).to_owned() } else { format!("{module}::{test}") };
        format!("cargo test -p {package} {target} -- --exact {test} --nocapture")
    }
}

/// What passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many plans that are kept. Nothing of them is in the other numbers.
    pub plans: u64,
    /// How many seeds.
    pub seeds: u64,
    /// How many commands the machine was told alone.
    pub alone: u64,
    /// Commands that clusters acknowledged.
    pub acknowledged: u64,
    /// Queries that they answered.
    pub reads: u64,
    /// Processes and machines that stopped.
    pub crashes: u64,
    /// Snapshots that nodes came to have.
    pub snapshots: u64,
}

impl Summary {
    pub(super) fn add(&mut self, counts: &Counts, alone: usize) {
        self.seeds += 1;
        self.alone += alone as u64;
        self.acknowledged += counts.acknowledged;
        self.reads += counts.reads;
        self.crashes += counts.crashes;
        self.snapshots += counts.snapshots;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plans, seeds, alone, acknowledged, reads, crashes, snapshots } = self;
        match (plans, seeds) {
            (0, _) => {}
            (1, 0) => return f.write_str("1 plan"),
            (1, _) => f.write_str("1 plan, ")?,
            _ => write!(f, "{plans} plans, ")?,
        }
        write!(
            f,
            "{seeds} seeds: {alone} commands alone; on clusters {acknowledged} commands acknowledged, {reads} queries \
             answered, {crashes} crashes, {snapshots} snapshots"
        )
    }
}

/// What is wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Wrong {
    /// The machine.
    Machine(Finding),
    /// What the cluster did with it: a violation, a history that nobody knows to be linearizable, a
    /// panic, a run without end. Where and how in the smallest run that was found.
    Cluster(Box<OnACluster>),
    /// A plan is kept to find something, and did not.
    Unfound {
        /// What it must find: the class.
        wanted: String,
        /// What else it found.
        found: Option<Box<OnACluster>>,
    },
    /// The plans that are kept are not run.
    Plans(Arc<PlansError>),
    /// The clients give no command, or none was acknowledged in any run, which proves nothing.
    Nothing,
}

/// What was run when it failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Tried {
    /// A seed.
    Seed(u64),
    /// A plan that is kept.
    Plan(Box<Kept>),
    /// The plans that are kept, of which none was run.
    Plans,
    /// A file that was asked for, and is no plan.
    File(PathBuf),
}

/// A run on a cluster that failed, made as small as it could be made.
#[derive(Clone, Debug)]
pub struct OnACluster {
    /// The smallest run of those that fail in the same way.
    pub smallest: Shrunk,
    /// The run as a timeline to read.
    pub timeline: String,
    /// The run as a file; `None` of one that is a plan which is kept.
    pub written: Option<Written>,
}

/// A simulation that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The machine.
    pub machine: &'static str,
    /// What was run.
    pub tried: Tried,
    /// What is wrong.
    pub wrong: Wrong,
    /// The folder of the plans that are kept, when there is one.
    pub plans: Option<PathBuf>,
    /// Where the simulation stands, when that is known.
    pub place: Option<Place>,
    /// The commit that is checked out, when git says so.
    pub commit: Option<String>,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` fails ", self.machine)?;
        match &self.tried {
            Tried::Seed(seed) => write!(f, "at seed {seed}")?,
            Tried::Plan(kept) => write!(f, "with the plan {}", kept.path.display())?,
            Tried::Plans => f.write_str("with the plans that are kept")?,
            Tried::File(path) => write!(f, "with the file {}", path.display())?,
        }
        if let Some(commit) = &self.commit {
            write!(f, ", commit {commit}")?;
        }
        if let Tried::Plan(kept) = &self.tried {
            write!(f, "\n  it is kept for: {}", kept.file.why)?;
        }
        f.write_str("\n\n")?;
        match &self.wrong {
            Wrong::Machine(finding) => writeln!(f, "{finding}")?,
            Wrong::Cluster(on_a_cluster) => {
                writeln!(f, "{on_a_cluster}")?;
                if let Some(written) = &on_a_cluster.written {
                    self.keep(f, written)?;
                }
            }
            Wrong::Unfound { wanted, found: None } => {
                writeln!(f, "it must find `{wanted}`, and nothing was found\n")?;
            }
            Wrong::Unfound { wanted, found: Some(found) } => {
                let class =
                    found.smallest.run.finding.as_ref().map(crate::run::Finding::class).unwrap_or_default();
                writeln!(f, "it must find `{wanted}`, and this is `{class}`:\n\n{found}")?;
            }
            Wrong::Plans(error) => writeln!(f, "{}\n", with_sources(&**error))?,
            Wrong::Nothing => writeln!(
                f,
                "no command was given, or none was acknowledged in any run, which proves nothing"
            )?,
        }
        self.again(f)
    }
}

impl Failure {
    /// Where the smallest run is, and what to do with it.
    fn keep(&self, f: &mut fmt::Formatter<'_>, written: &Written) -> fmt::Result {
        let path = match written {
            Written::To(path) => path,
            Written::Not { why, json } => {
                return writeln!(f, "this run was not written to a file to keep: {why}; it would be\n{json}");
            }
        };
        writeln!(f, "this run is the plan\n    {}", path.display())?;
        let package = self.place.map_or("the package", |place| place.package);
        match &self.plans {
            Some(folder) => {
                writeln!(
                    f,
                    "keep it: move it into {} of {package}, to be run before the seeds\n",
                    folder.display()
                )
            }
            None => writeln!(
                f,
                "keep it: move it into a folder of {package} and name that with `plans: \"tests/plans\"`, to be run \
                 before the seeds\n"
            ),
        }
    }

    /// How to run it again.
    fn again(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = match &self.tried {
            Tried::Seed(seed) => format!("QUORATE_SIM_FROM={seed} QUORATE_SIM_SEEDS=1"),
            Tried::Plan(kept) => format!("QUORATE_SIM_PLAN={}", quoted(&kept.path)),
            Tried::File(path) => format!("QUORATE_SIM_PLAN={}", quoted(path)),
            Tried::Plans => String::new(),
        };
        match self.place {
            Some(place) => {
                write!(f, "run it again:\n    {}", format!("{asked} {}", place.command()).trim_start())
            }
            None => write!(f, "run it again: {asked}"),
        }
    }
}

impl fmt::Display for OnACluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { smallest: Shrunk { run, from, .. }, timeline, written } = self;
        if let Some(finding) = &run.finding {
            writeln!(f, "{finding}\n")?;
        }
        let size = Size::of(&run.setup);
        match written {
            Some(_) => writeln!(f, "the smallest run found that shows it has {size}, of {from}:\n")?,
            None => writeln!(f, "the plan has {size}:\n")?,
        }
        // What happened after it is of no interest, and what came before stands at the end.
        let (plan, rest) = timeline.split_once("\nrun\n").unwrap_or((timeline, ""));
        let verdict = rest.rfind("\nverdict\n").map_or(rest, |at| &rest[at..]);
        // Told above.
        let told = run.finding.as_ref().map(|finding| format!("\nverdict\n  {finding}"));
        let verdict = told.and_then(|told| verdict.strip_prefix(&*told)).unwrap_or(verdict);
        writeln!(f, "{plan}{verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said to cargo: the target and the test.
    fn said(module: &'static str, file: &'static str, program: Option<&'static str>, own: bool) -> String {
        let (manifest, tmpdir) = ("bank", own.then_some("target/tmp"));
        let place = Place { package: "bank", program, module, test: "simulation", file, manifest, tmpdir };
        let command = place.command();
        let start = "cargo test -p bank ";
        command.strip_prefix(start).expect("the package").to_owned()
    }

    #[test]
    fn a_command_names_the_target_that_ran() {
        let wanted = [
            (said("bank::books", "src/books.rs", None, false), "--lib -- --exact books::simulation"),
            (
                said("teller", "src/bin/teller.rs", Some("teller"), false),
                "--bin teller -- --exact simulation",
            ),
            (
                said("shop", "shop/examples/shop.rs", Some("shop"), false),
                "--example shop -- --exact simulation",
            ),
            (said("in_t", "bank/tests/in-t.rs", None, true), "--test in-t -- --exact simulation"),
            (said("in_t::a", "tests/in-t/a.rs", None, true), "--test in-t -- --exact a::simulation"),
            (said("named", "tests/other.rs", None, true), "--test named -- --exact simulation"),
            (said("fast", "benches/fast.rs", None, true), "--bench fast -- --exact simulation"),
        ];
        for (said, wanted) in wanted {
            assert_eq!(said, format!("{wanted} --nocapture"));
        }
    }
}
