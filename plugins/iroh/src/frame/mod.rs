//! Frames over a QUIC stream: `length (u32, little endian) | bytes`, one after the other.
//!
//! This folder turns the two halves of a QUIC stream into the sink and the source of a
//! [`Duplex`](quorate::transport::Duplex). It checks lengths, batches writes and reports errors; it
//! knows nothing of connections, peers or admission. Nothing here allocates by what a peer
//! announces, spawns a task or copies a large frame more than once.

mod decode;
mod rx;
mod tx;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use self::rx::FrameRx;
pub(crate) use self::tx::FrameTx;

/// The bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// Whether the transport that a stream belongs to was closed: tells our own closing from a
/// connection given up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closed(Arc<AtomicBool>);

impl Closed {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
