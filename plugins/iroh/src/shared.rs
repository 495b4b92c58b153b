//! What the tasks and streams of one transport have in common.

use std::sync::{Mutex, PoisonError};

use iroh::{Endpoint, RelayUrl};
use tokio::sync::watch;

use crate::admission::Gate;
use crate::frame::Closed;
use crate::peers::Peers;
use crate::settings::{Limits, Timeouts};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) peers: Peers,
    pub(crate) gate: Gate,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    /// Tried beside a peer's own addresses.
    pub(crate) relays: Vec<RelayUrl>,
    /// Read by every stream, to tell our own closing from a loss.
    pub(crate) closed: Closed,
    /// Becomes `true` when the transport is closed: ends every task and wait.
    pub(crate) closing: watch::Sender<bool>,
    /// Taken out when the transport is closed, as the last clone holds the socket.
    endpoint: Mutex<Option<Endpoint>>,
}

impl Shared {
    pub(crate) fn new(
        endpoint: Endpoint,
        gate: Gate,
        timeouts: Timeouts,
        limits: Limits,
        relays: Vec<RelayUrl>,
    ) -> Self {
        Self {
            peers: Peers::default(),
            gate,
            timeouts,
            limits,
            relays,
            closed: Closed::default(),
            closing: watch::Sender::new(false),
            endpoint: Mutex::new(Some(endpoint)),
        }
    }

    /// The endpoint, until the transport is closed.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to close: every wait ends, nothing new begins. Gives the endpoint, which is yet to be
    /// closed, to the first who calls it.
    pub(crate) fn begin_close(&self) -> Option<Endpoint> {
        self.closed.set();
        self.closing.send_replace(true);
        self.peers.close();
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
