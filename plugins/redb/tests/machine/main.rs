//! A machine in tables through its public face: on real files, and on a disk that fails on demand.

#[allow(dead_code, reason = "shared with the tests of the storage, which use all of it")]
#[path = "../storage/disk/mod.rs"]
mod disk;
#[path = "../storage/random.rs"]
mod random;

mod common;
mod conformance;
mod contract;
mod failed;
mod full;
mod identity;
mod kill;
mod late;
mod low;
mod node;
mod power;
mod rig;
mod sessions;
mod shared_disk;
