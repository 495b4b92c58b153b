//! The storage through its public face: on real files, and on a disk that fails on demand.

mod common;
mod damage;
mod directory;
#[allow(dead_code, reason = "shared with the tests of a machine, which use more of it")]
mod disk;
mod disk_full;
mod failures;
mod flips;
mod growth;
mod hooks;
mod kill;
mod log;
mod memory;
mod power;
mod random;
mod resume;
mod snapshot_room;
mod snapshots;
mod witness;
