//! How bytes get from node to node: what a transport plugin must do, and what is built over it.
//!
//! A plugin carries frames over authenticated, ordered streams. Request correlation, append
//! streams, snapshot streams and forwarding to the leader are built once, in the framework, over
//! any transport. This folder owns the [`Transport`] contract and its in-memory implementation.

mod duplex;
mod lane;
mod memory;

use async_trait::async_trait;

pub use self::duplex::{Duplex, FrameSink, FrameStream};
pub use self::lane::Lane;
pub use self::memory::{Death, Links, MemoryNetwork, MemoryTransport};
use crate::error::TransportError;
use crate::types::{Member, PeerId};

/// The most bytes a frame may have: a constant of the protocol and not a setting, or an entry that
/// one node appends could never reach another. 8 MiB.
pub const MAX_FRAME_BYTES: usize = 8 << 20;

/// A stream that a peer has opened.
#[derive(Debug)]
pub struct Incoming {
    /// Who opened it, as proved by the transport.
    pub peer: PeerId,
    /// For what.
    pub lane: Lane,
    /// Its frames.
    pub stream: Duplex,
}

/// Decides who may open a lane; asked by plugins that can refuse before a stream exists.
pub type Admission = std::sync::Arc<dyn Fn(&PeerId, Lane) -> bool + Send + Sync>;

/// Authenticated, ordered, framed streams between nodes.
///
/// # Contract
/// - A stream fails by stalling, by going half-open, by being reset or cut. It never loses,
///   repeats, reorders, splits or joins a frame (`frames_arrive_in_order`,
///   `frames_keep_their_bounds`, `frames_go_both_ways_at_once`, `the_acceptor_may_speak_first`,
///   `many_streams_to_one_peer`).
/// - A good end and any other are told apart: closing a sink ends its direction in good order, after
///   every frame; dropping it resets the stream (`close_ends_one_direction`,
///   `close_then_drop_loses_nothing`, `drop_resets`).
/// - The peer's identity is proved by the transport, never read from a frame
///   (`the_identity_is_proved`, `accept_names_peer_and_lane`).
/// - Frames have 1 to [`MAX_FRAME_BYTES`] bytes. A longer one is refused before memory for it is
///   taken, on both sides (`the_longest_frame_passes`, `a_longer_frame_is_refused`).
/// - A sender is held up while its reader does not read
///   (`backpressure_holds_the_sender_and_loses_nothing`).
/// - Lanes do not delay each other: a large append or a snapshot never holds up a vote
///   (`lanes_do_not_delay_each_other`).
/// - Nothing here may wait for ever: a dead peer shows as an error within seconds
///   (`dialling_nobody_is_unreachable`, `dialling_a_dead_peer_is_unreachable`).
///
/// # Conformance
/// `quorate::transport_conformance!` runs the kit; the bullets above and the methods below name its
/// cases.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The identity that this transport proves to its peers.
    fn identity(&self) -> PeerId;

    /// Where peers can reach this transport, in its own form: what goes into
    /// [`Member::address`].
    fn address(&self) -> String;

    /// Opens a stream to `peer` for `lane`. The address is a hint; the identity decides.
    ///
    /// # Errors
    /// [`TransportError::Unreachable`] when the peer does not answer in time;
    /// [`TransportError::WrongPeer`] when somebody else does. A peer that refuses may show only on
    /// first use, as [`TransportError::Refused`].
    ///
    /// # Called by
    /// the framework, with a deadline of its own around it: must be safe to drop half-way.
    ///
    /// # Conformance
    /// `a_dropped_dial_does_no_harm`, `simultaneous_dials`.
    async fn connect(&self, peer: &Member, lane: Lane) -> Result<Duplex, TransportError>;

    /// Waits for the next stream that a peer opens.
    ///
    /// # Errors
    /// [`TransportError::Closed`] once closed, and nothing else: one bad peer must not end it.
    ///
    /// # Called by
    /// one task of the framework, again and again.
    ///
    /// # Conformance
    /// `a_vanished_dialler_does_not_end_accept`.
    async fn accept(&self) -> Result<Incoming, TransportError>;

    /// Drops every connection to and from `peer`, as it has restarted or no longer answers. The
    /// next [`Self::connect`] must dial anew.
    ///
    /// # Conformance
    /// `reset_fails_open_streams_and_allows_new_ones`.
    fn reset(&self, peer: &PeerId);

    /// Closes every stream and stops accepting.
    ///
    /// # Conformance
    /// `accept_ends_on_close`, `close_fails_open_streams`.
    async fn close(&self);

    /// Offers an early check of who may open a lane. The framework checks every stream itself; a
    /// plugin may use this to refuse sooner.
    fn set_admission(&self, admission: Admission) {
        drop(admission);
    }
}

#[async_trait]
impl<T: Transport + ?Sized> Transport for std::sync::Arc<T> {
    fn identity(&self) -> PeerId {
        (**self).identity()
    }
    fn address(&self) -> String {
        (**self).address()
    }
    async fn connect(&self, peer: &Member, lane: Lane) -> Result<Duplex, TransportError> {
        (**self).connect(peer, lane).await
    }
    async fn accept(&self) -> Result<Incoming, TransportError> {
        (**self).accept().await
    }
    fn reset(&self, peer: &PeerId) {
        (**self).reset(peer);
    }
    async fn close(&self) {
        (**self).close().await;
    }
    fn set_admission(&self, admission: Admission) {
        (**self).set_admission(admission);
    }
}
