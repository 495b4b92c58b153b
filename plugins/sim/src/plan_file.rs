//! A run as a file: how it is made, why it is kept, and what must come of it.
//!
//! The numbers of a seed mean something else with every change of the code; a plan means what it
//! says. So a plan is what is kept of a bug that was found.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cluster::{Setup, Unfit};

/// What is in the file, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Why it is kept: what went wrong once.
    pub why: String,
    /// The class of the finding that must come of it, for a plan that proves an oracle to see. Without
    /// one nothing must be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finds: Option<String>,
    /// The run.
    pub setup: Setup,
}

/// Why a plan could not be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlanFileError {
    /// The file itself.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it is no plan.
    Malformed {
        /// In which file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// It is a plan, of a run that there cannot be.
    Unfit {
        /// In which file.
        path: PathBuf,
        /// Why.
        source: Unfit,
    },
}

impl fmt::Display for PlanFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, .. } => write!(f, "the plan {}", path.display()),
            Self::Malformed { path, .. } => write!(f, "{} is no plan of a run", path.display()),
            Self::Unfit { path, .. } => {
                write!(f, "{} is a plan of a run that there cannot be", path.display())
            }
        }
    }
}

impl std::error::Error for PlanFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Malformed { source, .. } => Some(source),
            Self::Unfit { source, .. } => Some(source),
        }
    }
}

impl PlanFile {
    /// Reads a plan.
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else, or a run that there cannot be.
    pub fn read(path: &Path) -> Result<Self, PlanFileError> {
        let io = |source| PlanFileError::Io { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(io)?;
        let file: Self = serde_json::from_str(&text)
            .map_err(|source| PlanFileError::Malformed { path: path.to_owned(), source })?;
        file.setup.fits().map_err(|source| PlanFileError::Unfit { path: path.to_owned(), source })?;
        Ok(file)
    }

    /// Writes it, and the folders that lead there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PlanFileError> {
        let io = |source| PlanFileError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        std::fs::write(path, self.to_json()).map_err(io)
    }

    /// The text of the file.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("numbers, words and lists");
        text.push('\n');
        text
    }
}
