//! A transport whose connections to a peer can be cut or garbled, whatever carries them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Sink, Stream};
use quorate::error::TransportError;
use quorate::transport::{Admission, Duplex, FrameSink, FrameStream, Incoming, Lane, Transport};
use quorate::types::{Member, PeerId};

/// The least length of a frame that is garbled: with so many bytes it has entries.
pub const GARBLED_BYTES: usize = 1_000;

/// The kind of a frame with entries, in its second byte.
const APPEND: u8 = 5;

/// Who is cut off, shared between a transport and the test.
#[derive(Clone, Debug, Default)]
pub struct Cuts(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    cut: BTreeSet<PeerId>,
    /// How many frames from a peer are still to be garbled.
    garbled: BTreeMap<PeerId, u32>,
    waiting: Vec<Waker>,
}

impl Cuts {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing passes to or from `peer` any more: open streams stall, new ones are unreachable.
    pub fn cut(&self, peer: PeerId) {
        self.with(|state| state.cut.insert(peer));
    }

    /// Flips a byte in an entry of each of the next `frames` frames with entries from `peer`.
    pub fn garble(&self, peer: PeerId, frames: u32) {
        self.with(|state| state.garbled.insert(peer, frames));
    }

    /// How many frames from `peer` are still to be garbled.
    pub fn to_garble(&self, peer: &PeerId) -> u32 {
        self.with(|state| state.garbled.get(peer).copied().unwrap_or_default())
    }

    fn pass(&self, peer: &PeerId, frame: Bytes) -> Bytes {
        let garbles = |state: &mut State| match state.garbled.get_mut(peer) {
            Some(frames) if *frames > 0 && frame.len() >= GARBLED_BYTES && frame[1] == APPEND => {
                *frames -= 1;
                true
            }
            _ => false,
        };
        if !self.with(garbles) {
            return frame;
        }
        let mut garbled = frame.to_vec();
        let at = garbled.len() - GARBLED_BYTES / 2;
        garbled[at] ^= 0x10;
        garbled.into()
    }

    /// Everything passes again.
    pub fn heal(&self) {
        let waiting = self.with(|state| {
            state.cut.clear();
            std::mem::take(&mut state.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    fn is_cut(&self, peer: &PeerId) -> bool {
        self.with(|state| state.cut.contains(peer))
    }

    fn poll(&self, peer: &PeerId, cx: &Context<'_>) -> Poll<()> {
        self.with(|state| {
            if state.cut.contains(peer) {
                state.waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
    }

    fn wrap(&self, peer: &PeerId, stream: Duplex) -> Duplex {
        let (cuts, peer) = (self.clone(), peer.clone());
        let tx = CutSink { inner: stream.tx, cuts: cuts.clone(), peer: peer.clone() };
        Duplex::new(tx, CutStream { inner: stream.rx, cuts, peer })
    }
}

struct CutSink {
    inner: FrameSink,
    cuts: Cuts,
    peer: PeerId,
}

impl Sink<Bytes> for CutSink {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.cuts.poll(&self.peer, cx).is_pending() {
            return Poll::Pending;
        }
        self.inner.as_mut().poll_ready(cx)
    }
    fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> Result<(), TransportError> {
        self.inner.as_mut().start_send(frame)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.cuts.poll(&self.peer, cx).is_pending() {
            return Poll::Pending;
        }
        self.inner.as_mut().poll_flush(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.cuts.poll(&self.peer, cx).is_pending() {
            return Poll::Pending;
        }
        self.inner.as_mut().poll_close(cx)
    }
}

struct CutStream {
    inner: FrameStream,
    cuts: Cuts,
    peer: PeerId,
}

impl Stream for CutStream {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.cuts.poll(&self.peer, cx).is_pending() {
            return Poll::Pending;
        }
        let frame = std::task::ready!(self.inner.as_mut().poll_next(cx));
        Poll::Ready(frame.map(|frame| frame.map(|frame| self.cuts.pass(&self.peer, frame))))
    }
}

/// A transport that can be cut.
#[derive(Debug)]
pub struct Cut<T> {
    /// The transport underneath.
    pub inner: T,
    /// Who is cut off.
    pub cuts: Cuts,
}

#[async_trait]
impl<T: Transport> Transport for Cut<T> {
    fn identity(&self) -> PeerId {
        self.inner.identity()
    }
    fn address(&self) -> String {
        self.inner.address()
    }
    async fn connect(&self, peer: &Member, lane: Lane) -> Result<Duplex, TransportError> {
        if self.cuts.is_cut(&peer.identity) {
            let (peer, address) = (peer.identity.clone(), peer.address.clone());
            return Err(TransportError::Unreachable { peer, address, source: None });
        }
        Ok(self.cuts.wrap(&peer.identity, self.inner.connect(peer, lane).await?))
    }
    async fn accept(&self) -> Result<Incoming, TransportError> {
        let Incoming { peer, lane, stream } = self.inner.accept().await?;
        let stream = self.cuts.wrap(&peer, stream);
        Ok(Incoming { peer, lane, stream })
    }
    fn reset(&self, peer: &PeerId) {
        self.inner.reset(peer);
    }
    async fn close(&self) {
        self.inner.close().await;
    }
    fn set_admission(&self, admission: Admission) {
        self.inner.set_admission(admission);
    }
}
