//! From the errors of iroh and QUIC to those of the contract.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{
    ConnectError, ConnectWithOptsError, ConnectingError, ConnectionError, ReadError, WriteError,
};
use quorate::error::TransportError;
use quorate::transport::MAX_FRAME_BYTES;
use quorate::types::Member;

use crate::wire::code;

/// Why a peer could not be dialled: the source of a [`TransportError::Unreachable`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The member has this transport's own key: a node does not dial itself.
    #[error("the member has this node's own key")]
    OwnKey,
    /// No handshake within the limit.
    #[error("no handshake within {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// The peer accepts no further stream on its connection.
    #[error("the peer allows no further stream")]
    TooManyStreams,
    /// The connection could not be made, or failed at once.
    #[error("the connection failed")]
    Connection(#[source] ConnectionError),
    /// iroh could not begin to connect.
    #[error("iroh could not connect")]
    Iroh(#[source] Arc<ConnectError>),
}

/// How a dial ended that gave no connection. Shared by all who waited for it.
#[derive(Clone, Debug)]
pub(crate) enum DialFailure {
    Unreachable(DialError),
    WrongPeer,
    Refused(u64),
    Closed,
}

impl DialFailure {
    pub(crate) fn timed_out(limit: Duration) -> Self {
        Self::Unreachable(DialError::TimedOut { limit })
    }

    /// What the caller of `connect` is told.
    pub(crate) fn for_member(self, member: &Member) -> TransportError {
        let address = member.address.clone();
        match self {
            Self::Unreachable(error) => TransportError::Unreachable {
                peer: member.identity.clone(),
                address,
                source: Some(Box::new(error)),
            },
            Self::WrongPeer => TransportError::WrongPeer { address, expected: member.identity.clone() },
            Self::Refused(code) => TransportError::Refused { code },
            Self::Closed => TransportError::Closed,
        }
    }
}

impl From<ConnectError> for DialFailure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Connect { source: ConnectWithOptsError::SelfConnect { .. }, .. } => {
                Self::Unreachable(DialError::OwnKey)
            }
            ConnectError::Connect { source: ConnectWithOptsError::EndpointClosed { .. }, .. } => Self::Closed,
            ConnectError::Connection { source, .. }
            | ConnectError::Connecting { source: ConnectingError::ConnectionError { source, .. }, .. } => {
                source.into()
            }
            other => Self::Unreachable(DialError::Iroh(Arc::new(other))),
        }
    }
}

impl From<ConnectionError> for DialFailure {
    fn from(error: ConnectionError) -> Self {
        match refusal(&error) {
            Some(code) => Self::Refused(code),
            None if is_wrong_key(&error) => Self::WrongPeer,
            None => Self::Unreachable(DialError::Connection(error)),
        }
    }
}

/// Whether our own TLS found another key than the one dialled: the only alert that we raise about
/// a server's certificate.
fn is_wrong_key(error: &ConnectionError) -> bool {
    /// `unknown_ca` (RFC 8446, section 6.2), as rustls raises it for an unknown issuer.
    const UNKNOWN_CA: u8 = 48;
    matches!(error, ConnectionError::TransportError(error)
        if error.code == iroh::endpoint::TransportErrorCode::crypto(UNKNOWN_CA))
}

/// The code, when the peer closed the connection because it does not admit us.
fn refusal(error: &ConnectionError) -> Option<u64> {
    match error {
        ConnectionError::ApplicationClosed(close) => refusal_code(close.error_code.into_inner()),
        _ => None,
    }
}

fn refusal_code(found: u64) -> Option<u64> {
    (found == u64::from(code::REFUSED)).then_some(found)
}

/// Whether the connection ended without a word from the peer.
pub(crate) fn is_loss(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::TimedOut
        | ConnectionError::Reset
        | ConnectionError::TransportError(_)
        | ConnectionError::CidsExhausted => true,
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::LocallyClosed
        | ConnectionError::VersionMismatch => false,
    }
}

/// Why a stream ended before it was closed: the source of a [`TransportError::Reset`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The connection was lost or closed.
    #[error("the connection ended")]
    Connection(#[source] ConnectionError),
    /// The peer reset the stream, or wants no more of it.
    #[error("reset by the peer (code {code})")]
    ByPeer {
        /// One of [`code`](crate::code).
        code: u64,
    },
    /// The stream was finished in the middle of a frame.
    #[error("the stream ends within a frame")]
    Truncated,
    /// A frame had no bytes.
    #[error("a frame is empty")]
    EmptyFrame,
    /// The stream was used after it had ended.
    #[error("the stream has ended already")]
    Ended,
}

/// How one direction of a stream failed. Kept, so that every later use fails the same way.
#[derive(Clone, Debug)]
pub(crate) enum StreamFailure {
    Reset(StreamError),
    Refused(u64),
    TooLong { len: usize },
}

impl StreamFailure {
    /// What the user of the stream is told; `closed` when this transport was closed meanwhile.
    pub(crate) fn report(&self, closed: bool) -> TransportError {
        match self {
            Self::Reset(StreamError::Connection(_)) if closed => TransportError::Closed,
            Self::Reset(error) => TransportError::Reset { source: Some(Box::new(error.clone())) },
            Self::Refused(code) => TransportError::Refused { code: *code },
            Self::TooLong { len } => TransportError::FrameTooLong { len: *len, max: MAX_FRAME_BYTES },
        }
    }

    fn by_peer(code: u64) -> Self {
        refusal_code(code).map_or(Self::Reset(StreamError::ByPeer { code }), Self::Refused)
    }
}

impl From<ConnectionError> for StreamFailure {
    fn from(error: ConnectionError) -> Self {
        refusal(&error).map_or(Self::Reset(StreamError::Connection(error)), Self::Refused)
    }
}

impl From<WriteError> for StreamFailure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::by_peer(code.into_inner()),
            WriteError::ConnectionLost(error) => error.into(),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Reset(StreamError::Ended),
        }
    }
}

impl From<ReadError> for StreamFailure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::by_peer(code.into_inner()),
            ReadError::ConnectionLost(error) => error.into(),
            ReadError::ClosedStream | ReadError::ZeroRttRejected => Self::Reset(StreamError::Ended),
        }
    }
}
