//! What the scenarios share: a cluster over the plugins in memory, and one over the default plugins
//! on disk and loopback.

pub mod cluster;
pub mod cut;
pub mod ledger;
pub mod load;
pub mod rig;
pub mod rogue;
pub mod small_disk;
