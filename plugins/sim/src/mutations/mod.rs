//! Bugs put in on purpose, all in one build and chosen when a run begins: each must be found within
//! so many seeds, or the oracles prove nothing.
//!
//! This folder owns what the bugs are and the hunt for them. Those of the storage are carried out in
//! `observe::ObservedStorage`, those of machines in `observe::Eye`, those of the framework where the real
//! check stands, behind `Runtime::planted`, which is the constant `false` under tokio. A check that stands
//! where nothing can be asked for is passed over by what is `forged`: what would have been taken without
//! it, and passes it.

mod catalogue;
mod forged;
mod hunt;
mod plans;
mod table;

use std::time::Duration;

pub use self::catalogue::{CATALOGUE, Mutation, Planted};
pub(crate) use self::forged::{forger, rotten};
pub use self::hunt::{Found, Hunted, Survived, hunt, hunt_all};
pub use self::table::table;
use crate::cluster::Setup;

/// Which runs look for a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hunt {
    /// The full mix of faults, as every seed draws it.
    Full,
    /// The full mix, with every machine on its disk.
    OnDisk,
    /// The full mix, with every client in a session.
    Sessions,
    /// The full mix, with every client in a session and every machine on its disk.
    SessionsOnDisk,
    /// Leaders that are cut off and come back, with entries that nobody else has.
    LonelyLeaders,
    /// Members that change: one is made a voter as soon as it was added, and one is removed while another
    /// has lost its disk.
    Members,
    /// Machines that are made voters as soon as they were added, over slow links.
    SlowJoins,
    /// Members that change while disks are slow, and leaders that are cut off in the middle of it.
    CutOffChanges,
}

/// The bug of this name, with or without its hyphens.
pub fn of_name(name: &str) -> Option<&'static Planted> {
    let plain = |name: &str| name.replace('-', "").to_lowercase();
    CATALOGUE.iter().find(|planted| plain(planted.name) == plain(name))
}

impl Planted {
    /// The run of a seed that looks for this bug, with the bug in it.
    pub fn setup(&self, seed: u64, length: Duration) -> Setup {
        let mut setup = Setup::of_seed(seed, length);
        setup.plan = self.hunt.plan(setup.nodes).unwrap_or(setup.plan);
        setup.on_disk |= matches!(self.hunt, Hunt::OnDisk | Hunt::SessionsOnDisk);
        setup.on_disk &= self.hunt != Hunt::Sessions;
        // None for the others: what they are to find does not depend on it.
        let sessions = matches!(self.hunt, Hunt::Sessions | Hunt::SessionsOnDisk);
        setup.sessions = sessions.then_some(Duration::from_mins(5));
        setup.mutation = Some(self.mutation);
        setup
    }
}
