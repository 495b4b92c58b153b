//! A user's own machine under everything that a simulation does: one line in a test file.
//!
//! This folder owns [`simulate!`](crate::simulate): random calls through the arguments' own
//! `Deserialize` (`draw`), lives of a machine in worlds that differ in one thing (`live`, `examine`),
//! and its run on a cluster (`workload`, `order`, `keyed`); a machine in tables is made one like any
//! other (`tables`), and what a cluster showed once is kept (`kept`). What a cluster is, and what goes wrong in
//! it, is the business of `cluster` and `plan`.

mod macros;

#[cfg(madsim)]
mod alone;
#[cfg(madsim)]
mod calls;
#[cfg(madsim)]
mod draw;
#[cfg(madsim)]
mod examine;
#[cfg(madsim)]
mod finding;
#[cfg(madsim)]
mod kept;
#[cfg(madsim)]
mod keyed;
#[cfg(madsim)]
mod live;
#[cfg(madsim)]
mod options;
#[cfg(madsim)]
mod order;
#[cfg(madsim)]
#[doc(hidden)]
pub mod outline;
#[cfg(madsim)]
mod report;
#[cfg(madsim)]
mod run;
#[cfg(madsim)]
mod seen;
#[cfg(madsim)]
mod shrink;
#[cfg(madsim)]
mod subject;
#[cfg(madsim)]
mod tables;
#[cfg(all(test, madsim))]
mod tests;
#[cfg(madsim)]
#[doc(hidden)]
pub mod value;
#[cfg(madsim)]
mod workload;

#[cfg(madsim)]
pub use self::{
    calls::{CallOf, Draw},
    finding::{Cause, Finding, Line},
    kept::{Kept, PlansError, Written},
    options::{DURATION, Faults, Nodes, SEEDS, Simulation},
    report::{Failure, OnACluster, Place, Summary, Tried, Wrong},
    subject::{
        BeginsInMemory, BeginsInTables, Eyes, Holds, Probe, SeenState, SeesNoOutline, SeesNoState,
        SeesOutline, SeesState, Simulated, SimulatedInTables,
    },
    tables::{InTables, Tables},
};
#[cfg(madsim)]
pub use crate::cluster::NODES;

/// Says why there is no simulation.
///
/// # Panics
/// Always.
#[doc(hidden)]
pub fn nothing_is_simulated() -> ! {
    panic!("{}", crate::__nothing_is_simulated!());
}
