//! Sessions: a command that is sent again is applied once (Raft dissertation, section 6.3).
//!
//! A client opens a session with an entry of the log and numbers its commands. Every replica keeps, per
//! session, the answers that the client has not acknowledged yet: a command whose number is known gets the
//! first answer and is not applied again. `table.rs` is what replicas keep, `settle.rs` sorts a batch by it,
//! `ticket.rs` is a client's side.
//!
//! The id of a session is drawn from a counter in the log and never comes back. What is still on its way
//! when a session ends, however late it arrives, therefore meets no other session and is refused.

mod settle;
mod table;
mod ticket;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

pub(crate) use self::settle::Settling;
pub(crate) use self::table::{Open, Session, Stored, Table};
pub(crate) use self::ticket::{Once, Sessions, Ticket};
use crate::types::ClientId;

/// How far a session may be ahead of its first unacknowledged command: replicas keep the answers from there
/// on. A constant of the protocol, since every replica must refuse the same ones.
pub const MAX_UNACKNOWLEDGED: usize = 1_024;

/// How many sessions and kept answers there may be together. A session or a command beyond makes the
/// session end that was used least recently. A constant of the protocol. With
/// [`MAX_KEPT_ANSWER_BYTES`] it bounds what a replica keeps, in memory and in a snapshot: 35 MiB.
pub const MAX_KEPT: usize = 16_384;

/// The most bytes of an answer that is kept for a command sent again. A constant of the protocol.
pub const MAX_KEPT_ANSWER_BYTES: usize = 2_048;

/// The shortest and the longest that a session may be idle, whatever its client asked for: a second and a day.
pub const MIN_IDLE: Duration = Duration::from_secs(1);
/// See [`MIN_IDLE`].
pub const MAX_IDLE: Duration = Duration::from_hours(24);

/// Which command of which session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) client: ClientId,
    /// From 1. [`Self::OPEN`] and [`Self::CLOSE`] are no commands of the machine.
    pub(crate) serial: u64,
    /// Every command with a lower number has an answer that its client knows, or is asked for no more.
    pub(crate) first_unacknowledged: u64,
}

impl Numbered {
    /// In place of a session when one is opened.
    const NOBODY: ClientId = ClientId(u64::MAX);
    const OPEN: u64 = 0;
    const CLOSE: u64 = u64::MAX;

    /// Opens a session; the bytes are an [`Open`].
    pub(crate) fn open() -> Self {
        Self { client: Self::NOBODY, serial: Self::OPEN, first_unacknowledged: 0 }
    }

    /// Ends a session; there are no bytes.
    pub(crate) fn close(client: ClientId) -> Self {
        Self { client, serial: Self::CLOSE, first_unacknowledged: 0 }
    }

    /// Whether it is about the session itself, and nothing for the machine.
    pub(crate) fn is_control(&self) -> bool {
        matches!(self.serial, Self::OPEN | Self::CLOSE)
    }

    /// Whether its bytes are what they have to be, when it is no command of the machine.
    pub(crate) fn check_control(&self, bytes: &Bytes) -> Result<(), crate::format::FormatError> {
        if self.serial == Self::OPEN && self.client == Self::NOBODY {
            return Open::decode(bytes.clone()).map(drop);
        }
        if self.serial == Self::OPEN || self.client == Self::NOBODY || !bytes.is_empty() {
            return Err(crate::format::FormatError::Unknown {
                what: "a change of a session",
                field: "serial",
                found: self.serial,
            });
        }
        Ok(())
    }
}
