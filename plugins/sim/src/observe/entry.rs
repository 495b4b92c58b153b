//! What of the framework's bytes an oracle has to read: whose term an entry is of, and a vote.
//!
//! The places are those of the formats, which golden bytes in the framework hold; that they are
//! right is checked with every entry, as its own index stands beside its term.

use bytes::Bytes;

use crate::trace::Digest;

const TERM_AT: usize = 12;
const INDEX_AT: usize = 20;

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..at + 8).expect("the format has this field");
    u64::from_le_bytes(field.try_into().expect("eight bytes"))
}

/// An entry by its term and a hash of all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryMark {
    /// The term of the leader that made it.
    pub term: u64,
    /// A hash of its bytes.
    pub hash: u64,
}

impl EntryMark {
    /// The mark of what stands at `index` on a disk, whatever it is: a disk may be damaged.
    pub fn found(index: u64, entry: &Bytes) -> Self {
        let whole = entry.len() >= INDEX_AT + 8 && u64_at(entry, INDEX_AT) == index;
        if whole { Self::of(index, entry) } else { Self { term: 0, hash: Digest::of(entry) } }
    }

    /// The mark of the entry at `index`.
    ///
    /// # Panics
    /// When the bytes are those of another index: the format has changed.
    pub fn of(index: u64, entry: &Bytes) -> Self {
        assert_eq!(u64_at(entry, INDEX_AT), index, "an entry has its own index at byte {INDEX_AT}");
        Self { term: u64_at(entry, TERM_AT), hash: Digest::of(entry) }
    }
}

/// A vote, ordered as votes go up: by term, and within a term from given to granted by a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoteMark {
    /// The term.
    pub term: u64,
    /// Whether a quorum has granted it.
    pub committed: bool,
    /// For whom.
    pub node: u64,
}

impl VoteMark {
    /// The vote in these bytes, `None` when they are none: a disk may be damaged.
    pub fn found(bytes: &Bytes) -> Option<Self> {
        (bytes.len() == 23 && bytes[..2] == [1, 1]).then(|| Self::of(bytes))
    }

    /// The vote in these bytes: version, kind 1, committed, term, node, checksum.
    ///
    /// # Panics
    /// When they are no vote: the format has changed.
    pub fn of(bytes: &Bytes) -> Self {
        assert!(
            bytes.len() == 23 && bytes[..2] == [1, 1],
            "a vote is version 1, kind 1, 23 bytes: {bytes:?}"
        );
        Self { term: u64_at(bytes, 3), committed: bytes[2] != 0, node: u64_at(bytes, 11) }
    }
}
