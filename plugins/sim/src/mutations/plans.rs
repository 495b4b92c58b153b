//! Plans for what the full mix would take many seeds to find.

use std::time::Duration;

use super::Hunt;
use crate::disk::{Crash, FlushTime};
use crate::plan::{Fault, Lasting, Plan, Planned, SPARES};
use crate::wire::LinkTime;

impl Hunt {
    /// Its plan for so many nodes; `None` when the seed draws it.
    pub fn plan(self, nodes: u64) -> Option<Plan> {
        match self {
            Self::Full | Self::OnDisk | Self::Sessions | Self::SessionsOnDisk => None,
            Self::LonelyLeaders => Some(lonely_leaders(nodes)),
            Self::Members => Some(members(nodes)),
            Self::SlowJoins => Some(slow_joins(nodes)),
            Self::CutOffChanges => Some(cut_off_changes(nodes)),
        }
    }
}

/// A machine that is made a voter as soon as it was added, and voters that are removed while a minority is
/// gone for good.
fn members(nodes: u64) -> Plan {
    let minority: Vec<u64> = (1..=(nodes - 1) / 2).collect();
    let at = |ms, fault| Planned { at: Duration::from_millis(ms), fault };
    let mut faults = vec![at(1_500, Fault::Join { spare: 1 }), at(1_500, Fault::Promote { spare: 1 })];
    faults.extend(minority.iter().map(|node| at(4_000, Fault::Wipe { node: *node })));
    faults.extend((minority.len() as u64 + 1..=nodes).map(|node| at(5_000, Fault::Remove { node })));
    Plan { faults, lasting: Lasting::Nothing, minority }
}

/// Links so slow that a machine has answered long before it has the log.
fn slow_joins(nodes: u64) -> Plan {
    let at = |ms, fault| Planned { at: Duration::from_millis(ms), fault };
    let link = LinkTime { usual_us: (20_000, 40_000), late_per_mille: 0, late_ms: (40, 40) };
    let slow = |node| at(1_000, Fault::SlowLinks { node, link, time: Duration::from_secs(9) });
    let mut faults: Vec<Planned> = (1..=nodes).map(slow).collect();
    for spare in 1..=SPARES {
        faults.push(at(3_000 * spare, Fault::Join { spare }));
        faults.push(at(3_000 * spare, Fault::Promote { spare }));
    }
    Plan { faults, lasting: Lasting::Nothing, minority: Vec::new() }
}

/// Disks so slow that a change is under way for a while, and a leader that is cut off meanwhile, for longer
/// than anybody waits for the change.
fn cut_off_changes(nodes: u64) -> Plan {
    let at = |ms, fault| Planned { at: Duration::from_millis(ms), fault };
    let flush = FlushTime { usual_ms: (80, 250), slow_per_mille: 0, slow_ms: (250, 250) };
    let slow = |node| at(1_000, Fault::SlowDisk { node, flush, time: Duration::from_secs(9) });
    let mut faults: Vec<Planned> = (1..=nodes).map(slow).collect();
    let changes = [Fault::Join { spare: 1 }, Fault::Remove { node: 1 }];
    for (round, change) in (0..).zip(changes) {
        let begins = 1_500 + 4_000 * round;
        faults.push(at(begins, change));
        faults.push(at(begins + 120, Fault::IsolateLeader { time: Duration::from_millis(2_500) }));
    }
    Plan { faults, lasting: Lasting::Nothing, minority: (1..=(nodes - 1) / 2).collect() }
}

/// Leaders that are cut off, some of whose processes restart while they are alone.
fn lonely_leaders(nodes: u64) -> Plan {
    let isolate = |round: u64| Planned {
        at: Duration::from_millis(2_000 * round),
        fault: Fault::IsolateLeader { time: Duration::from_millis(1_500) },
    };
    // Its process goes down while it is alone, and comes back with what nobody else has.
    let restart = |round: u64| {
        (1..=nodes).map(move |node| Planned {
            at: Duration::from_millis(2_000 * round + 1_000 + node),
            fault: Fault::Crash {
                node,
                crash: Crash::Process,
                down: Duration::from_millis(10),
                again_at: None,
            },
        })
    };
    let mut faults: Vec<Planned> = (1..5).map(isolate).collect();
    faults.extend([2, 4].into_iter().flat_map(restart));
    faults.sort_by_key(|planned| planned.at);
    let minority = (1..=(nodes - 1) / 2).collect();
    Plan { faults, lasting: Lasting::Nothing, minority }
}
