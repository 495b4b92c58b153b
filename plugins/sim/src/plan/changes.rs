//! How a plan comes to change the members: from numbers of its own, so that one that does not is what it
//! was.

use std::time::Duration;

use super::{Fault, Lasting, Plan, Planned, Profile};
use crate::rng::Rng;

/// How many machines there are beside the first members.
pub const SPARES: u64 = 2;

impl Plan {
    /// Whether it changes the members.
    pub fn changes_members(&self) -> bool {
        self.faults.iter().any(|planned| planned.fault.changes_members())
    }

    /// Adds changes of the members to some plans. Where first members lose their disks for good there are
    /// none, and nothing lasts: what is left of the voters must be a majority, whichever they are by then. So
    /// it is when one spare machine loses its disk, and nobody is removed after that but it.
    pub(super) fn change_members(&mut self, profile: Profile, seed: u64, nodes: u64, length: Duration) {
        let mut rng = Rng::stream(seed, "changes");
        let chance = match profile {
            Profile::Membership => 750,
            Profile::Chaos => 250,
            _ => 0,
        };
        let loses = |planned: &Planned| matches!(planned.fault, Fault::Rot { .. } | Fault::Wipe { .. });
        if !rng.chance(chance) || self.faults.iter().any(loses) {
            return;
        }
        self.lasting = Lasting::Nothing;
        let any = |rng: &mut Rng| rng.within(1..nodes + 1);
        let (one, other) = (any(&mut rng), any(&mut rng));
        let joins = |spare| [Fault::Join { spare }, Fault::Promote { spare }];
        let again = Fault::GiveIdAgain { spare: 1, key: rng.chance(500) };
        let (promote, leaves) = (Fault::Promote { spare: 1 }, Fault::RemoveSpare { spare: 1 });
        let wipe = Fault::WipeSpare { spare: 1 };
        let story = match rng.below(9) {
            0 => joins(1).to_vec(),
            1 => [&joins(1)[..], &[Fault::RemoveLeader]].concat(),
            2 => vec![Fault::Replace { old: one, spare: 1 }, Fault::Replace { old: other, spare: 2 }],
            3 => [&joins(1)[..], &joins(2), &[Fault::Remove { node: one }, Fault::RemoveLeader]].concat(),
            4 => [&joins(1)[..], &[wipe]].concat(),
            // Nobody makes a voter of it.
            5 => vec![Fault::Join { spare: 1 }, wipe, promote],
            6 => [&joins(1)[..], &[leaves, again, promote]].concat(),
            7 => vec![Fault::Replace { old: one, spare: 1 }, wipe, leaves, again, promote],
            // Of two at once the other is refused.
            _ => vec![Fault::Join { spare: 1 }, Fault::Remove { node: one }, Fault::Promote { spare: 1 }],
        };
        // Of one or two nodes and a third nobody may lose its disk.
        let loses_one = (nodes - 1) / 2 > 0;
        let story: Vec<Fault> = story.into_iter().filter(|fault| loses_one || *fault != wipe).collect();
        let gap = (length.as_millis() as u64 / (story.len() as u64 + 1)).max(2);
        let mut at = rng.millis(gap / 4..gap);
        for fault in story {
            self.faults.push(Planned { at, fault });
            at += rng.millis(gap / 4..gap);
        }
        self.faults.sort_by_key(|planned| planned.at);
    }
}
