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
pub mod error;
pub mod node;
pub mod state_machine;
pub mod storage;
pub mod transport;
pub mod types;
pub mod watch;
