//! A network in memory, for tests, benches and clusters inside one process.
//!
//! This folder owns [`MemoryNetwork`], the hub; [`MemoryTransport`], one endpoint of it; the links
//! between endpoints and what a test can do to them ([`Links`]); and the pipes that carry frames.
//! It encrypts nothing, loses nothing, and has no clock: what is slow or silent is so because a
//! test asked for it, and for as long as the test wants.

mod endpoint;
mod halves;
mod links;
mod network;
mod pipe;
#[cfg(test)]
mod tests;

pub use self::endpoint::MemoryTransport;
pub use self::links::Links;
pub use self::network::{Death, MemoryNetwork};
