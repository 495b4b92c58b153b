//! What the benches share: the machine, the plugins, the clusters and the clients that load them.
//!
//! The benches themselves are the files beside this folder. [`bare`] is the other side of the
//! comparison: openraft with glue written by hand. Nothing here measures but [`load::closed_loop`],
//! and nothing here is for use outside the benches.

pub mod bare;
pub mod estimates;
pub mod load;
pub mod machine;
pub mod ours;
pub mod plugins;
pub mod storage;
