//! The glue by itself: a log store over a storage, a network over a transport, a state machine, and
//! the bytes of all of them.
//!
//! It is shared with the simulator's bench, so it takes from `host`, the module beside it, what it
//! runs on and what it replicates: `Runtime`, `Command`, `Response`, `State` and `apply`.

mod log;
mod machine;
mod network;
mod serve;
pub(crate) mod types;
pub(crate) mod wire;

pub(crate) use self::log::Log;
pub(crate) use self::machine::Machine;
pub(crate) use self::network::Factory;
pub(crate) use self::serve::serve;
