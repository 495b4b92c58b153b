//! Commands, queries and their answers taken apart: made of arguments from anywhere, and shown
//! argument by argument.
//!
//! The wire form is one source and one sink. Others are a tool's own, such as the simulator's, which
//! draws arguments at random: a user's crate needs no second derive for it, and pays nothing for what
//! is never called.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ArgumentReader, ArgumentWriter, DecodeError, EncodeError, Wire};

/// A command, query, response or answer by its items, as `RaftStateMachine` lists them.
///
/// Implemented by the derive. A machine written by hand needs it only for tools that ask for it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken apart into items and arguments",
    label = "the commands, queries, responses or answers of a machine",
    note = "`#[derive(RaftStateMachine)]` implements `quorate::state_machine::Items`; a machine written by hand implements it for all four types"
)]
pub trait Items: Wire {
    /// Id and name of every item, in the order of the list.
    const ITEMS: &'static [(u16, &'static str)];

    /// The id of this item.
    fn id(&self) -> u16;

    /// Makes the item of `id` of what `source` gives; `None` when no item has this id.
    ///
    /// # Errors
    /// When `source` has no value for an argument.
    fn make<S: ArgumentSource>(id: u16, source: &mut S) -> Result<Option<Self>, S::Error>;

    /// Shows every argument to `sink`, in order.
    ///
    /// # Errors
    /// When `sink` fails.
    fn show<S: ArgumentSink>(&self, sink: &mut S) -> Result<(), S::Error>;
}

/// Gives arguments one by one.
pub trait ArgumentSource {
    /// Why there is no value.
    type Error;

    /// What the following arguments are of: `transfer`.
    fn begin(&mut self, item: &'static str);

    /// The next argument.
    fn argument<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, Self::Error>;
}

/// Takes arguments one by one.
pub trait ArgumentSink {
    /// Why it does not take one.
    type Error;

    /// Takes the next argument.
    fn argument<T: Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), Self::Error>;
}

impl ArgumentSource for ArgumentReader<'_> {
    type Error = DecodeError;

    fn begin(&mut self, item: &'static str) {
        self.set_item(item);
    }

    fn argument<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, DecodeError> {
        ArgumentReader::argument(self, name)
    }
}

impl ArgumentSink for ArgumentWriter<'_> {
    type Error = EncodeError;

    fn argument<T: Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        ArgumentWriter::argument(self, name, value)
    }
}
