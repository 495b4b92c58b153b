//! What a transport plugin reports.

use super::BoxError;
use crate::types::PeerId;

/// A stream or a connection failed. The framework dials again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The peer did not answer in time, or cannot be addressed.
    #[error("{peer} at {address} does not answer")]
    Unreachable {
        /// Who was dialled.
        peer: PeerId,
        /// Where.
        address: String,
        /// The cause, when the plugin knows one.
        #[source]
        source: Option<BoxError>,
    },
    /// The address hint is not one that this transport understands.
    #[error("`{address}` is not an address of this transport: expected {expected}")]
    Address {
        /// The hint.
        address: String,
        /// The form expected, as in `ip:port`.
        expected: &'static str,
    },
    /// Somebody else answered at that address.
    #[error("{address} is not {expected}")]
    WrongPeer {
        /// Where.
        address: String,
        /// Who was expected.
        expected: PeerId,
    },
    /// The peer does not admit this node, or not for this lane.
    #[error("refused by the peer (code {code})")]
    Refused {
        /// The plugin's code.
        code: u64,
    },
    /// The stream was reset or its connection lost.
    #[error("the stream was reset")]
    Reset {
        /// The cause, when the plugin knows one.
        #[source]
        source: Option<BoxError>,
    },
    /// A frame is longer than a frame may be.
    #[error("a frame of {len} bytes is longer than {max}")]
    FrameTooLong {
        /// Its length in bytes, as announced.
        len: usize,
        /// The most bytes allowed.
        max: usize,
    },
    /// The transport is closed.
    #[error("the transport is closed")]
    Closed,
    /// The transport could not be set up.
    #[error("failed to {doing}")]
    Setup {
        /// What was being done, as in `bind 127.0.0.1:7000`.
        doing: String,
        /// The cause.
        #[source]
        source: BoxError,
    },
}
