//! A node's connection to the network.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use quorate::error::TransportError;
use quorate::transport::{Admission, Duplex, Incoming, Lane, Transport};
use quorate::types::{Member, PeerId};

use super::hub::{Dialled, Hub};
use super::stream::halves;
use super::{Death, Wire, address, node_at};
use crate::runtime::{SimSleep, time};

/// How long a dial into nothing takes to fail.
const DIAL: Duration = Duration::from_secs(1);
/// The code of a dial that a link refuses.
const REFUSED: u64 = 1;
/// The code of a dial that the peer's admission refuses.
const NOT_ADMITTED: u64 = 2;

/// The transport of one boot of a node.
pub struct SimTransport {
    wire: Wire,
    node: u64,
    identity: PeerId,
    boot: u64,
}

impl SimTransport {
    pub(super) fn new(wire: Wire, node: u64, identity: PeerId, boot: u64) -> Self {
        Self { wire, node, identity, boot }
    }
}

/// What a dial comes to when it gets there.
enum Answer {
    Stream(u64),
    Failed(TransportError),
    Silence,
}

impl SimTransport {
    fn dial(&self, hub: &mut Hub, peer: &Member, lane: Lane) -> Answer {
        let unreachable = || Answer::Failed(unreachable(peer));
        let Some(to) = node_at(&peer.address) else {
            let (address, expected) = (peer.address.clone(), "sim:number");
            return Answer::Failed(TransportError::Address { address, expected });
        };
        if hub.is_cut(self.node, to) || hub.is_cut(to, self.node) {
            return Answer::Silence;
        }
        let link = hub.link(self.node, to);
        if link.refuses {
            link.has_refused = true;
            hub.events.refused += 1;
            return Answer::Failed(TransportError::Refused { code: REFUSED });
        }
        let Some(endpoint) = hub.endpoints.get(&to) else { return unreachable() };
        if !endpoint.open {
            return if endpoint.powered { unreachable() } else { Answer::Silence };
        }
        if hub.identity(to) != peer.identity {
            let (address, expected) = (peer.address.clone(), peer.identity.clone());
            return Answer::Failed(TransportError::WrongPeer { address, expected });
        }
        let admission = endpoint.admission.clone();
        if admission.is_some_and(|admits| !admits(&self.identity, lane)) {
            return Answer::Failed(TransportError::Refused { code: NOT_ADMITTED });
        }
        Answer::Stream(hub.open_stream(self.node, to, lane))
    }

    fn closed(&self) -> Result<(), TransportError> {
        if self.wire.lock().is_open(self.node, self.boot) { Ok(()) } else { Err(TransportError::Closed) }
    }
}

fn unreachable(peer: &Member) -> TransportError {
    TransportError::Unreachable { peer: peer.identity.clone(), address: peer.address.clone(), source: None }
}

#[async_trait]
impl Transport for SimTransport {
    fn identity(&self) -> PeerId {
        self.identity.clone()
    }

    fn address(&self) -> String {
        address(self.node)
    }

    async fn connect(&self, peer: &Member, lane: Lane) -> Result<Duplex, TransportError> {
        self.closed()?;
        let began = time();
        if let Some(to) = node_at(&peer.address) {
            let there = self.wire.lock().due(self.node, to);
            SimSleep::exactly(there.saturating_sub(began)).await;
        }
        self.closed()?;
        let answer = self.dial(&mut self.wire.lock(), peer, lane);
        match answer {
            Answer::Failed(error) => Err(error),
            Answer::Silence => {
                SimSleep::exactly((began + DIAL).saturating_sub(time())).await;
                Err(unreachable(peer))
            }
            Answer::Stream(stream) => {
                let ours = halves(&self.wire, stream, 0);
                let to = node_at(&peer.address).ok_or_else(|| unreachable(peer))?;
                let woken = self.wire.lock().offer(to, Dialled { peer: self.identity.clone(), lane, stream });
                woken.wake();
                Ok(ours)
            }
        }
    }

    async fn accept(&self) -> Result<Incoming, TransportError> {
        poll_fn(|cx| {
            let mut hub = self.wire.lock();
            if !hub.is_open(self.node, self.boot) {
                return Poll::Ready(Err(TransportError::Closed));
            }
            let Some(endpoint) = hub.endpoints.get_mut(&self.node) else { return Poll::Pending };
            let Some(Dialled { peer, lane, stream }) = endpoint.backlog.pop_front() else {
                endpoint.acceptor = Some(cx.waker().clone());
                return Poll::Pending;
            };
            drop(hub);
            let stream = halves(&self.wire, stream, 1);
            Poll::Ready(Ok(Incoming { peer, lane, stream }))
        })
        .await
    }

    fn reset(&self, peer: &PeerId) {
        let mut hub = self.wire.lock();
        if !hub.is_open(self.node, self.boot) {
            return;
        }
        let Some(other) = hub.endpoints.keys().copied().find(|node| hub.identity(*node) == *peer) else {
            return;
        };
        let own = self.node;
        let woken = hub.end_streams(own, other, |stream| {
            Some([stream.pipes[0].from == own, stream.pipes[1].from == own])
        });
        drop(hub);
        woken.wake();
    }

    async fn close(&self) {
        if self.closed().is_ok() {
            self.wire.kill(self.node, Death::Process);
        }
    }

    fn set_admission(&self, admission: Admission) {
        let mut hub = self.wire.lock();
        if hub.is_open(self.node, self.boot)
            && let Some(endpoint) = hub.endpoints.get_mut(&self.node)
        {
            endpoint.admission = Some(admission);
        }
    }
}

impl fmt::Debug for SimTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimTransport(n{}, boot {})", self.node, self.boot)
    }
}
