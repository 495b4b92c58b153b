//! Write a struct and its methods; get a replicated, upgrade-safe, fault-tested service.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "unit tests run on tokio and real threads; only the library must not"
    )
)]

pub mod client;
mod engine;
pub mod error;
mod format;
mod host;
mod log_clock;
pub mod node;
pub mod prelude;
pub mod sessions;
pub mod state_machine;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transport;
pub mod types;
pub mod watch;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use node::{Cluster, Node, Ticket};
#[cfg(feature = "derive")]
pub use quorate_macros::RaftStateMachine;
/// The serde that [`prelude`] re-exports, for `#[serde(crate = "quorate::serde")]`.
pub use serde;

#[doc(hidden)]
pub mod runtime {
    //! For the simulator: what a runtime of its own has to implement.
    pub use crate::engine::runtime::*;
}
