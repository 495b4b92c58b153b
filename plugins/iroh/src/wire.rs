//! What two of these transports agree on: protocol names, the head of a stream, close codes.

use std::time::Duration;

use iroh::EndpointId;
use iroh::endpoint::VarInt;
use quorate::transport::Lane;

/// The codes with which this transport refuses or resets. They are part of the wire format; a peer
/// sees [`code::REFUSED`] as [`TransportError::Refused`] and the others inside the source of a
/// [`TransportError::Reset`].
///
/// [`TransportError::Refused`]: quorate::error::TransportError::Refused
/// [`TransportError::Reset`]: quorate::error::TransportError::Reset
pub mod code {
    /// The transport was closed.
    pub const CLOSED: u32 = 0;
    /// A stream was dropped without being closed.
    pub const ABANDONED: u32 = 1;
    /// A connection was given up: the peer restarted, moved or no longer answers.
    pub const GIVEN_UP: u32 = 2;
    /// A stream does not begin with a version and a lane of this protocol.
    pub const BAD_HEAD: u32 = 3;
    /// A frame is longer than a frame may be.
    pub const FRAME_TOO_LONG: u32 = 4;
    /// A frame is empty.
    pub const EMPTY_FRAME: u32 = 5;
    /// The peer is not admitted, or not for this lane.
    pub const REFUSED: u32 = 403;
}

/// The version of the head of a stream and of its frames.
const VERSION: u8 = 1;
/// Tells our streams from those of another protocol.
const MAGIC: u8 = b'Q';

/// The most bytes of a head; nothing is read from a stream before they are there.
pub(crate) const HEAD_BYTES: usize = 4;

/// A connection of its own per plane, so that a bulk transfer has a congestion window of its own
/// and cannot starve heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plane {
    /// Control, append and client lanes.
    Raft,
    /// Snapshots.
    Snapshot,
}

impl Plane {
    pub(crate) const COUNT: usize = 2;
    pub(crate) const ALL: [Self; Self::COUNT] = [Self::Raft, Self::Snapshot];

    /// The plane that carries `lane`.
    pub(crate) fn of(lane: Lane) -> Self {
        match lane {
            Lane::Snapshot => Self::Snapshot,
            Lane::Control | Lane::Append | Lane::Client => Self::Raft,
        }
    }

    /// The plane of this protocol name; `None` when it is not one of ours.
    pub(crate) fn from_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|plane| plane.alpn() == alpn)
    }

    /// The name under which TLS negotiates it.
    pub(crate) const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Raft => b"quorate/raft/1",
            Self::Snapshot => b"quorate/snapshot/1",
        }
    }

    /// Its place in an array of all planes.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// The lanes it carries.
    pub(crate) fn lanes(self) -> impl Iterator<Item = Lane> {
        Lane::ALL.into_iter().filter(move |lane| Self::of(*lane) == self)
    }

    /// How many streams a peer may have open on one connection.
    pub(crate) const fn max_streams(self) -> u32 {
        match self {
            Self::Raft => 128,
            Self::Snapshot => 16,
        }
    }
}

/// What the name begins with that names the key dialled.
const FOR_KEY: &[u8] = b"quorate/for/";

/// A protocol name, never agreed on, by which whoever is dialled can see for whom the dial is
/// meant. iroh sends the first packet of a dial to every address where it ever knew the key. When
/// another node has taken one of them meanwhile, it would answer as itself, and the dial fail if
/// that answer came first.
pub(crate) fn for_key(key: EndpointId) -> Vec<u8> {
    [FOR_KEY, key.as_bytes()].concat()
}

/// Whether the protocol names offered say that the dial is for another key than `own`.
pub(crate) fn is_for_another<'a>(names: impl IntoIterator<Item = &'a [u8]>, own: EndpointId) -> bool {
    names.into_iter().any(|name| name.strip_prefix(FOR_KEY).is_some_and(|key| key != own.as_bytes()))
}

/// The head of a stream for `lane`.
pub(crate) const fn head(lane: Lane) -> [u8; HEAD_BYTES] {
    [MAGIC, VERSION, lane.to_wire(), 0]
}

/// The lane that a stream on `plane` begins with; `None` for anything else.
pub(crate) fn parse_head(head: [u8; HEAD_BYTES], plane: Plane) -> Option<Lane> {
    match head {
        [MAGIC, VERSION, lane, 0] => Lane::from_wire(lane).filter(|lane| Plane::of(*lane) == plane),
        _ => None,
    }
}

/// The priority of a stream among those of its connection. Control goes first; the others share,
/// as strict priorities would starve a client behind a replica that catches up.
pub(crate) fn priority(lane: Lane) -> i32 {
    i32::from(lane == Lane::Control)
}

/// A close code in the form QUIC wants it.
pub(crate) fn quic_code(code: u32) -> VarInt {
    VarInt::from_u32(code)
}

/// The round trip assumed before one was measured. The default of QUIC, 333 ms, would repeat a
/// lost first packet only after a second, when the dial is over.
pub(crate) const INITIAL_RTT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_stream_is_fixed() {
        assert_eq!(head(Lane::Control), [0x51, 1, 1, 0]);
        assert_eq!(head(Lane::Append), [0x51, 1, 2, 0]);
        assert_eq!(head(Lane::Snapshot), [0x51, 1, 3, 0]);
        assert_eq!(head(Lane::Client), [0x51, 1, 4, 0]);
    }

    #[test]
    fn a_head_is_read_back_on_its_own_plane_only() {
        for lane in Lane::ALL {
            for plane in Plane::ALL {
                let expected = (Plane::of(lane) == plane).then_some(lane);
                assert_eq!(parse_head(head(lane), plane), expected);
            }
        }
        assert_eq!(parse_head([0x51, 2, 1, 0], Plane::Raft), None, "another version");
        assert_eq!(parse_head([0x51, 1, 9, 0], Plane::Raft), None, "an unknown lane");
        assert_eq!(parse_head([0x51, 1, 1, 1], Plane::Raft), None, "an unknown flag");
        assert_eq!(parse_head(*b"GET ", Plane::Raft), None, "another protocol");
    }

    #[test]
    fn a_dial_names_the_key_it_is_for() {
        let [own, other] = [7, 8].map(|byte| iroh::SecretKey::from_bytes(&[byte; 32]).public());
        assert_eq!(for_key(own), [&b"quorate/for/"[..], own.as_bytes()].concat());
        let meant_for = |key| is_for_another([Plane::Raft.alpn(), &for_key(key)], own);
        assert!(!meant_for(own));
        assert!(meant_for(other));
        assert!(!is_for_another([Plane::Raft.alpn()], own), "not said");
    }

    #[test]
    fn protocol_names_are_fixed() {
        assert_eq!(Plane::from_alpn(b"quorate/raft/1"), Some(Plane::Raft));
        assert_eq!(Plane::from_alpn(b"quorate/snapshot/1"), Some(Plane::Snapshot));
        assert_eq!(Plane::from_alpn(b"h3"), None);
    }
}
