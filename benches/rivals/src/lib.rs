//! Storage engines that others wrote, as sides of the contest of `quorate-benches`.
//!
//! Each is fed by the same thread that feeds the log file, one batch at a time, and set up as its
//! documentation advises for a log. It knows nothing of the plugin.

pub mod fjall_log;
pub mod raft_log;
