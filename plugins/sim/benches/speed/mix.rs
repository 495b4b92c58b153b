//! What both sides go through: sizes, clients, and faults that need nothing of the framework.

use std::time::Duration;

use quorate_sim::cluster::Setup;
use quorate_sim::disk::Crash;
use quorate_sim::plan::{Fault, Lasting, Plan, Planned};
use quorate_sim::rng::Rng;
use quorate_sim::runtime::Points;
use quorate_sim::workload::RegistersWorkload;

/// What clients do.
pub(crate) const WORKLOAD: RegistersWorkload = RegistersWorkload { keys: 5 };

/// How long faults happen in a run, in simulated time; after it the cluster comes to rest.
pub(crate) const LENGTH: Duration = Duration::from_secs(10);

/// The run of a seed.
pub(crate) fn setup(seed: u64, nodes: u64) -> Setup {
    let mut rng = Rng::stream(seed, "mix");
    let mut faults = Vec::new();
    let mut at = rng.millis(800..1_500);
    while at < LENGTH {
        faults.push(Planned { at, fault: fault(nodes, &mut rng) });
        at += rng.millis(500..2_500);
    }
    Setup {
        seed,
        nodes,
        clients: 4,
        length: LENGTH,
        plan: Plan { faults, lasting: Lasting::Nothing, minority: Vec::new() },
        points: Points::None,
        on_disk: false,
        skewed: false,
        retries: false,
        sessions: None,
        mutation: None,
    }
}

fn fault(nodes: u64, rng: &mut Rng) -> Fault {
    let node = rng.within(1..nodes + 1);
    let torn = Crash::Torn { sector: 512 };
    let crash = *rng.pick(&[Crash::Process, Crash::LoseAll, Crash::Subset, torn]);
    let (down, time) = (rng.millis(50..1_500), rng.millis(200..2_000));
    match rng.below(6) {
        0 => Fault::Crash { node, crash, down, again_at: None },
        1 => Fault::CrashLeader { crash, down },
        2 => Fault::Isolate { node, time, hears: false, is_heard: false },
        3 => Fault::IsolateLeader { time },
        4 => Fault::CutLink { a: node, b: 1 + (node + rng.below(nodes - 1)) % nodes, time },
        // Some of the nodes, and not all.
        _ => Fault::Split { half: rng.within(1..(1 << nodes) - 1) << 1, time },
    }
}
