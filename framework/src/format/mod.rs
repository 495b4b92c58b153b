//! Everything that stands on a disk or goes over a wire, byte by byte.
//!
//! Fixed from the first day: each format begins with a version, an unknown version, kind or flag is
//! an error and never a guess, and golden bytes hold each of them. Numbers are little endian. What
//! is *in* a command is not here: see [`crate::state_machine::Wire`].

pub(crate) mod applied;
mod bytes;
pub(crate) mod entry;
pub(crate) mod frame;
pub(crate) mod hello;
pub(crate) mod marker;
pub(crate) mod membership;
pub(crate) mod session_rows;
pub(crate) mod sessions;
pub(crate) mod snapshot;

pub(crate) use self::bytes::{FormatError, Reader, Writer};
