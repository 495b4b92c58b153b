//! Newtypes for everything that is a number or a hash on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number itself.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number! {
    /// A node of the cluster. Never reused after its disk was lost. Zero is not a node.
    NodeId, "n"
}
number! {
    /// A Raft group. Many groups share one storage and one transport.
    GroupId, "g"
}
number! {
    /// A Raft term (Raft paper, section 5.1).
    Term, "T"
}
number! {
    /// The index of an entry in the log. The first entry of a log has index 0.
    LogIndex, "#"
}
number! {
    /// Drawn anew at every start of a process: tells a restarted peer from a slow one.
    BootId, "b"
}
number! {
    /// A client session. Zero is no session.
    ClientId, "c"
}

impl LogIndex {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl GroupId {
    /// The group of a node that serves a single state machine.
    pub const MAIN: Self = Self(0);
}

/// A text that is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected} hexadecimal digits")]
pub struct ParseIdError {
    /// The text given.
    pub text: String,
    /// How many hexadecimal digits an id of this kind has.
    pub expected: usize,
}

macro_rules! hash {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let error = || ParseIdError { text: text.to_owned(), expected: $len * 2 };
                parse_hex(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(error)
            }
        }
    };
}

hash! {
    /// Names a cluster: a hash of its name and its sorted bootstrap list, so that nodes which
    /// bootstrap independently agree on it.
    ClusterId, 32
}
hash! {
    /// Drawn at random when a data directory is created, and never again. A known node that shows
    /// another disk id has lost its disk, and with it the votes and entries it promised to keep.
    DiskId, 16
}

/// Decodes lower or upper case hexadecimal; `None` for anything else.
pub(crate) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_as_in_log_lines_and_hashes_parse_back() {
        assert_eq!(format!("{} {} {}", NodeId(3), Term(7), GroupId(0)), "n3 T7 g0");
        let disk = DiskId([0xa5; 16]);
        assert_eq!(disk.to_string().parse::<DiskId>(), Ok(disk));
        assert!("zz".parse::<DiskId>().is_err());
        assert!("é".repeat(16).parse::<DiskId>().is_err());
    }
}
