//! A running node as its clients and its owner see it: bytes in, bytes out, no runtime and no machine
//! in sight.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::members::wire::Ask;
use super::status::Status;
use crate::client::Consistency;
use crate::error::{MembersError, ReadError, ShutdownError, WriteError};
use crate::sessions::Once;
use crate::types::{ClientId, Membership, NodeId, Position};
use crate::watch::Watcher;

/// What a call asks for beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallOptions {
    /// The deadline; the configured one when `None`.
    pub(crate) timeout: Option<Duration>,
}

/// A running node as its clients see it. Futures are boxed here, where their `Send` can be proved.
pub(crate) trait Handle: Send + Sync + 'static {
    /// Proposes an encoded command on whichever node leads, and waits until it is applied.
    fn write(
        &self,
        command: Bytes,
        options: CallOptions,
    ) -> BoxFuture<'_, Result<(Position, Bytes), WriteError>>;

    /// Proposes an encoded command of a session, again and again while nobody says what became of it: it is
    /// applied once.
    fn write_once<'a>(
        &'a self,
        once: &'a Once,
        options: CallOptions,
    ) -> BoxFuture<'a, Result<(Position, Bytes), WriteError>>;

    /// Ends a session.
    fn end_session(&self, client: ClientId, options: CallOptions) -> BoxFuture<'_, Result<(), WriteError>>;

    /// Answers an encoded query at the consistency asked for.
    fn read(
        &self,
        query: Bytes,
        consistency: Consistency,
        options: CallOptions,
    ) -> BoxFuture<'_, Result<Bytes, ReadError>>;
}

/// A running node as its owner sees it.
pub(crate) trait Owned: Handle {
    /// Watches how the node is doing.
    fn status(&self) -> Watcher<Status>;

    /// Asks whichever node leads for the members, or for a change of them; gives those in force.
    fn members(&self, ask: Ask, options: CallOptions) -> BoxFuture<'_, Result<Membership, MembersError>>;

    /// Asks another node to take over as leader.
    fn transfer_leader(&self, to: NodeId) -> BoxFuture<'_, ()>;

    /// Stops in good order.
    fn shutdown(&self) -> BoxFuture<'_, Result<(), ShutdownError>>;
}
