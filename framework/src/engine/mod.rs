//! Step 4 of a write, and the only folder that names openraft.
//!
//! It turns the framework's traits into the ones the consensus library drives, and its types into
//! ours. No type of the library leaves this folder but through [`runtime`], which is hidden and
//! serves the simulator. What is decided here and why:
//!
//! - pre-vote is on and really sent; a node that was away disturbs nobody when it returns;
//! - a restarted leader does not resume its term: with a state machine in memory and a commit index
//!   that is not flushed it would serve stale ReadIndex reads;
//! - one leader per term, so that a log id is term and index;
//! - ReadIndex and not the lease: a restarted voter forgets the lease it granted.

mod answer;
mod applier;
mod cache;
mod exactly_once;
mod fault;
mod group;
mod health;
mod keep;
mod log;
mod machine;
mod members;
mod network;
mod progress;
mod receive;
mod restore;
mod room;
pub(crate) mod runtime;
mod send_snapshot;
mod snapshot;
mod types;
mod view;
mod wire;
mod workers;

pub(crate) use self::applier::QueryError;
pub(crate) use self::group::{Group, GroupOptions, ProposeError, ReadIndexError, write_birth};
pub(crate) use self::members::{ChangeError, Matched, Standing};
pub(crate) use self::view::View;

#[cfg(test)]
mod late_snapshot;
#[cfg(test)]
mod no_room;
#[cfg(test)]
pub(crate) mod rig;
#[cfg(test)]
mod stalls;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod suite;
