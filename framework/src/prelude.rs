//! What a state machine and its callers usually need: `use quorate::prelude::*;`.
//!
//! `Serialize` and `Deserialize` are serde's own. Their derives expand to paths into a crate named
//! `serde`, so either have `serde` (with its feature `derive`) among your dependencies, or put
//! `#[serde(crate = "quorate::serde")]` on the type.

#[cfg(feature = "derive")]
pub use quorate_macros::RaftStateMachine;
pub use serde::{Deserialize, Serialize};

pub use crate::client::Consistency;
pub use crate::state_machine::{ApplyContext, QueryContext, Service, StateMachine};
