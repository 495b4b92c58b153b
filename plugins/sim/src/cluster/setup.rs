//! What a run is made of, and whether there can be such a run.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mutations::Mutation;
use crate::plan::{Misfit, Plan, Profile};
use crate::rng::Rng;
use crate::runtime::Points;

/// How many nodes a cluster may have.
pub const NODES: RangeInclusive<u64> = 1..=31;
/// The longest time that faults may last. It takes hours to simulate it.
pub const LONGEST: Duration = Duration::from_hours(24);

/// For how long sessions may be idle: some end in the middle of what goes wrong.
const SESSIONS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_mins(5)];

/// What a run is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Everything random comes from it.
    pub seed: u64,
    /// How many nodes.
    pub nodes: u64,
    /// How many clients.
    pub clients: u64,
    /// How long faults happen; after it the cluster must come to rest and serve.
    pub length: Duration,
    /// What goes wrong.
    pub plan: Plan,
    /// Which fault points of the framework are live.
    #[serde(default)]
    pub points: Points,
    /// Whether the machines are on the nodes' disks, if the workload has one that can be.
    #[serde(default)]
    pub on_disk: bool,
    /// Whether the clocks of nodes differ from the start: how far they are, and how fast they go.
    #[serde(default)]
    pub skewed: bool,
    /// Whether clients send a command once more of which nobody said what became of it.
    #[serde(default)]
    pub retries: bool,
    /// For how long the sessions of clients may be idle, if they have any.
    #[serde(default)]
    pub sessions: Option<Duration>,
    /// A bug put in on purpose.
    pub mutation: Option<Mutation>,
}

impl Setup {
    /// The run of a seed in the full mix: size and plan are drawn from it.
    pub fn of_seed(seed: u64, length: Duration) -> Self {
        Self::of_profile(Profile::Chaos, seed, length)
    }

    /// The run of a seed in a profile: size and plan are drawn from it.
    pub fn of_profile(profile: Profile, seed: u64, length: Duration) -> Self {
        let nodes = *Rng::stream(seed, "size").pick(&[3, 3, 4, 5]);
        let plan = Plan::draw(profile, seed, nodes, length);
        let on_disk = Rng::stream(seed, "state").chance(300);
        let retries = Rng::stream(seed, "retries").chance(500);
        let mut drawn = Rng::stream(seed, "sessions");
        let sessions = drawn.chance(500).then(|| *drawn.pick(&SESSIONS));
        let (clients, points, skewed) = (4, Points::Drawn, true);
        Self {
            seed,
            nodes,
            clients,
            length,
            plan,
            points,
            on_disk,
            skewed,
            retries,
            sessions,
            mutation: None,
        }
    }

    /// Whether there can be such a run.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self) -> Result<(), Unfit> {
        if !NODES.contains(&self.nodes) {
            return Err(Unfit::Nodes(self.nodes));
        }
        if self.clients == 0 {
            return Err(Unfit::NoClient);
        }
        if self.length.is_zero() || self.length > LONGEST {
            return Err(Unfit::Length(self.length));
        }
        self.plan.fits(self.nodes).map_err(Unfit::Plan)
    }
}

/// Why there can be no such run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// So many nodes are not within [`NODES`].
    Nodes(u64),
    /// Nobody calls anything.
    NoClient,
    /// Faults last for no time, or for more than [`LONGEST`].
    Length(Duration),
    /// What goes wrong does so with nodes that are not there, or with too many.
    Plan(Misfit),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(nodes) => {
                write!(f, "`nodes` is {nodes}, and a cluster has {} to {} nodes", NODES.start(), NODES.end())
            }
            Self::NoClient => {
                f.write_str("`clients` is 0, and without a client nothing is called: at least 1")
            }
            Self::Length(length) => {
                write!(f, "`length` is {length:?}, and faults take time: more than 0, at most a day")
            }
            Self::Plan(misfit) => misfit.fmt(f),
        }
    }
}

impl std::error::Error for Unfit {}
