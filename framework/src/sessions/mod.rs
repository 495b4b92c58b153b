//! Sessions: a command that is sent again is applied once (Raft dissertation, section 6.3).
//!
//! Without a session a write whose answer is lost may have been applied or not, and whoever sends it again may
//! have it applied twice. With one ([`Client::with_session`](crate::client::Client::with_session)) it is sent
//! again until somebody says what became of it, and its caller gets the answer of the time that it was applied:
//!
//! ```
//! # use std::time::Duration;
//! # use quorate::client::Client;
//! # use quorate::error::WriteError;
//! # use quorate::state_machine::Replicated;
//! # async fn pay<M: Replicated>(client: Client<M>, payment: M::Command) -> Result<(), WriteError> {
//! let client = client.with_session(Duration::from_secs(300));
//! let mut payment = client.prepare(&payment)?;
//! // Whatever this says: sent again, it is paid once.
//! if payment.send().await.is_err() {
//!     payment.send().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A session is opened by an entry of the log, and its commands are numbered. Every replica keeps the answers
//! that the client has not acknowledged yet: a command whose number is known gets the first answer and is not
//! applied again. They are kept over restarts, snapshots and changes of the leader, whether the state is in
//! memory or on a disk, where they are stored in the transaction of a command's effects.
//!
//! A session ends when it was idle for too long, when its client ends it, or when there are too many
//! ([`MAX_KEPT`]). What is sent after that is refused, and no other session takes its place: a session's id never
//! comes back. Then a command that may have been applied has an unknown outcome
//! ([`Unknown::SessionEnded`](crate::error::Unknown::SessionEnded)).
//!
//! The constants here are those of the protocol: what each replica keeps is the same on all of them.

// `table.rs` is what replicas keep, `settle.rs` sorts a batch by it, `ticket.rs` is a client's side.
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
