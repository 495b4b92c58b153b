//! Steps 2 and 3 of a write: a node of the cluster, how it is configured, started, asked, stopped.
//!
//! A node is one group on a host. It routes a call to the leader, gathers proposals into entries,
//! serves reads, and tells how it is doing. What an entry is on the wire is in `format`, how it is
//! agreed upon in `engine`.

mod builder;
mod cluster;
pub mod config;
mod core;
mod forward;
pub(crate) mod handle;
mod join;
mod members;
mod propose;
mod read;
mod service;
mod session;
mod shutdown;
mod start;
pub mod status;
mod ticket;
mod write;

#[cfg(test)]
mod away;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::channel::oneshot;

pub use self::builder::{Builder, ClusterSlot, StorageSlot, TransportSlot, Unset};
pub use self::cluster::Cluster;
use self::handle::Owned;
pub use self::members::{MemberInfo, Members};
use self::status::Status;
pub use self::ticket::{ParseTicketError, Ticket};
use crate::client::Client;
use crate::error::ShutdownError;
use crate::state_machine::{Replicated, Service};
use crate::types::NodeId;
use crate::watch::Watcher;

/// A running node that replicates the machine `M`.
///
/// Dropping it stops the node at once, as a crash would; [`Node::shutdown`] stops it in good order.
pub struct Node<M> {
    handle: Arc<dyn Owned>,
    /// Dropped with the node, which stops it.
    _alive: oneshot::Sender<()>,
    machine: PhantomData<fn() -> M>,
}

impl<M: Replicated> Node<M> {
    /// Begins to describe a node. Storage, transport and cluster are given in any order; a missing
    /// one is a compile error at `start`.
    pub fn builder(machine: M) -> Builder<M> {
        Builder::new(machine)
    }

    /// The machine's own client, which the derive generates. Works on any node.
    pub fn client(&self) -> M::Client
    where
        M: Service,
    {
        M::Client::from(self.plain_client())
    }

    /// A client of commands and queries, for a machine written by hand or for the position of a
    /// write.
    pub fn plain_client(&self) -> Client<M> {
        Client::new(self.handle.clone())
    }

    /// Asks for the members of the cluster, and changes them. Works on any node.
    pub fn members(&self) -> Members {
        Members::new(self.handle.clone())
    }

    /// The id of this node.
    pub fn id(&self) -> NodeId {
        self.handle.status().get().node_id
    }

    /// How the node is doing, as a value that can be watched.
    pub fn status(&self) -> Watcher<Status> {
        self.handle.status()
    }

    /// Asks `to` to take over as leader. Does nothing when this node does not lead.
    pub async fn transfer_leader(&self, to: NodeId) {
        self.handle.transfer_leader(to).await;
    }

    /// Stops the node in good order: new calls are refused; calls in progress are waited for, at
    /// most `timeouts.drain_ms`; leadership is handed to another voter, for which a leader waits at
    /// most twice `election.timeout_min_ms`, and once that when nobody answers it; the engine stops;
    /// streams and transport are closed; the storage completes what is queued and is closed.
    ///
    /// # Errors
    /// The node is down all the same; the error says what was not in good order.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        self.handle.shutdown().await
    }
}

impl<M> fmt::Debug for Node<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.handle.status().get().node_id)
    }
}
