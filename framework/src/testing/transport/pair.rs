//! Two endpoints, and the steps that every case is made of.

use bytes::Bytes;
use futures::future::{join, try_join};
use futures::{SinkExt, StreamExt};

use super::TransportHarness;
use crate::error::TransportError;
use crate::testing::run::doing;
use crate::transport::{Duplex, FrameSink, FrameStream, Incoming, Lane, Transport};
use crate::types::Member;

pub(super) struct Pair<H: TransportHarness> {
    network: H::Network,
    pub(super) a: H::Transport,
    pub(super) b: H::Transport,
}

impl<H: TransportHarness> Pair<H> {
    pub(super) async fn new() -> Self {
        let network = H::network();
        let a = H::bind(&network).await.expect("an endpoint binds");
        let b = H::bind(&network).await.expect("an endpoint binds");
        assert_ne!(a.identity(), b.identity(), "each endpoint has an identity of its own");
        Self { network, a, b }
    }

    /// One more endpoint.
    pub(super) async fn another(&self) -> H::Transport {
        H::bind(&self.network).await.expect("an endpoint binds")
    }

    /// Both ends of a new stream from `a` to `b`.
    pub(super) async fn open(&self, lane: Lane) -> (Duplex, Duplex) {
        let (ours, incoming) = open(&self.a, &self.b, lane).await;
        (ours, incoming.stream)
    }
}

pub(super) fn member(of: &impl Transport) -> Member {
    Member::new(1, of.identity(), of.address())
}

/// A new stream.
pub(super) async fn open(from: &impl Transport, to: &impl Transport, lane: Lane) -> (Duplex, Incoming) {
    doing(format!("open a stream on {lane:?}"));
    let member = member(to);
    try_join(from.connect(&member, lane), to.accept()).await.expect("a stream opens")
}

/// A frame of `len` bytes that tells its number and is filled accordingly.
pub(super) fn frame(number: u64, len: usize) -> Bytes {
    let mut frame = vec![number as u8; len];
    for (byte, digit) in frame.iter_mut().zip(number.to_le_bytes()) {
        *byte = digit;
    }
    frame.into()
}

/// Queues every frame, then flushes.
pub(super) async fn send_all(tx: &mut FrameSink, frames: impl IntoIterator<Item = Bytes>) {
    for frame in frames {
        tx.feed(frame).await.expect("a frame is taken");
    }
    tx.flush().await.expect("the frames are sent");
}

/// Receives exactly these frames.
pub(super) async fn receive_all(rx: &mut FrameStream, frames: impl IntoIterator<Item = Bytes>) {
    for (number, expected) in frames.into_iter().enumerate() {
        doing(format!("wait for frame {number}"));
        assert_frame(number, &receive(rx).await, &expected);
    }
}

fn assert_frame(number: usize, found: &Bytes, expected: &Bytes) {
    assert!(
        found == expected,
        "frame {number} is another one: {} bytes {:?}.., expected {} bytes {:?}..",
        found.len(),
        found.slice(..found.len().min(16)),
        expected.len(),
        expected.slice(..expected.len().min(16)),
    );
}

/// The next frame.
pub(super) async fn receive(rx: &mut FrameStream) -> Bytes {
    match rx.next().await {
        Some(Ok(frame)) => frame,
        Some(Err(error)) => panic!("expected a frame, got {error:?}"),
        None => panic!("expected a frame, and the stream has ended"),
    }
}

/// How a stream ends, after any frames.
pub(super) async fn end_of(rx: &mut FrameStream) -> Result<(), TransportError> {
    doing("wait for the end of a stream");
    while let Some(frame) = rx.next().await {
        frame?;
    }
    Ok(())
}

/// Fails unless frames cross the stream in both directions.
pub(super) async fn ping(ours: &mut Duplex, theirs: &mut Duplex, number: u64) {
    let (there, back) = (frame(number, 20), frame(number + 1, 30));
    let asking = async {
        send_all(&mut ours.tx, [there.clone()]).await;
        assert_frame(0, &receive(&mut ours.rx).await, &back);
    };
    let answering = async {
        assert_frame(0, &receive(&mut theirs.rx).await, &there);
        send_all(&mut theirs.tx, [back.clone()]).await;
    };
    join(asking, answering).await;
}
