//! A node of the cluster: how it is configured, started, asked and stopped.

pub mod config;
pub(crate) mod handle;
