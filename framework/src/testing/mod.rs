//! Conformance kits: what a plugin or a machine must do, as tests that its author runs with one
//! line.
//!
//! This folder owns the kits for [`Storage`](crate::storage::Storage) ([`storage`]), for
//! [`Transport`](crate::transport::Transport) ([`transport`]), for
//! [`StateMachine`](crate::state_machine::StateMachine) ([`state_machine`]), and for what
//! [`DurableStateMachine`](crate::state_machine::DurableStateMachine) promises of its disk
//! ([`durable_machine`]). Nothing here is part of a running node.
//!
//! # Running a kit
//!
//! The feature `testing` has the kits; it belongs into the dev-dependencies:
//!
//! ```toml
//! [dev-dependencies]
//! quorate = { version = "0.1", features = ["testing"] }
//! ```
//!
//! A harness says how to make the thing under test, in a few lines; the page of each kit begins with
//! one. A macro makes a `#[test]` of each case:
//!
//! ```text
//! quorate::storage_conformance!(MyHarness);
//! quorate::transport_conformance!(MyHarness);
//! quorate::state_machine_conformance!(MyHarness);
//! quorate::durable_machine_conformance!(MyHarness);
//! ```
//!
//! Each case is named by the sentence of the contract that it checks, and is a function too. The kits
//! run on any runtime: each case has a thread of its own, on which the harness decides how to block.
//!
//! # Reading a failure
//!
//! The name of the test is the name of the case: search for it in the contract, to read what is asked
//! for, and in this folder, to read what is done. The message says what was found and what was
//! expected. A case that takes longer than the `LIMIT` of its harness fails and says what it was
//! waiting for; most often that is a receipt that was never used, or a lock.
//!
//! # Repeating a failure
//!
//! A case that draws at random prints its seed, which a test shows when it fails; with the seed in the
//! environment it draws the same again:
//!
//! ```text
//! QUORATE_SEED=3604838092412309 cargo test random_operations_match_a_model
//! ```
//!
//! The seed fixes what is done, and not when: threads of the plugin may still run in another order.
//!
//! # That the kits bite
//!
//! `tests/tests/broken_plugins/` in the repository holds dozens of plugins that are broken on purpose,
//! each in one way, with the case that finds it and what that says.

#![allow(
    clippy::disallowed_methods,
    reason = "a kit blocks a thread of its own and measures real time; no node runs it"
)]

pub mod durable_machine;
mod run;
mod seeded;
mod shrink;
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

/// Makes a list of pairs, a name and a function, of each list of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_functions {
    ([$harness:ty] $([$list:ident: $($case:ident)*])*) => {
        ::std::vec![$($((stringify!($case), $case::<$harness> as fn()),)*)*]
    };
}
