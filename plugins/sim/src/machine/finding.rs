//! What is wrong with a machine, in the words of whoever wrote it.

use std::fmt;

use quorate::types::{LogTime, Position};

/// What kind of mistake it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// An answer or the state depends on the time of day.
    WallClock,
    /// An answer or the state depends on the order of a hash map.
    HashOrder,
    /// An answer or the state depends on random numbers that are not the log's.
    RandomNumbers,
    /// An answer or the state depends on something outside of the machine.
    Outside,
    /// Copies differ, and changing one thing at a time does not show by what.
    Nondeterminism,
    /// A restored machine is not the one that was saved; the field, when it is known.
    Forgotten(Option<String>),
    /// A machine in tables has state beside them, in its value.
    BesideTables,
    /// A command or query of a machine in tables is an error.
    Failed,
    /// A snapshot shows what was applied after it was captured.
    NotFrozen,
    /// A snapshot cannot be written or restored.
    Snapshot,
    /// A command or query panicked.
    Panic,
    /// The calls of clients cannot be drawn: `workload` panics, or arguments refuse everything.
    Workload,
    /// The machine that every node begins with cannot be made.
    Initial,
    /// A plan of faults of one's own cannot be made.
    Plan,
    /// The state cannot be looked at, to compare it with others.
    State,
    /// An invariant does not hold.
    Invariant(&'static str),
    /// A deadline that has passed.
    Deadline,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WallClock => f.write_str("apply reads the wall clock: use `ctx.time()`"),
            Self::HashOrder => f.write_str(
                "apply or a query iterates a `HashMap` or `HashSet`, whose order differs on every replica: use a \
                 `BTreeMap` or `BTreeSet`, or sort",
            ),
            Self::RandomNumbers => f.write_str("apply draws random numbers of its own: use `ctx.rng()`"),
            Self::Outside => f.write_str(
                "apply depends on something outside of the machine, such as a static, an address or a file: keep it \
                 in the state, or put it into the command",
            ),
            Self::Nondeterminism => f.write_str("two copies that were told the same differ"),
            Self::Forgotten(Some(field)) => write!(f, "`{field}` is not in the snapshot"),
            Self::Forgotten(None) => f.write_str(
                "a part of the state is not in the snapshot (derive `Debug` for the machine to have the field named)",
            ),
            Self::BesideTables => f.write_str(
                "the machine has state beside its tables, which no snapshot holds and no restart finds again: keep \
                 it in a table",
            ),
            Self::Failed => f.write_str(
                "a command or query is an error of its tables, which stops every replica that comes to it",
            ),
            Self::NotFrozen => f.write_str("the snapshot is not frozen: capture a copy, not a handle to what changes"),
            Self::Snapshot => f.write_str("the snapshot does not work"),
            Self::Panic => f.write_str(
                "a command or query panics, which stops every replica that comes to it: return an error instead",
            ),
            Self::Workload => f.write_str("a call cannot be drawn"),
            Self::Initial => f.write_str("the machine cannot be made"),
            Self::Plan => f.write_str("the plan of faults cannot be made"),
            Self::State => f.write_str("the state cannot be looked at: its `Serialize` panics"),
            Self::Invariant(name) => write!(f, "the invariant `{name}` does not hold"),
            Self::Deadline => f.write_str("the deadline has passed already"),
        }
    }
}

/// A command of the history that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it stands in the log.
    pub at: Position,
    /// The log's clock there.
    pub time: LogTime,
    /// The command, with its arguments.
    pub call: String,
    /// Its response; `None` when there is none.
    pub response: Option<String>,
}

/// A mistake in a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub cause: Cause,
    /// What was seen.
    pub detail: String,
    /// The fewest commands found that show it, in order; none when it shows before any.
    pub history: Vec<Line>,
}

/// How many commands of a history are printed.
const PRINTED: usize = 40;

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.cause)?;
        for line in self.detail.lines() {
            writeln!(f, "    {line}")?;
        }
        if self.history.is_empty() {
            return Ok(());
        }
        let skipped = self.history.len().saturating_sub(PRINTED);
        let last = if skipped > 0 { format!(", the last {PRINTED}") } else { String::new() };
        writeln!(f, "  the commands that show it ({}{last}):", self.history.len())?;
        for Line { at, time, call, response } in &self.history[skipped..] {
            let seconds = std::time::Duration::from_micros(time.as_micros()).as_secs_f64();
            let response = response.as_deref().unwrap_or("none");
            writeln!(f, "    {:>6} {seconds:>12.6}s  {call} -> {response}", at.to_string())?;
        }
        Ok(())
    }
}
