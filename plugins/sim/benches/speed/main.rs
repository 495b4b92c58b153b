//! How fast the simulation is, beside bare openraft in the same simulation.
//!
//! `cargo bench -p quorate-sim`, or `QUORATE_SIM_SEEDS=100 cargo bench -p quorate-sim` for more seeds
//!
//! Both sides run the same seeds: [`mix`] says what happens, which is crashes of nodes and of leaders, with
//! all that a power cut may leave, and partitions, under clients that read and write. Both are on
//! madsim's executor with the simulated runtime, have the redb plugin on simulated disks and the
//! simulated transport, and the timeouts that ours draws from the seed. Each run takes one core, and
//! what is compared is the time of that core. The sides take turns, and who begins alternates.
//!
//! Ours is the whole simulation, as `cargo sim` runs it: the framework, every oracle, the trace, the check
//! of linearizability. Bare openraft is [`bare`], glue that an adopter would write, and nothing looks at
//! it. Beyond that they differ in this:
//!
//! - Ours forwards a call to the leader over the wire; a bare client goes to the leader itself,
//!   which costs no frame. Ours answers reads on the node that was called; bare answers on the leader.
//! - A bare client tries again when a node says that another one leads, even if the write had been
//!   appended by then. Ours does not, and reports such a write as of unknown outcome.
//! - A bare command is typed postcard in an entry of its own. Ours bears a tag, is in an entry with a
//!   checksum, and shares it with others that come at the same time.
//! - Bare compacts its log by entries, about as often as ours does by bytes.
//!
//! The bench fails when a run of ours has a finding, when the nodes of a bare cluster do not all serve
//! and agree in the end, or when over all seeds the sides have not gone through the same: the same
//! faults, about as many crashes, about as many operations.

#[cfg(madsim)]
mod bare;
#[cfg(madsim)]
mod done;
#[cfg(madsim)]
mod mix;
#[cfg(madsim)]
mod sides;
#[cfg(madsim)]
mod table;

use std::process::ExitCode;

#[cfg(madsim)]
fn main() -> ExitCode {
    // Whoever runs all targets as tests gets one seed of each size, and names of tests there are none.
    let given = |argument: &str| std::env::args().any(|found| found == argument);
    if given("--list") {
        return ExitCode::SUCCESS;
    }
    let seeds = if given("--bench") { sides::seeds() } else { 1 };
    let mut same = true;
    for nodes in [3, 5] {
        match sides::compare(nodes, seeds) {
            Ok(compared) => {
                println!("{}", table::of(nodes, &compared));
                for what in compared.differences() {
                    eprintln!("{nodes} nodes: the sides did not do the same: {what}");
                    same = false;
                }
            }
            Err(what) => {
                eprintln!("{nodes} nodes: {what}");
                return ExitCode::FAILURE;
            }
        }
    }
    if same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(madsim))]
fn main() -> ExitCode {
    eprintln!("{}", quorate_sim::__nothing_is_simulated!());
    ExitCode::FAILURE
}
