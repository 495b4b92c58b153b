//! Write a struct and its methods; get a replicated, upgrade-safe, fault-tested service.

pub mod client;
pub mod error;
pub mod node;
pub mod prelude;
pub mod state_machine;
pub mod storage;
pub mod transport;
pub mod types;
pub mod watch;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

#[cfg(feature = "derive")]
pub use quorate_macros::RaftStateMachine;
/// The serde that [`prelude`] re-exports, for `#[serde(crate = "quorate::serde")]`.
pub use serde;
