//! What every frame between nodes begins with.
//!
//! `version u8 = 1 | kind u8 | group u64 | body`. Frames of the node itself, such as hello, carry
//! the group id of all ones.

use bytes::{BufMut, Bytes, BytesMut};

use super::{FormatError, Reader};
use crate::types::GroupId;

const VERSION: u8 = 1;
/// The bytes before the body.
pub(crate) const HEADER_BYTES: usize = 10;

/// The group of frames that belong to the node and not to a group.
pub(crate) const NODE: GroupId = GroupId(u64::MAX);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a frame is. The numbers are permanent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub(crate) enum Kind { $($(#[$doc])* $name = $number,)* }

        impl Kind {
            fn from_wire(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// First frame in each direction of every stream.
    Hello = 1,
    /// The answer to a hello that is not admitted; the stream ends.
    Refuse = 2,
    /// A request: correlation u64, call u8, body.
    Request = 3,
    /// Its answer: correlation u64, status u8, body.
    Reply = 4,
    /// Entries for a follower.
    Append = 5,
    /// What became of them.
    Appended = 6,
    SnapshotBegin = 7,
    SnapshotChunk = 8,
    SnapshotEnd = 9,
    /// How many bytes have arrived: u64.
    SnapshotAck = 10,
    /// The snapshot was installed: the receiver's vote.
    SnapshotDone = 11,
    /// The receiver cannot go on.
    SnapshotFailed = 12,
    /// The answer to the announcement, how many bytes the receiver holds already: u64.
    SnapshotFrom = 13,
}

/// A frame, split.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) group: GroupId,
    pub(crate) body: Bytes,
}

/// Begins a frame; the caller adds the body.
pub(crate) fn begin(kind: Kind, group: GroupId, body_bytes: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + body_bytes);
    out.put_u8(VERSION);
    out.put_u8(kind as u8);
    out.put_u64_le(group.0);
    out
}

impl Frame {
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new("a frame", bytes);
        reader.version(VERSION)?;
        let number = reader.u8("kind")?;
        let kind = Kind::from_wire(number).ok_or_else(|| reader.unknown("kind", u64::from(number)))?;
        Ok(Self { kind, group: GroupId(reader.u64("group")?), body: reader.rest() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_frame() {
        let mut frame = begin(Kind::Request, GroupId(2), 1);
        frame.put_u8(9);
        assert_eq!(frame.as_ref(), [1, 3, 2, 0, 0, 0, 0, 0, 0, 0, 9]);
        let frame = Frame::decode(frame.freeze()).expect("whole");
        assert_eq!((frame.kind, frame.group, frame.body.as_ref()), (Kind::Request, GroupId(2), &[9][..]));
    }

    #[test]
    fn other_versions_and_kinds_are_errors() {
        assert!(matches!(
            Frame::decode(Bytes::from_static(&[2, 3, 0, 0, 0, 0, 0, 0, 0, 0])),
            Err(FormatError::Version { found: 2, .. })
        ));
        assert!(Frame::decode(Bytes::from_static(&[1, 99, 0, 0, 0, 0, 0, 0, 0, 0])).is_err());
        assert!(Frame::decode(Bytes::from_static(&[1, 3, 0])).is_err());
    }
}
