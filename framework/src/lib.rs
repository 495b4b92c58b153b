//! Write a struct and its methods; get a replicated, upgrade-safe, fault-tested service.

pub mod client;
pub mod error;
pub mod node;
pub mod state_machine;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transport;
pub mod types;
pub mod watch;
