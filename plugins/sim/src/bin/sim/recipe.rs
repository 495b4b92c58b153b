//! How a seed becomes a run, and the words that ask for it again.

use std::fmt::Write;
use std::time::Duration;

use quorate_sim::cluster::Setup;
use quorate_sim::mutations::Planted;
use quorate_sim::plan::Profile;

/// How long faults happen when nothing is said.
pub(crate) const LENGTH: Duration = Duration::from_secs(10);

/// How a seed becomes a run.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// How long faults happen.
    pub(crate) length: Duration,
    /// What goes wrong, when something is said of it.
    pub(crate) profile: Option<Profile>,
    /// A bug put in on purpose.
    pub(crate) mutation: Option<&'static Planted>,
    /// The real time a run may take.
    pub(crate) limit: Duration,
}

impl Recipe {
    /// The run of a seed.
    pub(crate) fn setup(&self, seed: u64) -> Setup {
        match (self.mutation, self.profile) {
            (Some(planted), None) => planted.setup(seed, self.length),
            (planted, profile) => Setup {
                mutation: planted.map(|planted| planted.mutation),
                ..Setup::of_profile(profile.unwrap_or_default(), seed, self.length)
            },
        }
    }

    /// Whether what must happen sometimes must happen here: the faults are the full mix, for as long as is
    /// usual, and the cluster is as it is shipped.
    pub(crate) fn is_full_mix(&self) -> bool {
        let chaos = self.profile.unwrap_or_default() == Profile::Chaos;
        chaos && self.mutation.is_none() && self.length >= LENGTH
    }

    /// The command that runs a seed again.
    pub(crate) fn command(&self, seed: u64, hash: Option<(u64, u64)>) -> String {
        let mut command = format!("cargo sim --replay {seed}");
        if let Some(profile) = self.profile {
            let _ = write!(command, " --profile {profile}");
        }
        if self.length != LENGTH {
            let _ = write!(command, " --seconds {}", self.length.as_secs_f64());
        }
        if let Some(planted) = self.mutation {
            let _ = write!(command, " --mutation {}", planted.name);
        }
        if let Some((hash, _)) = hash {
            let _ = write!(command, " --hash {hash:016x}");
        }
        command
    }
}
