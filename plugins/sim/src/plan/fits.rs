//! Whether a plan is one for a cluster of so many nodes, and what of it is one for fewer.

use std::collections::BTreeSet;
use std::fmt;

use super::{Fault, Lasting, Plan, Planned, SPARES};
use crate::disk::Crash;

/// Why a plan is none for a cluster of so many nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misfit {
    /// A fault names a node that is not there.
    Fault {
        /// Which fault.
        planned: Box<Planned>,
        /// The node.
        node: u64,
        /// How many nodes there are.
        nodes: u64,
    },
    /// A fault names a spare machine that is not there.
    Spare {
        /// Which fault.
        planned: Box<Planned>,
        /// The machine.
        spare: u64,
    },
    /// The minority does so.
    Minority {
        /// The node.
        node: u64,
        /// How many nodes there are.
        nodes: u64,
    },
    /// A crash tears sectors of no bytes.
    Sector {
        /// Which one.
        planned: Box<Planned>,
    },
    /// No majority would be left: what lasts, or takes disks, is a minority's.
    NoMajority {
        /// Who suffers.
        who: Vec<u64>,
        /// How many nodes there are.
        nodes: u64,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = match self {
            Self::Fault { planned, node, nodes } => {
                let Planned { at, fault } = &**planned;
                write!(f, "the fault at {:.6}s, {fault:?}, names n{node}", at.as_secs_f64())?;
                nodes
            }
            Self::Minority { node, nodes } => {
                write!(f, "the minority names n{node}")?;
                nodes
            }
            Self::Sector { planned } => {
                let Planned { at, fault } = &**planned;
                return write!(
                    f,
                    "the fault at {:.6}s, {fault:?}, tears sectors of 0 bytes, and a sector has at least 1",
                    at.as_secs_f64()
                );
            }
            Self::Spare { planned, spare } => {
                let Planned { at, fault } = &**planned;
                let at = at.as_secs_f64();
                return write!(
                    f,
                    "the fault at {at:.6}s, {fault:?}, names spare machine {spare}, and there are 1 to {SPARES}"
                );
            }
            Self::NoMajority { who, nodes } => {
                let who: Vec<String> = who.iter().map(|node| format!("n{node}")).collect();
                let who = who.join(", ");
                return write!(
                    f,
                    "what lasts, or takes a disk, is of {who}, which leaves no majority of {nodes} nodes"
                );
            }
        };
        if *nodes == 1 {
            write!(f, ", and there is n1 alone")
        } else {
            write!(f, ", and there are n1 to n{nodes}")
        }
    }
}

impl std::error::Error for Misfit {}

/// How many of so many nodes leave a majority when they are gone.
fn at_most(nodes: u64) -> usize {
    nodes.saturating_sub(1) as usize / 2
}

impl Plan {
    /// Who is ill in the end, or loses a disk by one of `faults`.
    fn lost<'a>(&self, faults: impl IntoIterator<Item = &'a Planned>, nodes: u64) -> BTreeSet<u64> {
        let lose = faults.into_iter().filter_map(|planned| match planned.fault {
            Fault::Rot { node, .. } | Fault::Wipe { node } => Some(node),
            // It may be a voter by then, and nobody else may.
            Fault::WipeSpare { spare } => Some(nodes + spare),
            _ => None,
        });
        let lasts = self.minority.iter().copied().filter(|_| self.lasting != Lasting::Nothing);
        lose.chain(lasts).collect()
    }

    /// Whether it names no node but 1 to `nodes`, and leaves a majority of them well in the end, with their
    /// disks.
    ///
    /// # Errors
    /// The first that it names besides, the first crash that there cannot be, or who they are of whom there
    /// are too many.
    pub fn fits(&self, nodes: u64) -> Result<(), Misfit> {
        let is_not_there = |node: &u64| !(1..=nodes).contains(node);
        for planned in &self.faults {
            if let Some(node) = planned.fault.nodes().into_iter().find(is_not_there) {
                return Err(Misfit::Fault { planned: Box::new(*planned), node, nodes });
            }
            if planned.fault.crash() == Some(Crash::Torn { sector: 0 }) {
                return Err(Misfit::Sector { planned: Box::new(*planned) });
            }
            if let Some(spare) = planned.fault.spare().filter(|spare| !(1..=SPARES).contains(spare)) {
                return Err(Misfit::Spare { planned: Box::new(*planned), spare });
            }
        }
        if let Some(node) = self.minority.iter().copied().find(is_not_there) {
            return Err(Misfit::Minority { node, nodes });
        }
        let who = self.lost(&self.faults, nodes);
        if who.len() > at_most(nodes) {
            return Err(Misfit::NoMajority { who: who.into_iter().collect(), nodes });
        }
        Ok(())
    }

    /// Leaves out what is about other nodes than 1 to `nodes`, and makes the minority one of so many. Who
    /// is not of the minority any more loses no disk, nor does anybody who would leave no majority: what
    /// fitted more nodes fits these.
    pub(crate) fn cut_down_to(&mut self, nodes: u64) {
        let all = (2 << nodes) - 2;
        let before = self.minority.clone();
        self.minority.retain(|node| *node <= nodes);
        self.minority.truncate(at_most(nodes));
        let mut lost = self.lost([], nodes);
        let mut may_lose =
            move |node: u64| lost.contains(&node) || lost.len() < at_most(nodes) && lost.insert(node);
        let mut stays = |fault: &mut Fault| match fault {
            Fault::Split { half, .. } => {
                *half &= all;
                *half != 0 && *half != all
            }
            Fault::Rot { node, .. } | Fault::Wipe { node } => {
                let stays = *node <= nodes && before.contains(node) == self.minority.contains(node);
                stays && may_lose(*node)
            }
            Fault::WipeSpare { spare } => may_lose(nodes + *spare),
            _ => fault.nodes().iter().all(|node| *node <= nodes),
        };
        self.faults.retain_mut(|planned| stays(&mut planned.fault));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::Profile;

    fn plan(fault: Fault) -> Plan {
        let faults = vec![Planned { at: Duration::from_secs(2), fault }];
        Plan { faults, lasting: Lasting::Nothing, minority: Vec::new() }
    }

    #[test]
    fn a_plan_leaves_a_majority() {
        let wipes = |nodes: &[u64]| -> Vec<Planned> {
            let at = Duration::from_secs(2);
            nodes.iter().map(|node| Planned { at, fault: Fault::Wipe { node: *node } }).collect()
        };
        let fits = |wiped: &[u64], lasting, minority: &[u64], nodes| {
            Plan { faults: wipes(wiped), lasting, minority: minority.to_vec() }.fits(nodes).is_ok()
        };
        assert!(fits(&[1, 1], Lasting::Down, &[1], 3), "the same one twice");
        assert!(fits(&[], Lasting::Nothing, &[1, 2, 3], 3), "nothing ails them");
        assert!(fits(&[2], Lasting::Deaf, &[1], 5));
        assert!(!fits(&[2], Lasting::Deaf, &[1], 3), "n3 cannot serve alone");
        assert!(!fits(&[], Lasting::Mute, &[1, 2], 3));
        assert!(!fits(&[1, 2], Lasting::Nothing, &[], 4));
        assert!(!fits(&[1], Lasting::Nothing, &[], 1));
        let spare = |first: &[u64], spares: &[u64], nodes| {
            let mut both = Plan { faults: wipes(first), lasting: Lasting::Nothing, minority: first.to_vec() };
            both.faults
                .extend(spares.iter().flat_map(|spare| plan(Fault::WipeSpare { spare: *spare }).faults));
            let fits = both.fits(nodes).is_ok();
            both.cut_down_to(nodes);
            assert_eq!(both.fits(nodes), Ok(()));
            fits && both.faults.len() == first.len() + spares.len()
        };
        assert!(spare(&[], &[1, 1], 3) && spare(&[1], &[2], 5) && spare(&[], &[1, 2], 5));
        assert!(!spare(&[1], &[1], 3) && !spare(&[], &[1, 2], 4) && !spare(&[], &[1], 2));
        assert!(fits(&[], Lasting::Nothing, &[], 0), "nothing goes wrong with nobody");
        let plan = Plan { faults: wipes(&[2]), lasting: Lasting::Down, minority: vec![1] };
        let told = plan.fits(3).expect_err("too many").to_string();
        assert_eq!(told, "what lasts, or takes a disk, is of n1, n2, which leaves no majority of 3 nodes");
    }

    #[test]
    fn a_plan_names_nodes_there_are_or_is_told_which_is_not() {
        let time = Duration::from_secs(1);
        let link = crate::wire::LinkTime::default();
        let of = |node| {
            [
                Fault::Isolate { node, time, hears: false, is_heard: false },
                Fault::CutOneWay { from: 1, to: node, time },
                Fault::CutLink { a: node, b: 1, time },
                Fault::Split { half: 1 << 1 | 1 << node, time },
                Fault::Reset { a: 1, b: node },
                Fault::HalfOpen { gone: node, left: 1 },
                Fault::SlowLinks { node, link, time },
                Fault::Transfer { to: node },
                Fault::Shutdown { node },
            ]
        };
        for fault in of(3) {
            assert_eq!(plan(fault).fits(3), Ok(()));
        }
        for node in [0, 4] {
            for fault in of(node) {
                let planned = Box::new(Planned { at: Duration::from_secs(2), fault });
                assert_eq!(plan(fault).fits(3), Err(Misfit::Fault { planned, node, nodes: 3 }));
            }
        }
        let told = plan(Fault::Shutdown { node: 4 }).fits(3).expect_err("there is no n4").to_string();
        assert_eq!(told, "the fault at 2.000000s, Shutdown { node: 4 }, names n4, and there are n1 to n3");
        let told = plan(Fault::Join { spare: 3 }).fits(3).expect_err("there are two").to_string();
        assert_eq!(
            told,
            "the fault at 2.000000s, Join { spare: 3 }, names spare machine 3, and there are 1 to 2"
        );
        assert_eq!(plan(Fault::Replace { old: 3, spare: 2 }).fits(3), Ok(()));
        let minority = Plan { minority: vec![2], ..Plan::calm() }.fits(1).expect_err("there is no n2");
        assert_eq!(minority.to_string(), "the minority names n2, and there is n1 alone");
    }

    #[test]
    fn a_plan_tears_sectors_that_have_bytes() {
        let down = Duration::from_secs(1);
        let of = |sector| {
            let crash = Crash::Torn { sector };
            [
                Fault::Crash { node: 1, crash, down, again_at: None },
                Fault::Fuse { node: 1, changes: 1, crash, down },
                Fault::SnapshotFuse { node: 1, changes: 1, crash, down },
                Fault::CrashLeader { crash, down },
            ]
        };
        for fault in of(1) {
            assert_eq!(plan(fault).fits(3), Ok(()));
        }
        for fault in of(0) {
            let planned = Box::new(Planned { at: Duration::from_secs(2), fault });
            assert_eq!(plan(fault).fits(3), Err(Misfit::Sector { planned }));
        }
        let told = plan(of(0)[3]).fits(3).expect_err("no bytes").to_string();
        assert_eq!(
            told,
            "the fault at 2.000000s, CrashLeader { crash: Torn { sector: 0 }, down: 1s }, tears sectors of 0 \
             bytes, and a sector has at least 1"
        );
    }

    #[test]
    fn what_is_left_for_fewer_nodes_leaves_a_majority_of_them() {
        let wipes = |lasting, minority: &[u64], nodes: &[u64]| {
            let wipe = |node: &u64| plan(Fault::Wipe { node: *node }).faults[0];
            Plan { faults: nodes.iter().map(wipe).collect(), lasting, minority: minority.to_vec() }
        };
        for (whole, left) in [
            (wipes(Lasting::Deaf, &[1], &[2]), wipes(Lasting::Deaf, &[1], &[])),
            (wipes(Lasting::Deaf, &[1], &[2, 1, 1]), wipes(Lasting::Deaf, &[1], &[1, 1])),
            (wipes(Lasting::Nothing, &[1], &[2, 2, 1]), wipes(Lasting::Nothing, &[1], &[2, 2])),
        ] {
            assert_eq!(whole.fits(5), Ok(()));
            let mut cut = whole.clone();
            cut.cut_down_to(3);
            assert_eq!((cut.fits(3), &cut), (Ok(()), &left), "of {whole:?}");
        }
    }

    #[test]
    fn what_is_left_for_fewer_nodes_fits_them() {
        let mut left = 0;
        for seed in 0..300 {
            let mut plan = Plan::draw(Profile::ALL[seed as usize % 5], seed, 5, Duration::from_mins(1));
            assert_eq!(plan.fits(5), Ok(()));
            let same = plan.clone();
            plan.cut_down_to(5);
            assert_eq!(plan, same, "nobody is left out");
            plan.cut_down_to(3);
            assert_eq!(plan.fits(3), Ok(()));
            assert!(plan.minority.len() <= 1);
            for Planned { fault, .. } in &plan.faults {
                if let Fault::Rot { node, .. } | Fault::Wipe { node } = fault {
                    assert!(plan.minority.contains(node), "what does not come back is a minority's");
                }
            }
            left += plan.faults.len();
        }
        assert!(left > 1_000, "{left}");
    }
}
