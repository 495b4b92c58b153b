//! What a campaign is about: which classes of faults its plans are drawn from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::class::Class;
use crate::rng::Rng;

/// What a campaign is about. A seed is another run in another profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// The full mix: every class of faults is switched on or off by the seed.
    #[default]
    Chaos,
    /// Power, full disks, slow and failing flushes, flipped bits, power cuts in snapshots.
    Disk,
    /// Partitions of every shape, streams that break, slow links.
    Network,
    /// Machines that join, are made voters, take each other's places and are removed; members that lose
    /// their disks and come back under their old names, that fall behind and are brought up by a snapshot,
    /// that are shut down and hand over.
    Membership,
    /// Clocks that jump and drift, nodes that stand still, and leaders that change meanwhile.
    Clock,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Chaos, Self::Disk, Self::Network, Self::Membership, Self::Clock];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chaos => "chaos",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Membership => "membership",
            Self::Clock => "clock",
        }
    }

    fn classes(self) -> &'static [Class] {
        match self {
            Self::Chaos => &Class::ALL,
            Self::Disk => &[Class::Power, Class::Disks, Class::Space, Class::Damage, Class::Snapshots],
            Self::Network => &[Class::Partitions, Class::Streams, Class::Slowness, Class::Leaders],
            Self::Membership => &[Class::Members, Class::Snapshots, Class::Shutdowns, Class::Leaders],
            Self::Clock => &[Class::Clocks, Class::Pauses, Class::Leaders],
        }
    }

    /// The classes that a plan for so many nodes draws from: at least one.
    pub(super) fn draw(self, nodes: u64, rng: &mut Rng) -> Vec<Class> {
        let fits = |class: &Class| class.least_nodes() <= nodes;
        let all: Vec<Class> = self.classes().iter().copied().filter(fits).collect();
        let mut drawn: Vec<Class> = all.iter().copied().filter(|_| rng.chance(500)).collect();
        if drawn.is_empty() {
            drawn.push(*rng.pick(&all));
        }
        drawn
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|profile| profile.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no profile `{name}`; there are {names}")
        })
    }
}
