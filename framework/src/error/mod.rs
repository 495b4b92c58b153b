//! What can go wrong: one enum per operation a caller can make.
//!
//! Three families. *Refused*: nothing happened, retry freely. *Outcome unknown*: it may have
//! happened or may yet happen. *Fatal*: the node has stopped and its status says why.

mod join;
mod machine;
mod members;
mod read;
mod shutdown;
mod start;
mod storage;
mod transport;
mod write;

/// The error of a plugin's own library, carried along as a source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

pub use self::join::JoinError;
pub use self::machine::MachineError;
pub use self::members::{MembersError, NotChanged};
pub use self::read::ReadError;
pub use self::shutdown::ShutdownError;
pub use self::start::{BootstrapError, StartError};
pub use self::storage::StorageError;
pub use self::transport::TransportError;
pub use self::write::{NotApplied, Unknown, WriteError};
pub use crate::node::config::{ConfigError, FieldError};
pub use crate::state_machine::{DecodeError, EncodeError, RestoreError};
