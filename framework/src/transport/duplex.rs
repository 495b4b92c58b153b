//! Both directions of a stream.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures::{Sink, Stream};

use crate::error::TransportError;

/// Where frames go in. `feed` queues, `flush` sends; a sink applies backpressure when its queue is
/// full. Closing it ends the direction in good order; dropping it without closing resets it.
pub type FrameSink = Pin<Box<dyn Sink<Bytes, Error = TransportError> + Send>>;

/// Where frames come out. Ends with `None` when the peer closed its sink, with an error otherwise.
pub type FrameStream = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// A stream of frames in both directions. The halves may be used by different tasks.
pub struct Duplex {
    /// To the peer.
    pub tx: FrameSink,
    /// From the peer.
    pub rx: FrameStream,
}

impl Duplex {
    /// A stream of these halves.
    pub fn new(
        tx: impl Sink<Bytes, Error = TransportError> + Send + 'static,
        rx: impl Stream<Item = Result<Bytes, TransportError>> + Send + 'static,
    ) -> Self {
        Self { tx: Box::pin(tx), rx: Box::pin(rx) }
    }
}

impl fmt::Debug for Duplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Duplex")
    }
}
