//! The other side: bare openraft, on the same executor, disks and wire.
//!
//! The glue is that of the benches (`benches/src/bare/glue`), with registers in the place of its one
//! register. What is written here is what a simulation needs around it: processes that are killed
//! and started again, the faults of a plan, clients, and the rest at the end.

mod clients;
mod cluster;
mod faults;
#[path = "../../../../../benches/src/bare/glue/mod.rs"]
mod glue;
mod host;
mod rest;

use std::thread;

use quorate::runtime::AsyncRuntime;
use quorate_sim::cluster::Setup;
use quorate_sim::runtime::SimRuntime;

use self::cluster::Cluster;
use crate::done::Done;

/// Runs `setup`, on a thread of its own as the simulation does.
///
/// # Errors
/// Why the cluster did not come to rest.
pub(crate) fn run(setup: Setup) -> Result<Done, String> {
    let seed = setup.seed;
    let running = move || SimRuntime::seeded(seed).block_on(Cluster::new(setup).run());
    thread::spawn(running).join().map_err(|_| format!("seed {seed} of bare openraft panicked"))?
}
