//! Describing a node: its plugins as values, in any order.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::config::Config;
use super::start::{Parts, Started, start, start_on_tokio};
use super::{Cluster, Node};
use crate::engine::runtime::Runtime;
use crate::error::StartError;
use crate::state_machine::Replicated;
use crate::storage::Storage;
use crate::transport::Transport;

/// A plugin that was not given yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unset;

mod sealed {
    pub trait Sealed {}
}

/// A storage that was given to the builder.
#[diagnostic::on_unimplemented(
    message = "this node has no storage",
    label = "`start` needs a storage",
    note = "add `.storage(..)` before `.start()`: `RedbStorage::open(dir)?`, `MemoryStorage::new()`, or a type of your own that implements `quorate::storage::Storage`"
)]
pub trait StorageSlot: sealed::Sealed {
    #[doc(hidden)]
    fn into_storage(self) -> Arc<dyn Storage>;
}

/// A transport that was given to the builder.
#[diagnostic::on_unimplemented(
    message = "this node has no transport",
    label = "`start` needs a transport",
    note = "add `.transport(..)` before `.start()`: an `IrohTransport`, a `MemoryTransport`, or a type of your own that implements `quorate::transport::Transport`"
)]
pub trait TransportSlot: sealed::Sealed {
    #[doc(hidden)]
    fn into_transport(self) -> Arc<dyn Transport>;
}

/// A cluster that was given to the builder.
#[diagnostic::on_unimplemented(
    message = "this node belongs to no cluster",
    label = "`start` needs a cluster",
    note = "add `.cluster(Cluster::bootstrap(members))` before `.start()`, the same list on every node"
)]
pub trait ClusterSlot: sealed::Sealed {
    #[doc(hidden)]
    fn into_cluster(self) -> Cluster;
}

/// A storage in its slot.
#[derive(Debug)]
pub struct WithStorage<S>(S);
/// A transport in its slot.
#[derive(Debug)]
pub struct WithTransport<T>(T);

impl<S> sealed::Sealed for WithStorage<S> {}
impl<T> sealed::Sealed for WithTransport<T> {}
impl sealed::Sealed for Cluster {}

impl<S: Storage> StorageSlot for WithStorage<S> {
    fn into_storage(self) -> Arc<dyn Storage> {
        Arc::new(self.0)
    }
}

impl<T: Transport> TransportSlot for WithTransport<T> {
    fn into_transport(self) -> Arc<dyn Transport> {
        Arc::new(self.0)
    }
}

impl ClusterSlot for Cluster {
    fn into_cluster(self) -> Cluster {
        self
    }
}

/// Describes a node. Made by [`Node::builder`].
pub struct Builder<M, S = Unset, T = Unset, C = Unset> {
    machine: M,
    storage: S,
    transport: T,
    cluster: C,
    config: Config,
}

impl<M> Builder<M> {
    pub(super) fn new(machine: M) -> Self {
        Self { machine, storage: Unset, transport: Unset, cluster: Unset, config: Config::default() }
    }
}

impl<M, S, T, C> Builder<M, S, T, C> {
    /// Where the node keeps its log, vote and snapshots.
    pub fn storage<N: Storage>(self, storage: N) -> Builder<M, WithStorage<N>, T, C> {
        let Self { machine, transport, cluster, config, .. } = self;
        Builder { machine, storage: WithStorage(storage), transport, cluster, config }
    }

    /// How the node talks to the others.
    pub fn transport<N: Transport>(self, transport: N) -> Builder<M, S, WithTransport<N>, C> {
        let Self { machine, storage, cluster, config, .. } = self;
        Builder { machine, storage, transport: WithTransport(transport), cluster, config }
    }

    /// Which cluster the node belongs to.
    pub fn cluster(self, cluster: Cluster) -> Builder<M, S, T, Cluster> {
        let Self { machine, storage, transport, config, .. } = self;
        Builder { machine, storage, transport, cluster, config }
    }

    /// Everything else; [`Config::default`] when it is not called.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Starts the node: the same call for the first boot and for every restart. It returns when the
    /// node has read its storage; a new cluster may still be waiting for its other members then,
    /// which [`Status::phase`](super::status::Status::phase) shows and calls wait for.
    ///
    /// # Errors
    /// [`StartError`] names what does not fit, with the way out. Everything opened is closed again.
    pub fn start(self) -> BoxFuture<'static, Result<Node<M>, StartError>>
    where
        M: Replicated,
        S: StorageSlot,
        T: TransportSlot,
        C: ClusterSlot,
    {
        let parts = self.into_parts();
        Box::pin(async move { Ok(into_node(start_on_tokio(parts).await?)) })
    }

    /// Starts the node on another runtime than tokio.
    #[doc(hidden)]
    pub fn start_on<RT: Runtime>(self) -> BoxFuture<'static, Result<Node<M>, StartError>>
    where
        M: Replicated,
        S: StorageSlot,
        T: TransportSlot,
        C: ClusterSlot,
    {
        let parts = self.into_parts();
        Box::pin(async move { Ok(into_node(start::<RT>(parts).await?)) })
    }

    fn into_parts(self) -> Parts
    where
        M: Replicated,
        S: StorageSlot,
        T: TransportSlot,
        C: ClusterSlot,
    {
        Parts {
            machine: self.machine.into_machine().0,
            storage: self.storage.into_storage(),
            transport: self.transport.into_transport(),
            cluster: self.cluster.into_cluster(),
            config: Arc::new(self.config),
        }
    }
}

fn into_node<M>(started: Started) -> Node<M> {
    Node { handle: started.handle, _alive: started.alive, machine: PhantomData }
}

impl<M, S, T, C> fmt::Debug for Builder<M, S, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
