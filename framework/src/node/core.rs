//! What a running node holds together, and what every call begins with.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;

use super::config::Config;
use super::handle::{CallOptions, Handle, Owned};
use super::members::change::Turn;
use super::members::wire::Ask;
use super::propose::Proposer;
use super::read::Barrier;
use super::status::{Phase, Status};
use crate::client::Consistency;
use crate::engine::runtime::{Runtime, before, left, now};
use crate::engine::{Group, View};
use crate::error::{MembersError, ReadError, ShutdownError, WriteError};
use crate::host::Host;
use crate::sessions::Once;
use crate::storage::Storage;
use crate::types::{ClientId, Membership, NodeId, Position};
use crate::watch::{Watched, Watcher};

/// The longest time a caller can mean, a year: an instant further on might not exist.
pub(super) const LONGEST: Duration = Duration::from_hours(365 * 24);

/// A running node.
pub(super) struct Core<RT: Runtime> {
    pub(super) config: Arc<Config>,
    pub(super) host: Arc<Host<RT>>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) status: Watched<Status>,
    /// Set once, when the cluster is born.
    pub(super) running: OnceLock<Running<RT>>,
    /// Who changes the members, while this node leads.
    pub(super) turn: Arc<Watched<Turn>>,
    /// How many calls are in progress.
    pub(super) calls: Arc<Watched<usize>>,
    /// Whether somebody has begun to stop the node.
    pub(super) stopping: AtomicBool,
    /// What stopping it came to, once it is down.
    pub(super) down: Watched<Option<Result<(), ShutdownError>>>,
}

/// What there is once the node takes part.
pub(super) struct Running<RT: Runtime> {
    pub(super) group: Arc<Group<RT>>,
    pub(super) proposer: Proposer<RT>,
    pub(super) barrier: Barrier<RT>,
}

/// A call in progress.
pub(super) struct Call(Arc<Watched<usize>>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.update(|calls| *calls -= 1);
    }
}

/// Why a call cannot be served at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unavailable {
    NotReady,
    ShuttingDown,
    Stopped,
}

impl<RT: Runtime> Core<RT> {
    pub(super) fn node_id(&self) -> NodeId {
        self.host.node_id()
    }

    pub(super) fn deadline(&self, options: CallOptions) -> RT::Instant {
        now::<RT>() + options.timeout.unwrap_or_else(|| self.config.timeouts.call()).min(LONGEST)
    }

    /// Counts a call, unless the node serves no more.
    pub(super) fn enter(&self) -> Result<Call, Unavailable> {
        // Counted first and looked second: shutdown says so first and counts second.
        self.calls.update(|calls| *calls += 1);
        let call = Call(self.calls.clone());
        self.status.with(|status| match status.phase {
            Phase::ShuttingDown => Err(Unavailable::ShuttingDown),
            Phase::Stopped { .. } => Err(Unavailable::Stopped),
            _ => Ok(()),
        })?;
        Ok(call)
    }

    /// Waits until the node takes part.
    pub(super) async fn running(&self, deadline: RT::Instant) -> Result<&Running<RT>, Unavailable> {
        if let Some(running) = self.running.get() {
            return Ok(running);
        }
        let mut status = self.status.watch();
        let decided = |status: &Status| !matches!(status.phase, Phase::Starting | Phase::Joining { .. });
        if before::<RT, _>(deadline, status.until(decided)).await.is_none() {
            return Err(Unavailable::NotReady);
        }
        self.running.get().ok_or(Unavailable::Stopped)
    }

    /// Waits until who leads is no more what it was in `known`, a little at most, and never past the
    /// deadline.
    pub(super) async fn wait_for_change(&self, running: &Running<RT>, known: &View, deadline: RT::Instant) {
        const AT_MOST: Duration = Duration::from_millis(25);
        let mut view = running.group.view();
        let changed = view
            .until(|view| view.leader != known.leader || view.term != known.term || view.stopped.is_some());
        let at_most = now::<RT>() + AT_MOST.min(left::<RT>(deadline));
        before::<RT, _>(at_most, changed).await;
    }
}

/// The handle that a node gives to its clients.
pub(super) struct Shared<RT: Runtime>(pub(super) Arc<Core<RT>>);

impl<RT: Runtime> Handle for Shared<RT> {
    fn write(
        &self,
        command: bytes::Bytes,
        options: CallOptions,
    ) -> BoxFuture<'_, Result<(Position, bytes::Bytes), WriteError>> {
        Box::pin(self.0.write(command, options))
    }

    fn write_once<'a>(
        &'a self,
        once: &'a Once,
        options: CallOptions,
    ) -> BoxFuture<'a, Result<(Position, bytes::Bytes), WriteError>> {
        Box::pin(self.0.write_once(once, options))
    }

    fn end_session(&self, client: ClientId, options: CallOptions) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(self.0.end_session(client, options))
    }

    fn read(
        &self,
        query: bytes::Bytes,
        consistency: Consistency,
        options: CallOptions,
    ) -> BoxFuture<'_, Result<bytes::Bytes, ReadError>> {
        Box::pin(self.0.read(query, consistency, options))
    }
}

impl<RT: Runtime> Owned for Shared<RT> {
    fn status(&self) -> Watcher<Status> {
        self.0.status.watch()
    }

    fn members(&self, ask: Ask, options: CallOptions) -> BoxFuture<'_, Result<Membership, MembersError>> {
        Box::pin(self.0.members(ask, options))
    }

    fn transfer_leader(&self, to: NodeId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Some(running) = self.0.running.get() else { return };
            // Anybody else could not take over, and the leader would wait for it.
            let voters = running.group.view().get().membership.voters.clone();
            if to != self.0.node_id() && voters.iter().any(|set| set.contains(&to)) {
                running.group.transfer_leader(to).await;
            }
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), ShutdownError>> {
        Box::pin(self.0.clone().shutdown())
    }
}
