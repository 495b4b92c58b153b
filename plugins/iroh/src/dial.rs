//! Reaching a peer: the connection at hand, or a new one.

use std::sync::atomic::Ordering;

use futures::StreamExt;
use iroh::endpoint::{ConnectOptions, Connection};
use iroh::{Endpoint, EndpointAddr, EndpointId, TransportAddr};
use quorate::transport::{Duplex, Lane};
use tokio::time::timeout;

use crate::error::{DialError, DialFailure};
use crate::frame::{FrameRx, FrameTx};
use crate::hint::Hint;
use crate::peers::Ground;
use crate::shared::Shared;
use crate::wire::{Plane, code, for_key, head, priority, quic_code};

/// A connection, and whether it was made for this call.
struct Reached {
    connection: Connection,
    is_new: bool,
}

impl Shared {
    /// A stream to `peer` for `lane`, on the connection at hand or on a new one.
    pub(crate) async fn connect(
        &self,
        peer: EndpointId,
        hint: &Hint,
        lane: Lane,
    ) -> Result<Duplex, DialFailure> {
        let reached = self.reach(peer, Plane::of(lane), hint).await?;
        match self.open(&reached.connection, lane).await {
            // It had ended before we noticed.
            Err(_) if !reached.is_new && reached.connection.close_reason().is_some() => {
                let reached = self.reach(peer, Plane::of(lane), hint).await?;
                self.open(&reached.connection, lane).await
            }
            opened => opened,
        }
    }

    /// The connection to `peer` for `plane`, dialled at `hint` unless there is one.
    async fn reach(&self, peer: EndpointId, plane: Plane, hint: &Hint) -> Result<Reached, DialFailure> {
        let at_hand = || {
            let connection = self.peers.dialled(peer, plane, hint)?;
            Some(Reached { connection, is_new: false })
        };
        if let Some(reached) = at_hand() {
            return Ok(reached);
        }
        let dials = self.peers.dials(peer, plane);
        let failed = dials.failed();
        let mut last_failure = dials.last_failure.lock().await;
        if let Some(reached) = at_hand() {
            return Ok(reached);
        }
        // A queue of callers would else wait for a dead peer one after the other.
        if dials.failed() != failed
            && let Some((_, failure)) = last_failure.as_ref().filter(|(tried, _)| tried == hint)
        {
            return Err(failure.clone());
        }
        match self.dial_in_time(peer, plane, hint).await {
            Ok(connection) => Ok(Reached { connection, is_new: true }),
            Err(failure) => {
                tracing::debug!(peer = %peer.fmt_short(), %hint, ?failure, "dial failed");
                *last_failure = Some((hint.clone(), failure.clone()));
                dials.failed.fetch_add(1, Ordering::Release);
                Err(failure)
            }
        }
    }

    /// Opens a stream for `lane` on `connection`.
    async fn open(&self, connection: &Connection, lane: Lane) -> Result<Duplex, DialFailure> {
        let opening = async {
            let (mut send, recv) = connection.open_bi().await?;
            // Fails, as does what follows, when the connection has just ended.
            let _ = send.set_priority(priority(lane));
            // Sent at once: a peer learns of a stream by its first bytes.
            if send.write_all(&head(lane)).await.is_err() {
                return Err(connection.closed().await);
            }
            Ok((send, recv))
        };
        match timeout(self.timeouts.dial, opening).await {
            Ok(Ok((send, recv))) => Ok(Duplex::new(
                FrameTx::new(send, self.closed.clone()),
                FrameRx::new(recv, self.closed.clone()),
            )),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(DialFailure::Unreachable(DialError::TooManyStreams)),
        }
    }

    async fn dial_in_time(
        &self,
        peer: EndpointId,
        plane: Plane,
        hint: &Hint,
    ) -> Result<Connection, DialFailure> {
        let limit = self.timeouts.dial + self.timeouts.suspect;
        let endpoint = self.endpoint().ok_or(DialFailure::Closed)?;
        let mut closing = self.closing.subscribe();
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => Err(DialFailure::Closed),
            dialled = timeout(limit, self.dial(&endpoint, peer, plane, hint)) => {
                dialled.unwrap_or_else(|_| Err(DialFailure::timed_out(limit)))
            }
        }
    }

    async fn dial(
        &self,
        endpoint: &Endpoint,
        peer: EndpointId,
        plane: Plane,
        hint: &Hint,
    ) -> Result<Connection, DialFailure> {
        loop {
            let mut ground = self.peers.prepare(peer, hint, self.timeouts.idle);
            self.settle(&mut ground).await;
            let limit = if ground.may_suspect { self.timeouts.suspect } else { self.timeouts.dial };
            let handshake = timeout(limit, self.handshake(endpoint, peer, plane, hint));
            let outcome = tokio::select! {
                biased;
                _ = ground.resets.changed() => continue,
                outcome = handshake => outcome,
            };
            match outcome {
                Ok(connected) => {
                    let connection = connected?;
                    if self.peers.keep(peer, plane, hint.clone(), &connection, &ground) {
                        tracing::debug!(peer = %peer.fmt_short(), %hint, ?plane, "connected");
                        return Ok(connection);
                    }
                    // Merely dropped, it would say that this transport was closed.
                    connection.close(quic_code(code::GIVEN_UP), b"given up");
                }
                Err(_) if ground.may_suspect => {
                    tracing::debug!(peer = %peer.fmt_short(), %hint, "older connections given up");
                    self.peers.suspect(peer);
                }
                Err(_) => return Err(DialFailure::timed_out(limit)),
            }
        }
    }

    async fn handshake(
        &self,
        endpoint: &Endpoint,
        peer: EndpointId,
        plane: Plane,
        hint: &Hint,
    ) -> Result<Connection, DialFailure> {
        let addresses = hint.addresses().iter().copied().map(TransportAddr::Ip);
        // The relays of a cluster are the same for all its nodes.
        let relays = self.relays.iter().cloned().map(TransportAddr::Relay);
        let address = EndpointAddr::from_parts(peer, addresses.chain(relays));
        let options = ConnectOptions::new()
            .with_additional_alpns(vec![for_key(peer)])
            // The peer opens no streams on connections that we made.
            .with_transport_config(self.timeouts.quic(0));
        let connecting = endpoint
            .connect_with_opts(address, plane.alpn(), options)
            .await
            .map_err(|source| DialFailure::from(iroh::endpoint::ConnectError::from(source)))?;
        connecting.await.map_err(|source| iroh::endpoint::ConnectError::from(source).into())
    }

    /// Waits until iroh has noticed which connections are closed. Without it the first packet may
    /// still go to where the peer was before. It takes microseconds; the limit is for the case
    /// that iroh is stuck, and the dial then fails by its own limit.
    async fn settle(&self, ground: &mut Ground) {
        let settled = async {
            for mut events in ground.settling.drain(..) {
                while events.next().await.is_some() {}
            }
        };
        let _ = timeout(self.timeouts.suspect, settled).await;
    }
}
