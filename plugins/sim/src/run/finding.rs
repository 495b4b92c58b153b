//! What is wrong with a run, in classes: two runs of one class have the same thing wrong.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use crate::observe::panic_text;
use crate::oracle::Violation;

/// A panic inside a run, of whoever's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// Where, as file and line.
    pub place: String,
    /// What it said.
    pub message: String,
    /// Where it came from, when `RUST_BACKTRACE` asks for that; empty otherwise.
    pub backtrace: String,
}

impl Panicked {
    /// One after the run was over, of which only the message is left.
    pub(super) fn beside_the_run(panic: &(dyn Any + Send)) -> Self {
        Self { place: "an unknown place".to_owned(), message: panic_text(panic), backtrace: String::new() }
    }
}

/// Something that must be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An oracle says so.
    Violation(Violation),
    /// Nobody knows whether what clients saw is linearizable.
    Undecided(String),
    /// A panic ended it.
    Panic(Panicked),
    /// It did not end within this real time.
    Hang(Duration),
    /// It ran twice, and was not the same run: the hashes of its traces, and how much is in them.
    Nondeterminism([(u64, u64); 2]),
}

impl Finding {
    /// The class: the oracle's name, or what happened instead of a verdict.
    pub fn class(&self) -> String {
        match self {
            Self::Violation(violation) => violation.oracle.to_owned(),
            Self::Undecided(_) => "undecided".to_owned(),
            Self::Panic(panicked) => format!("panic at {}", panicked.place),
            Self::Hang(_) => "hang".to_owned(),
            Self::Nondeterminism(_) => "nondeterminism".to_owned(),
        }
    }

    /// When it was found, in simulated time, where that is known.
    pub fn at(&self) -> Option<Duration> {
        match self {
            Self::Violation(violation) => Some(violation.at),
            _ => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => violation.fmt(f),
            Self::Undecided(why) => write!(f, "undecided, whether it is linearizable: {why}"),
            Self::Panic(Panicked { place, message, backtrace }) => {
                write!(f, "panic at {place}: {message}")?;
                if backtrace.is_empty() { Ok(()) } else { write!(f, "\n{backtrace}") }
            }
            Self::Hang(limit) => write!(f, "no end within {limit:?} of real time"),
            Self::Nondeterminism([one, other]) => {
                write!(f, "the same seed ran twice and differed: {one:x?} and {other:x?}")
            }
        }
    }
}
