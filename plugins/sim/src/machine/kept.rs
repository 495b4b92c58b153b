//! Plans that are kept: a failing run is written down as one, and a folder of them is run before the
//! seeds.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::report::Place;
use crate::cluster::with_sources;
use crate::plan_file::{PlanFile, PlanFileError};
use crate::run::Run;

/// Why the plans of a folder are not run.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlansError {
    /// The folder cannot be read.
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no plan in it.
    Empty {
        /// In which folder.
        folder: PathBuf,
    },
    /// One of them cannot be read, is none, or is of a run that there cannot be.
    File(PlanFileError),
}

impl fmt::Display for PlansError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { folder, .. } => write!(f, "the folder {}, that `plans` names", folder.display()),
            Self::Empty { folder } => write!(
                f,
                "in the folder {}, that `plans` names, is no plan, which would be a file `*.json`",
                folder.display()
            ),
            Self::File(file) => file.fmt(f),
        }
    }
}

impl std::error::Error for PlansError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder { source, .. } => Some(source),
            Self::Empty { .. } => None,
            Self::File(file) => file.source(),
        }
    }
}

/// A plan that is kept, and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where it is, from the folder of the package on.
    pub path: PathBuf,
    /// What is in it.
    pub file: PlanFile,
}

/// The path from the folder of the package on.
fn in_package(place: Option<Place>, path: &Path) -> PathBuf {
    place.map_or_else(|| path.to_owned(), |place| Path::new(place.manifest).join(path))
}

impl Kept {
    /// Reads one.
    pub(super) fn read(place: Option<Place>, path: PathBuf) -> Result<Self, PlansError> {
        let file = PlanFile::read(&in_package(place, &path)).map_err(PlansError::File)?;
        Ok(Self { path, file })
    }

    /// Reads all of a folder, in order of their names.
    pub(super) fn all(place: Option<Place>, folder: &Path) -> Result<Vec<Self>, PlansError> {
        let whole = in_package(place, folder);
        let unread = |source| PlansError::Folder { folder: whole.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&whole).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == "json") {
                names.push(name);
            }
        }
        names.sort();
        if names.is_empty() {
            return Err(PlansError::Empty { folder: whole });
        }
        names.into_iter().map(|name| Self::read(place, folder.join(name))).collect()
    }
}

/// The smallest run that shows a failure, as a file to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there.
    To(PathBuf),
    /// It could not be written.
    Not {
        /// Why.
        why: String,
        /// What would be in it.
        json: String,
    },
}

impl Written {
    /// Writes `run` where this build puts what tests write.
    pub(super) fn of(run: &Run, machine: &str, place: Option<Place>) -> Self {
        let found = run.finding.as_ref().map_or_else(String::new, ToString::to_string);
        let why = found.lines().next().unwrap_or_default().to_owned();
        let file = PlanFile { why, finds: None, setup: run.setup.clone() };
        let folder = place.and_then(|place| place.tmpdir).map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| std::env::temp_dir().join("quorate-sim"));
        let path = folder.join(name(run, machine, place));
        match file.write(&path) {
            Ok(()) => Self::To(path),
            Err(error) => Self::Not { why: with_sources(&error), json: file.to_json() },
        }
    }
}

/// A file for a run, by who found what in it, and the seed.
fn name(run: &Run, machine: &str, place: Option<Place>) -> String {
    let class = run.finding.as_ref().map_or_else(String::new, crate::run::Finding::class);
    let (package, module, test) = place.map_or(("", "", ""), |it| (it.package, it.module, it.test));
    let parts = [package, module, test, machine, &class].map(plain);
    let mut name: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    let seed = format!("seed-{}", run.setup.seed);
    name.push(&seed);
    format!("{}.json", name.join("-"))
}

/// The last of `part` that fits into a name, of which it is one of five parts: letters and digits, and a
/// dash for all between them.
fn plain(part: &str) -> String {
    // File systems take names of 255 bytes: five of these, and 36 with the seed.
    const MOST: usize = 40;
    let words: Vec<&str> =
        part.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let whole = words.join("-");
    whole[whole.len().saturating_sub(MOST)..].trim_start_matches('-').to_owned()
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(is_plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::Setup;
    use crate::run::{Finding, Panicked};
    use crate::trace::Trace;

    #[test]
    fn a_name_of_a_file_has_nothing_that_a_file_system_refuses() {
        assert_eq!(plain("bank::books"), "bank-books");
        assert_eq!(plain("InTables<Documents>"), "InTables-Documents");
        assert_eq!(plain("panic at src/lib.rs:12"), "panic-at-src-lib-rs-12");
        assert_eq!(plain(&"long/".repeat(40)).len(), 39, "a name has an end");
        assert_eq!(plain(""), "");
    }

    #[test]
    fn the_whole_name_of_a_file_is_one_that_a_file_system_takes() {
        let long: &'static str = Box::leak("a".repeat(300).into_boxed_str());
        let time = Duration::from_secs(1);
        let panicked = Panicked { place: long.to_owned(), message: String::new(), backtrace: String::new() };
        let setup = Setup { seed: u64::MAX, ..Setup::of_seed(1, time) };
        let (finding, trace) = (Some(Finding::Panic(panicked)), Trace::default());
        let run = Run { setup, finding, cut_off: None, report: None, trace, took: time };
        let place = Place {
            package: long,
            program: None,
            module: long,
            test: long,
            file: "",
            manifest: "",
            tmpdir: None,
        };
        let name = name(&run, long, Some(place));
        let parts = [&"a".repeat(40); 5].map(String::as_str).join("-");
        assert_eq!(name, format!("{parts}-seed-{}.json", u64::MAX));
        assert!(name.len() <= 255, "{} bytes", name.len());
    }

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        assert_eq!(quoted(Path::new("tests/plans/a-b.json")), "tests/plans/a-b.json");
        assert_eq!(quoted(Path::new("my plans/it's.json")), r"'my plans/it'\''s.json'");
    }
}
