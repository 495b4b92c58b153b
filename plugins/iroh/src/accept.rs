//! Being reached: handshakes, and the streams that peers open. One bad peer costs itself only.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use iroh::endpoint::{Connection, Incoming as Attempt, RecvStream, SendStream, VarInt};
use iroh::{Endpoint, EndpointId};
use quorate::transport::{Duplex, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::frame::{FrameRx, FrameTx};
use crate::key::peer_id;
use crate::shared::Shared;
use crate::wire::{HEAD_BYTES, Plane, code, is_for_another, parse_head, priority, quic_code};

/// How long a dial meant for another key is left unanswered. Less than the time after which whoever
/// dials suspects older connections.
const YIELD_TO_ANOTHER: Duration = Duration::from_millis(200);

/// Accepts connections until the transport is closed, and has ended all their tasks when it ends.
pub(crate) async fn run(shared: Arc<Shared>, endpoint: Endpoint, queue: mpsc::Sender<Incoming>) {
    let limits = shared.limits;
    let handshakes = Arc::new(Semaphore::new(limits.handshakes));
    let mut connections = JoinSet::new();
    let mut closing = shared.closing.subscribe();
    let mut number = 0;
    loop {
        let attempt = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the task of a connection failed");
                }
                continue;
            }
            attempt = endpoint.accept() => attempt,
        };
        let Some(attempt) = attempt else { break };
        if connections.len() >= limits.connections {
            tracing::debug!(from = ?attempt.remote_addr(), "connection turned away: too many");
            attempt.refuse();
            continue;
        }
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            tracing::debug!(from = ?attempt.remote_addr(), "connection turned away: too many handshakes");
            attempt.refuse();
            continue;
        };
        // Under pressure, whoever begins a handshake must first show that packets reach it.
        if handshakes.available_permits() < limits.handshakes / 2 && !attempt.remote_addr_validated() {
            // Fails only for an address that is validated.
            let _ = attempt.retry();
            continue;
        }
        number += 1;
        let (shared, own_key, queue) = (Arc::clone(&shared), endpoint.id(), queue.clone());
        let link = Link { shared, own_key, number, queue };
        connections.spawn(link.run(attempt, permit));
    }
    // Before the last clone of the endpoint goes, so that nothing holds its socket afterwards.
    connections.shutdown().await;
}

/// One connection that a peer makes.
struct Link {
    shared: Arc<Shared>,
    own_key: EndpointId,
    number: u64,
    queue: mpsc::Sender<Incoming>,
}

impl Link {
    async fn run(self, attempt: Attempt, permit: OwnedSemaphorePermit) {
        let from = attempt.remote_addr();
        if self.is_for_another(&attempt) {
            // Whom it is for may be reached as well, and must be heard first. Who is not must
            // still learn that it is somebody else who is here.
            tokio::time::sleep(YIELD_TO_ANOTHER).await;
        }
        let handshake = async { attempt.accept()?.await };
        let connection = match timeout(self.shared.timeouts.handshake, handshake).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(?from, %error, "handshake failed"),
            Err(_) => return tracing::debug!(?from, "handshake not finished in time"),
        };
        drop(permit);
        let peer = connection.remote_id();
        // TLS accepts no other names than those we offer.
        let Some(plane) = Plane::from_alpn(connection.alpn()) else { return };
        connection.set_max_concurrent_bi_streams(VarInt::from_u32(plane.max_streams()));
        if self.shared.peers.accepted(peer, plane, self.number, &connection) {
            tracing::debug!(peer = %peer.fmt_short(), ?from, ?plane, "peer connected");
            let _ended = Ended { link: &self, peer, plane };
            self.serve(&connection, peer, plane).await;
        }
    }

    /// Whether the peer looks for another node at our address.
    fn is_for_another(&self, attempt: &Attempt) -> bool {
        let names = attempt.decrypt().and_then(|initial| initial.alpns());
        let names: Vec<_> = names.into_iter().flatten().map_while(Result::ok).collect();
        is_for_another(names.iter().map(|name| &name[..]), self.own_key)
    }

    /// Takes the streams of a connection until it ends.
    async fn serve(&self, connection: &Connection, peer: EndpointId, plane: Plane) {
        let mut heads = FuturesUnordered::new();
        loop {
            tokio::select! {
                stream = connection.accept_bi(), if heads.len() < self.shared.limits.heads => match stream {
                    Ok((send, recv)) => heads.push(self.receive(send, recv, peer, plane)),
                    Err(reason) => {
                        return tracing::debug!(peer = %peer.fmt_short(), %reason, "peer disconnected");
                    }
                },
                Some(incoming) = heads.next(), if !heads.is_empty() => {
                    // The queue ends with the transport.
                    if let Some(incoming) = incoming && self.queue.send(incoming).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Reads the head of a stream; `None` when the stream is refused.
    async fn receive(
        &self,
        send: SendStream,
        recv: RecvStream,
        peer: EndpointId,
        plane: Plane,
    ) -> Option<Incoming> {
        let mut stream = Undecided { send, recv, code: code::BAD_HEAD };
        let mut head = [0; HEAD_BYTES];
        let reading = stream.recv.read_exact(&mut head);
        let in_time = timeout(self.shared.timeouts.handshake, reading).await;
        let lane = in_time.is_ok_and(|read| read.is_ok()).then(|| parse_head(head, plane)).flatten();
        let Some(lane) = lane else {
            tracing::debug!(peer = %peer.fmt_short(), ?head, "stream refused: no head of this protocol");
            stream.refuse();
            return None;
        };
        let peer = peer_id(peer);
        if !self.shared.gate.admits(&peer, lane) {
            tracing::debug!(%peer, %lane, "stream refused: not admitted");
            stream.code = code::REFUSED;
            stream.refuse();
            return None;
        }
        let Undecided { send, recv, .. } = stream;
        // Fails when the stream has ended meanwhile; its user will see.
        let _ = send.set_priority(priority(lane));
        let closed = &self.shared.closed;
        let stream = Duplex::new(FrameTx::new(send, closed.clone()), FrameRx::new(recv, closed.clone()));
        Some(Incoming { peer, lane, stream })
    }
}

/// A stream that may yet be refused.
struct Undecided {
    send: SendStream,
    recv: RecvStream,
    code: u32,
}

impl Undecided {
    /// Both ways, with a code: a stream merely dropped would look finished to the peer.
    fn refuse(mut self) {
        // Either fails when the stream has ended anyhow.
        let _ = self.recv.stop(quic_code(self.code));
        let _ = self.send.reset(quic_code(self.code));
    }
}

/// Takes a connection off the books, also when its task is aborted.
struct Ended<'a> {
    link: &'a Link,
    peer: EndpointId,
    plane: Plane,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.link.shared.peers.ended(self.peer, self.plane, self.link.number);
    }
}
