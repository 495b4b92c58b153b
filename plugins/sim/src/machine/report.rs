//! What a simulation of a machine came to.

use std::fmt;

use super::finding::Finding;
use crate::cluster::Counts;
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
    /// Whether it is a test or a bench of its own and not of a library or program.
    pub integration: bool,
}

impl Place {
    /// The command that runs `seed` again.
    pub fn command(&self, seed: u64) -> String {
        let Self { package, program, module, test, file, integration } = self;
        let (krate, module) = module.split_once("::").unwrap_or((module, ""));
        let parts = || file.split(['/', '\\']);
        let under = |folder: &str| parts().any(|part| part == folder);
        // A crate's name has underscores where its file may have dashes.
        let named = |part: &&str| part.trim_end_matches(".rs").replace('-', "_") == krate;
        let file_name = || parts().find(named).map_or(krate, |part| part.trim_end_matches(".rs"));
        let target = match program {
            Some(program) if under("examples") => format!("--example {program}"),
            Some(program) => format!("--bin {program}"),
            None if *integration && under("benches") => format!("--bench {}", file_name()),
            None if *integration => format!("--test {}", file_name()),
            None => "--lib".to_owned(),
        };
        let test = if module.is_empty() { (*test).to_owned() } else { format!("{module}::{test}") };
        format!(
            "QUORATE_SIM_FROM={seed} QUORATE_SIM_SEEDS=1 cargo test -p {package} {target} -- --exact {test} --nocapture"
        )
    }
}

/// What passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
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
        let Self { seeds, alone, acknowledged, reads, crashes, snapshots } = self;
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
    /// The clients give no command, or none was acknowledged in any run, which proves nothing.
    Nothing,
}

/// A run on a cluster that failed, made as small as it could be made.
#[derive(Clone, Debug)]
pub struct OnACluster {
    /// The smallest run of those that fail in the same way.
    pub smallest: Shrunk,
    /// The run as a timeline to read.
    pub timeline: String,
}

/// A simulation that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The machine.
    pub machine: &'static str,
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub wrong: Wrong,
    /// Where the simulation stands, when that is known.
    pub place: Option<Place>,
    /// The commit that is checked out, when git says so.
    pub commit: Option<String>,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` fails at seed {}", self.machine, self.seed)?;
        if let Some(commit) = &self.commit {
            write!(f, ", commit {commit}")?;
        }
        f.write_str("\n\n")?;
        match &self.wrong {
            Wrong::Machine(finding) => writeln!(f, "{finding}")?,
            Wrong::Cluster(on_a_cluster) => writeln!(f, "{on_a_cluster}")?,
            Wrong::Nothing => writeln!(
                f,
                "no command was given, or none was acknowledged in any run, which proves nothing"
            )?,
        }
        match self.place {
            Some(place) => write!(f, "run it again:\n    {}", place.command(self.seed)),
            None => write!(f, "run it again: QUORATE_SIM_FROM={} QUORATE_SIM_SEEDS=1", self.seed),
        }
    }
}

impl fmt::Display for OnACluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { smallest: Shrunk { run, from, .. }, timeline } = self;
        if let Some(finding) = &run.finding {
            writeln!(f, "{finding}\n")?;
        }
        writeln!(f, "the smallest run found that shows it has {}, of {from}:\n", Size::of(&run.setup))?;
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
        let place = Place { package: "bank", program, module, test: "simulation", file, integration: own };
        let command = place.command(7);
        let start = "QUORATE_SIM_FROM=7 QUORATE_SIM_SEEDS=1 cargo test -p bank ";
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
