//! A transport over the one in memory that can be broken in one way.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, Sink, SinkExt};
use quorate::error::TransportError;
use quorate::testing::transport::TransportHarness;
use quorate::transport::{Duplex, FrameSink, Incoming, Lane, MemoryNetwork, MemoryTransport, Transport};
use quorate::types::{Member, PeerId};

/// One way to be broken: everything that it does not override is right.
pub(crate) trait Break: Send + Sync + Unpin + 'static {
    const QUEUE_BYTES: usize = MemoryNetwork::QUEUE_BYTES;
    /// Whether the length of frames goes unchecked.
    const UNCHECKED: bool = false;
    /// Whether whoever answers is the right one.
    const TRUSTS_ADDRESSES: bool = false;
    /// Whether a sink that is dropped closes, and does not reset.
    const DROP_CLOSES: bool = false;
    /// Whether a close is forgotten, so that the drop after it resets.
    const FORGETS_CLOSE: bool = false;
    /// Whether the control lane waits once any other is full.
    const ONE_QUEUE: bool = false;
    /// Whether a reset does nothing.
    const IGNORES_RESET: bool = false;

    /// What goes out when `frame` goes in; `kept` is kept for later.
    fn send(frame: Bytes, kept: &mut Vec<Bytes>) -> Vec<Bytes> {
        let _ = kept;
        vec![frame]
    }

    fn accepted(incoming: Incoming) -> Incoming {
        incoming
    }

    fn error(error: TransportError) -> TransportError {
        error
    }
}

/// What the endpoints of a case share.
pub(crate) struct Network {
    hub: MemoryNetwork,
    count: AtomicUsize,
    /// How many streams are full.
    full: Arc<AtomicUsize>,
}

pub(crate) struct Broken<B> {
    inner: MemoryTransport,
    full: Arc<AtomicUsize>,
    how: PhantomData<B>,
}

struct BrokenSink<B: Break> {
    inner: FrameSink,
    lane: Lane,
    kept: Vec<Bytes>,
    full: Arc<AtomicUsize>,
    how: PhantomData<B>,
}

impl<B: Break> Sink<Bytes> for BrokenSink<B> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if B::ONE_QUEUE && self.lane == Lane::Control && self.full.load(Ordering::SeqCst) > 0 {
            return Poll::Pending;
        }
        let ready = self.inner.poll_ready_unpin(cx);
        if ready.is_pending() {
            self.full.fetch_add(1, Ordering::SeqCst);
        }
        ready
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> Result<(), TransportError> {
        for frame in B::send(frame, &mut self.kept) {
            self.inner.start_send_unpin(frame)?;
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if B::FORGETS_CLOSE { Poll::Ready(Ok(())) } else { self.inner.poll_close_unpin(cx) }
    }
}

impl<B: Break> Drop for BrokenSink<B> {
    fn drop(&mut self) {
        if B::DROP_CLOSES {
            let _ = self.inner.close().now_or_never();
        }
    }
}

impl<B: Break> Broken<B> {
    fn wrap(&self, lane: Lane, stream: Duplex) -> Duplex {
        let (full, kept) = (self.full.clone(), Vec::new());
        Duplex::new(BrokenSink::<B> { inner: stream.tx, lane, kept, full, how: PhantomData }, stream.rx)
    }

    async fn dial(&self, peer: &Member, lane: Lane) -> Result<Duplex, TransportError> {
        if B::UNCHECKED {
            return self.inner.connect_unchecked(peer, lane).await;
        }
        match self.inner.connect(peer, lane).await {
            Err(TransportError::WrongPeer { .. }) if B::TRUSTS_ADDRESSES => {
                let identity = PeerId::new(peer.address.clone()).expect("a name");
                self.inner.connect(&Member { identity, ..peer.clone() }, lane).await
            }
            dialled => dialled,
        }
    }
}

#[async_trait]
impl<B: Break> Transport for Broken<B> {
    fn identity(&self) -> PeerId {
        self.inner.identity()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    async fn connect(&self, peer: &Member, lane: Lane) -> Result<Duplex, TransportError> {
        Ok(self.wrap(lane, self.dial(peer, lane).await.map_err(B::error)?))
    }

    async fn accept(&self) -> Result<Incoming, TransportError> {
        let incoming = self.inner.accept().await.map_err(B::error)?;
        let stream = self.wrap(incoming.lane, incoming.stream);
        Ok(B::accepted(Incoming { stream, ..incoming }))
    }

    fn reset(&self, peer: &PeerId) {
        if !B::IGNORES_RESET {
            self.inner.reset(peer);
        }
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

impl<B: Break> TransportHarness for Broken<B> {
    type Transport = Broken<B>;
    type Network = Network;

    /// Some breaks can only show by hanging.
    const LIMIT: Duration =
        if B::IGNORES_RESET || B::ONE_QUEUE { Duration::from_secs(4) } else { Duration::from_mins(1) };

    fn network() -> Network {
        let hub = MemoryNetwork::with_queue_bytes(B::QUEUE_BYTES);
        Network { hub, count: AtomicUsize::new(0), full: Arc::default() }
    }

    async fn bind(network: &Network) -> Result<Self, TransportError> {
        let number = network.count.fetch_add(1, Ordering::SeqCst);
        let inner = network.hub.endpoint(&format!("n{number}"));
        Ok(Broken { inner, full: network.full.clone(), how: PhantomData })
    }
}
