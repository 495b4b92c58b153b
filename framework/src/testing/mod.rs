//! Conformance kits: what a plugin or a machine must do, as tests that its author runs with one
//! line.
//!
//! This folder owns the kits for [`Storage`](crate::storage::Storage) ([`storage`]), for
//! [`Transport`](crate::transport::Transport) ([`transport`]) and for
//! [`StateMachine`](crate::state_machine::StateMachine) ([`state_machine`]). A harness says how to
//! make the thing under test; a macro turns each case into a `#[test]` of its own; each case is also
//! a function, so that a kit can be tested itself. The kits run on any runtime: each case has a
//! thread of its own, on which the harness decides how to block.
//!
//! A case that draws at random prints its seed, which a test shows when it fails; with
//! `QUORATE_SEED=<seed>` the case draws the same again.
//!
//! Nothing here is part of a running node.

#![allow(
    clippy::disallowed_methods,
    reason = "a kit blocks a thread of its own and measures real time; no node runs it"
)]

mod run;
mod seeded;
pub mod state_machine;
pub mod storage;
pub mod transport;

pub use self::seeded::Seeded;
pub use crate::engine::suite::run as engine_suite;

/// Makes a list of names of each list of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_names {
    ($([$list:ident: $($case:ident)*])*) => {
        $(const $list: &[&str] = &[$(stringify!($case)),*];)*
    };
}
