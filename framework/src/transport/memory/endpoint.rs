//! One endpoint: it dials, accepts, and knows who it is.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;

use super::halves::{Receiver, Sender};
use super::links::{Dial, Link, wait};
use super::network::{Death, Hub, forget};
use super::pipe::Pipe;
use crate::error::TransportError;
use crate::transport::{Admission, Duplex, Incoming, Lane, Transport};
use crate::types::{Member, PeerId};

/// How many streams may wait to be accepted; a dial beyond that waits.
const BACKLOG: usize = 128;

/// The code of a dial that the peer's own admission refused.
const NOT_ADMITTED: u64 = 0;

#[derive(Default)]
struct State {
    closed: bool,
    backlog: VecDeque<Incoming>,
    admission: Option<Admission>,
    /// Calls of `accept` that wait for a dial.
    acceptors: Vec<Waker>,
    /// Dials that wait for room in the backlog.
    dials: Vec<Waker>,
}

/// What the hub knows of an endpoint.
pub(super) struct Endpoint {
    pub(super) name: String,
    identity: PeerId,
    state: Mutex<State>,
}

impl Endpoint {
    pub(super) fn new(name: &str, identity: PeerId) -> Self {
        Self { name: name.to_owned(), identity, state: Mutex::new(State::default()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Accepts and dials no more. Returns the streams that nobody has accepted, or `None` when it
    /// was shut already.
    pub(super) fn shut(&self) -> Option<VecDeque<Incoming>> {
        let (waiting, backlog) = {
            let mut state = self.lock();
            if std::mem::replace(&mut state.closed, true) {
                return None;
            }
            let mut waiting = std::mem::take(&mut state.acceptors);
            waiting.append(&mut state.dials);
            (waiting, std::mem::take(&mut state.backlog))
        };
        waiting.into_iter().for_each(Waker::wake);
        Some(backlog)
    }

    /// Hands `incoming` to this endpoint, waiting for room; fails when it is closed.
    async fn offer(&self, incoming: Incoming) -> Result<(), ()> {
        let mut incoming = Some(incoming);
        let acceptors = poll_fn(|cx| {
            let mut state = self.lock();
            if state.closed {
                return Poll::Ready(Err(()));
            }
            if state.backlog.len() >= BACKLOG {
                wait(&mut state.dials, cx);
                return Poll::Pending;
            }
            state.backlog.extend(incoming.take());
            Poll::Ready(Ok(std::mem::take(&mut state.acceptors)))
        })
        .await?;
        acceptors.into_iter().for_each(Waker::wake);
        Ok(())
    }

    async fn accept(&self) -> Result<Incoming, TransportError> {
        let (incoming, dials) = poll_fn(|cx| {
            let mut state = self.lock();
            if state.closed {
                return Poll::Ready(Err(TransportError::Closed));
            }
            if let Some(incoming) = state.backlog.pop_front() {
                return Poll::Ready(Ok((incoming, std::mem::take(&mut state.dials))));
            }
            wait(&mut state.acceptors, cx);
            Poll::Pending
        })
        .await?;
        dials.into_iter().for_each(Waker::wake);
        Ok(incoming)
    }
}

/// One endpoint of a [`MemoryNetwork`](super::MemoryNetwork). Its address is its name. Clones are
/// the same endpoint; it closes when the last one is dropped.
#[derive(Clone)]
pub struct MemoryTransport(Arc<Handle>);

struct Handle {
    hub: Arc<Hub>,
    endpoint: Arc<Endpoint>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.hub.close(&self.endpoint);
    }
}

impl MemoryTransport {
    pub(super) fn new(hub: Arc<Hub>, endpoint: Arc<Endpoint>) -> Self {
        Self(Arc::new(Handle { hub, endpoint }))
    }

    /// Like [`Transport::connect`], but the sink checks nothing, so that a test can play a peer that
    /// sends frames which are empty or longer than a frame may be.
    pub async fn connect_unchecked(&self, peer: &Member, lane: Lane) -> Result<Duplex, TransportError> {
        self.open(peer, lane, false).await
    }

    async fn open(&self, peer: &Member, lane: Lane, checked: bool) -> Result<Duplex, TransportError> {
        let Handle { hub, endpoint: local } = &*self.0;
        if local.is_closed() {
            return Err(TransportError::Closed);
        }
        let unreachable = || TransportError::Unreachable {
            peer: peer.identity.clone(),
            address: peer.address.clone(),
            source: None,
        };
        let (there, back) = (hub.link(&local.name, &peer.address), hub.link(&peer.address, &local.name));
        for delay in [there.delay(0), back.delay(0)].into_iter().flatten() {
            delay.await;
        }
        match (there.dial().await, back.dial().await) {
            (Dial::Cut, _) | (_, Dial::Cut) => return Err(unreachable()),
            (Dial::Refused(code), _) => return Err(TransportError::Refused { code }),
            (Dial::Open, _) => {}
        }
        let remote = hub.endpoint(&peer.address).ok_or_else(unreachable)?;
        if remote.identity != peer.identity {
            return Err(TransportError::WrongPeer {
                address: peer.address.clone(),
                expected: peer.identity.clone(),
            });
        }
        let admission = remote.lock().admission.clone();
        if admission.is_some_and(|admits| !admits(&local.identity, lane)) {
            return Err(TransportError::Refused { code: NOT_ADMITTED });
        }
        let (ours, theirs) = self.duplex(&there, &back, checked);
        let incoming = Incoming { peer: local.identity.clone(), lane, stream: theirs };
        remote.offer(incoming).await.map_err(|()| unreachable())?;
        if local.is_closed() {
            return Err(TransportError::Closed);
        }
        Ok(ours)
    }

    /// Both ends of a new stream: ours, and the peer's.
    fn duplex(&self, there: &Arc<Link>, back: &Arc<Link>, checked: bool) -> (Duplex, Duplex) {
        let queue_bytes = self.0.hub.queue_bytes;
        let (out, into) = (Pipe::new(there, back, queue_bytes), Pipe::new(back, there, queue_bytes));
        let end = |tx: &Arc<Pipe>, rx: &Arc<Pipe>, checked| {
            let receiver = Receiver { pipe: rx.clone(), ended: false };
            Duplex::new(Sender { pipe: tx.clone(), checked }, receiver)
        };
        (end(&out, &into, checked), end(&into, &out, true))
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn identity(&self) -> PeerId {
        self.0.endpoint.identity.clone()
    }

    fn address(&self) -> String {
        self.0.endpoint.name.clone()
    }

    async fn connect(&self, peer: &Member, lane: Lane) -> Result<Duplex, TransportError> {
        self.open(peer, lane, true).await
    }

    async fn accept(&self) -> Result<Incoming, TransportError> {
        self.0.endpoint.accept().await
    }

    fn reset(&self, peer: &PeerId) {
        let Handle { hub, endpoint } = &*self.0;
        for (there, back) in hub.links_with(&endpoint.name, |remote| remote.identity == *peer) {
            forget(&there, &back, Death::Reset);
        }
    }

    async fn close(&self) {
        self.0.hub.close(&self.0.endpoint);
    }

    fn set_admission(&self, admission: Admission) {
        self.0.endpoint.lock().admission = Some(admission);
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryTransport({})", self.0.endpoint.name)
    }
}
