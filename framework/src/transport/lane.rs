//! What a stream is for.

use std::fmt;

/// The purpose of a stream. Lanes keep large transfers from delaying small, urgent messages. The
/// numbers are part of the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Votes, pre-votes, heartbeats, ReadIndex, leadership transfer, census.
    Control = 1,
    /// Entries.
    Append = 2,
    /// Snapshots.
    Snapshot = 3,
    /// Writes and reads forwarded for clients.
    Client = 4,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 4] = [Self::Control, Self::Append, Self::Snapshot, Self::Client];

    /// The lane with this number on the wire; `None` when there is none.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.to_wire() == number)
    }

    /// Its number on the wire.
    pub const fn to_wire(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "control",
            Self::Append => "append",
            Self::Snapshot => "snapshot",
            Self::Client => "client",
        })
    }
}
