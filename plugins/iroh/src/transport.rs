//! The transport itself.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use iroh::Endpoint;
use quorate::error::TransportError;
use quorate::transport::{Admission, Duplex, Incoming, Lane, Transport};
use quorate::types::{Member, PeerId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::builder::IrohBuilder;
use crate::error::{DialError, DialFailure};
use crate::hint::Hint;
use crate::key::{NodeKey, endpoint_id};
use crate::shared::Shared;

/// Streams between nodes over QUIC, where a node is its public key.
///
/// A member's address is `ip:port`, or several of the same node separated by commas. It is a hint:
/// whoever answers there must prove the member's key.
///
/// Close it with [`Transport::close`]: peers then learn at once that it is gone. Dropped without,
/// it does the same in the background, as long as its runtime lives.
#[derive(Debug)]
pub struct IrohTransport {
    identity: PeerId,
    address: String,
    shared: Arc<Shared>,
    incoming: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
    tasks: Tasks,
}

impl IrohTransport {
    /// Begins to set up a transport that proves `key`.
    pub fn builder(key: NodeKey) -> IrohBuilder {
        IrohBuilder::new(key)
    }

    /// A transport that proves `key` and listens on `listen`, as in `127.0.0.1:7000`, with every
    /// other setting at its default.
    ///
    /// # Errors
    /// [`TransportError::Address`] when `listen` is not of the form `ip:port`, and those of
    /// [`IrohBuilder::bind`].
    pub async fn bind(key: NodeKey, listen: &str) -> Result<Self, TransportError> {
        let address = listen
            .parse()
            .map_err(|_| TransportError::Address { address: listen.to_owned(), expected: "ip:port" })?;
        Self::builder(key).listen(address).bind().await
    }

    pub(crate) fn new(
        identity: PeerId,
        address: String,
        shared: Arc<Shared>,
        incoming: mpsc::Receiver<Incoming>,
        tasks: Tasks,
    ) -> Self {
        Self { identity, address, shared, incoming: tokio::sync::Mutex::new(incoming), tasks }
    }
}

#[async_trait]
impl Transport for IrohTransport {
    fn identity(&self) -> PeerId {
        self.identity.clone()
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn connect(&self, member: &Member, lane: Lane) -> Result<Duplex, TransportError> {
        if self.shared.closed.is_set() {
            return Err(TransportError::Closed);
        }
        let hint: Hint = member.address.parse()?;
        if member.identity == self.identity {
            return Err(DialFailure::Unreachable(DialError::OwnKey).for_member(member));
        }
        let Some(peer) = endpoint_id(&member.identity) else {
            return Err(DialFailure::WrongPeer.for_member(member));
        };
        self.shared.connect(peer, &hint, lane).await.map_err(|failure| match failure {
            _ if self.shared.closed.is_set() => TransportError::Closed,
            failure => failure.for_member(member),
        })
    }

    async fn accept(&self) -> Result<Incoming, TransportError> {
        let mut closing = self.shared.closing.subscribe();
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => Err(TransportError::Closed),
            incoming = async { self.incoming.lock().await.recv().await } => {
                incoming.ok_or(TransportError::Closed)
            }
        }
    }

    fn reset(&self, peer: &PeerId) {
        if let Some(peer) = endpoint_id(peer) {
            self.shared.peers.reset(peer);
        }
    }

    async fn close(&self) {
        if let Some(endpoint) = self.shared.begin_close() {
            self.tasks.finish(endpoint);
        }
        let mut done = self.tasks.done.subscribe();
        let in_time = timeout(self.shared.timeouts.close, done.wait_for(|done| *done)).await;
        if in_time.is_err() {
            tracing::warn!(limit = ?self.shared.timeouts.close, "not every peer was told of the close");
        }
    }

    fn set_admission(&self, admission: Admission) {
        self.shared.gate.set(admission);
    }
}

impl Drop for IrohTransport {
    fn drop(&mut self) {
        if let Some(endpoint) = self.shared.begin_close() {
            self.tasks.finish(endpoint);
        }
    }
}

/// The tasks of a transport, and their end.
#[derive(Debug)]
pub(crate) struct Tasks {
    runtime: Handle,
    /// The socket's own address.
    bound: SocketAddr,
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// Becomes `true` when the endpoint is closed and all tasks have ended.
    done: watch::Sender<bool>,
}

impl Tasks {
    pub(crate) fn new(bound: SocketAddr, accepting: JoinHandle<()>) -> Self {
        let accepting = Mutex::new(Some(accepting));
        Self { runtime: Handle::current(), bound, accepting, done: watch::Sender::new(false) }
    }

    /// Closes the endpoint, waits for the tasks and says so. In a task of its own: half-way, an
    /// endpoint could neither be closed again nor dropped without an error in the log.
    fn finish(&self, endpoint: Endpoint) {
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (bound, done) = (self.bound, self.done.clone());
        self.runtime.spawn(async move {
            endpoint.close().await;
            drop(endpoint);
            if let Some(accepting) = accepting
                && let Err(error) = accepting.await
            {
                tracing::error!(%error, "the task that accepts connections failed");
            }
            freed(bound).await;
            done.send_replace(true);
        });
    }
}

/// Waits until the socket at `bound` is gone, so that the port can be used again: tasks of iroh
/// outlive their endpoint by a moment and hold it, and cannot be waited for. A stream that somebody
/// still has holds it too, so the wait is short.
async fn freed(bound: SocketAddr) {
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        if UdpSocket::bind(bound).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
