//! What goes wrong in a run, drawn before it begins and from numbers of its own, so that leaving a
//! fault out changes nothing else.
//!
//! What clients do is no part of it: how long one waits comes from numbers of its own, and whether it
//! then sends the same command once more is said by [`Setup::retries`](crate::cluster::Setup::retries).
//!
//! `fault.rs` is what can go wrong, `profile.rs` what a campaign is about, `class.rs` how a fault of
//! each class is drawn, `changes.rs` how the members come to change, `fits.rs` whether a plan is one for so many nodes.

mod changes;
mod class;
mod fault;
mod fits;
mod profile;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::changes::SPARES;
pub use self::fault::Fault;
pub use self::fits::Misfit;
pub use self::profile::Profile;
use crate::rng::Rng;

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// When, from the start of the run.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.6}s {:?}", self.at.as_secs_f64(), self.fault)
    }
}

/// What a minority suffers for good while the others must go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lasting {
    /// Nothing: all are well.
    Nothing,
    /// They are down.
    Down,
    /// They hear everyone, and nobody hears them.
    Mute,
    /// Everyone hears them, and they hear nobody.
    Deaf,
}

/// Everything that goes wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// In order of time.
    pub faults: Vec<Planned>,
    /// What ails the minority at the end.
    pub lasting: Lasting,
    /// The minority. Nobody else loses a disk.
    pub minority: Vec<u64>,
}

impl Plan {
    /// Nothing goes wrong.
    pub fn calm() -> Self {
        Self { faults: Vec::new(), lasting: Lasting::Nothing, minority: Vec::new() }
    }

    /// Draws a plan for nodes 1 to `nodes`, at least one, and a run of `length`. Where there is no
    /// minority, with one or two nodes, nothing is lost for good, and nothing lasts.
    pub fn draw(profile: Profile, seed: u64, nodes: u64, length: Duration) -> Self {
        let mut rng = Rng::stream(seed, "plan");
        let mut minority: Vec<u64> = (1..=nodes).collect();
        while minority.len() as u64 > (nodes - 1) / 2 {
            minority.remove(rng.below(minority.len() as u64) as usize);
        }
        let classes = profile.draw(nodes, &mut rng);
        // From a fault a second to one in five.
        let every_ms = rng.within(1_000..5_000);
        let mut faults = Vec::new();
        let mut at = rng.millis(500..2_500);
        while at < length {
            let class = *rng.pick(&classes);
            let fault = class.fault(nodes, &minority, &mut rng);
            faults.push(Planned { at, fault });
            // Who comes back is sent a snapshot, and that may have to go on where it broke off.
            if matches!(fault, Fault::FallBehind { .. }) && rng.chance(500) {
                faults.push(Planned { at, fault: Fault::BreakSnapshot { answers: rng.within(2..8) } });
            }
            at += rng.millis(every_ms / 4..every_ms * 2);
        }
        let drawn = *rng.pick(&[Lasting::Nothing, Lasting::Down, Lasting::Mute, Lasting::Deaf]);
        let lasting = if minority.is_empty() { Lasting::Nothing } else { drawn };
        let mut plan = Self { faults, lasting, minority };
        plan.change_members(profile, seed, nodes, length);
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_same_again_and_names_only_nodes_there_are() {
        for seed in 0..500 {
            let (nodes, profile) = (3 + seed % 3, Profile::ALL[seed as usize % 5]);
            let plan = Plan::draw(profile, seed, nodes, Duration::from_mins(1));
            assert_eq!(plan, Plan::draw(profile, seed, nodes, Duration::from_mins(1)));
            assert!(plan.faults.is_sorted_by_key(|planned| planned.at) && plan.faults.len() > 3);
            assert!(plan.minority.len() as u64 <= (nodes - 1) / 2);
            for Planned { fault, .. } in &plan.faults {
                if let Fault::CutOneWay { from, to, .. } | Fault::Reset { a: from, b: to } = fault {
                    assert!(from != to && (1..=nodes).contains(from) && (1..=nodes).contains(to));
                }
                if let Fault::Rot { node, .. } | Fault::Wipe { node } = fault {
                    assert!(plan.minority.contains(node), "what does not come back is a minority's");
                }
                if let Fault::Split { half, .. } = fault {
                    let there = |node: &u64| half & (1 << node) != 0;
                    let halves = (1..=nodes).filter(there).count() as u64;
                    assert!((1..nodes).contains(&halves), "both halves have somebody");
                }
            }
        }
    }

    #[test]
    fn plans_that_change_the_members_lose_one_disk_for_good_at_most() {
        let (mut changed, mut wiped, mut again) = (0, 0, 0);
        for seed in 0..500 {
            let profile = Profile::ALL[seed as usize % 5];
            let plan = Plan::draw(profile, seed, 3, Duration::from_mins(1));
            if !plan.changes_members() {
                continue;
            }
            changed += 1;
            assert!(matches!(profile, Profile::Chaos | Profile::Membership), "{profile}");
            assert_eq!((plan.lasting, plan.fits(3)), (Lasting::Nothing, Ok(())));
            for Planned { fault, .. } in &plan.faults {
                assert!(!matches!(fault, Fault::Rot { .. } | Fault::Wipe { .. }), "{fault:?}");
                wiped += u64::from(matches!(fault, Fault::WipeSpare { .. }));
                again += u64::from(matches!(fault, Fault::GiveIdAgain { .. }));
            }
        }
        assert!(changed > 20, "{changed} of 500 plans");
        assert!(wiped > 3 && again > 3, "{wiped} wipe a spare machine, {again} give its id again");
    }

    #[test]
    fn nobody_loses_a_disk_where_there_is_no_minority() {
        for seed in 0..500 {
            let (nodes, profile) = (1 + seed % 2, Profile::ALL[seed as usize % 5]);
            let plan = Plan::draw(profile, seed, nodes, Duration::from_mins(1));
            assert_eq!((plan.minority.len(), plan.lasting), (0, Lasting::Nothing));
            assert_eq!(plan.fits(nodes), Ok(()), "seed {seed}");
            assert!(plan.faults.len() > 3);
            for Planned { fault, .. } in &plan.faults {
                assert!(!matches!(fault, Fault::Rot { .. } | Fault::Wipe { .. }), "{fault:?}");
                if let Fault::CutOneWay { from: a, to: b, .. } | Fault::Reset { a, b } = fault {
                    assert_ne!(a, b, "nobody is cut off from itself");
                }
                assert!(
                    nodes > 1 || !matches!(fault, Fault::Split { .. } | Fault::Isolate { .. }),
                    "{fault:?}"
                );
            }
        }
    }
}
