//! Bare openraft with glue written by hand: what an adopter would write without the framework, over
//! the same storage and the same wire.
//!
//! Written as well as is sensible and no better: typed entries, all of the log that is not purged in
//! memory, appends pipelined over one stream per follower, votes and heartbeats one by one, writes
//! through `client_write`. What the framework adds is absent: batching of proposals into shared
//! entries, entry checksums and clocks, the hello and its identity rules, deadlines on appends and
//! calls, forwarding to the leader, sharing of ReadIndex rounds, limits on what is queued.

mod cluster;
mod glue;
mod host;
#[cfg(test)]
mod tests;

pub use self::cluster::{Bare, Client};
