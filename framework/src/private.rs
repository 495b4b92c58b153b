//! What the code that `RaftStateMachine` generates calls. Not for anyone else: it changes without
//! notice.

use std::io::{Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::client::typed::{answer, response};
use crate::state_machine::{RestoreError, read_postcard, write_postcard};

/// What the default snapshot needs first. A trait of its own for the sake of its message.
#[diagnostic::on_unimplemented(
    message = "the default snapshot captures the state by `Clone`, which `{Self}` does not implement",
    label = "the state",
    note = "derive `Clone`, or say how it is captured: `snapshot(type = .., capture = .., write = .., restore = ..)` in `#[raft(..)]`"
)]
pub trait Capture: Sized {
    /// Captures the state.
    #[must_use]
    fn capture(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Clone> Capture for T {
    fn capture(&self) -> Self {
        self.clone()
    }
}

/// What the default snapshot needs second.
#[diagnostic::on_unimplemented(
    message = "the default snapshot is written by `Serialize`, which `{Self}` does not implement",
    label = "the state",
    note = "derive `Serialize`, or say how it is written and read: `snapshot(write = .., restore = ..)` in `#[raft(..)]`"
)]
pub trait Save {
    /// Writes the state.
    fn save(&self, out: &mut dyn Write) -> std::io::Result<()>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Save for T {
    fn save(&self, out: &mut dyn Write) -> std::io::Result<()> {
        write_postcard(self, out)
    }
}

/// What the default snapshot needs third.
#[diagnostic::on_unimplemented(
    message = "the default snapshot is read by `DeserializeOwned`, which `{Self}` does not implement",
    label = "the state",
    note = "derive `Deserialize`, or say how it is written and read: `snapshot(write = .., restore = ..)` in `#[raft(..)]`"
)]
pub trait Load: Sized {
    /// Reads a state.
    fn load(input: &mut dyn Read) -> Result<Self, RestoreError>;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Load for T {
    fn load(input: &mut dyn Read) -> Result<Self, RestoreError> {
        read_postcard(input)
    }
}

/// Whether a method returns what the list says that it does. A trait of its own for the sake of its
/// message.
#[diagnostic::on_unimplemented(
    message = "the list says that this returns `{T}`, but the method returns `{Self}`",
    label = "the method returns `{Self}`",
    note = "write the same type in the list and after the method's `->`"
)]
pub trait Returns<T> {
    /// The value, as the list says it.
    fn returned(self) -> T;
}

#[diagnostic::do_not_recommend]
impl<T> Returns<T> for T {
    fn returned(self) -> T {
        self
    }
}

/// Checks that `value` is what the list says.
pub fn returned<T, V: Returns<T>>(value: V) -> T {
    value.returned()
}
