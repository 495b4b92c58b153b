//! What a node does for its peers.

use std::sync::Weak;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::core::Core;
use super::forward::{WriteReply, WriteRequest};
use super::{read, write};
use crate::engine::runtime::{Point, Runtime, now};
use crate::error::NotApplied;
use crate::host::{Call, GroupService, Reply, Session, Status};
use crate::types::NodeId;

/// A running node, as its peers see it. It does not own the node: the host, which has this, is the
/// node's own, and a node of which nothing is left but that has gone.
pub(super) struct PeerService<RT: Runtime>(pub(super) Weak<Core<RT>>);

impl<RT: Runtime> GroupService for PeerService<RT> {
    fn call(&self, peer: NodeId, call: Call, body: Bytes) -> BoxFuture<'static, Reply> {
        let core = self.0.upgrade();
        Box::pin(async move {
            let Some(core) = core else { return Reply::empty(Status::NoSuchGroup) };
            let Some(running) = core.running.get() else { return Reply::empty(Status::NoSuchGroup) };
            match call {
                Call::Write => core.forwarded_write(peer, body).await,
                Call::Members => core.forwarded_members(peer, body).await,
                Call::Vote | Call::PreVote if !core.may_vote() => Reply::empty(Status::NoSuchGroup),
                Call::ReadIndex => Reply::done(read::encode(running.group.read_index().await)),
                call => running.group.answer(peer, call, body).await,
            }
        })
    }

    fn append(&self, peer: NodeId, first: Bytes, session: Session) -> BoxFuture<'static, ()> {
        let core = self.0.upgrade();
        Box::pin(async move {
            let Some(core) = core else { return };
            let Some(running) = core.running.get() else { return };
            if let Err(error) = running.group.clone().receive_appends(peer, first, session).await {
                tracing::warn!(%peer, %error, "append stream given up");
            }
        })
    }

    fn snapshot(&self, peer: NodeId, first: Bytes, session: Session) -> BoxFuture<'static, ()> {
        let core = self.0.upgrade();
        Box::pin(async move {
            let Some(core) = core else { return };
            let Some(running) = core.running.get() else { return };
            if let Err(error) = running.group.clone().receive_snapshot(peer, first, session).await {
                tracing::warn!(%peer, %error, "snapshot not received");
            }
        })
    }
}

impl<RT: Runtime> Core<RT> {
    /// A write that came in at another node. Tried here once; its caller looks further.
    async fn forwarded_write(&self, peer: NodeId, body: Bytes) -> Reply {
        let request = match WriteRequest::decode(body) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(%peer, %error, "forwarded write refused");
                return Reply::empty(Status::Malformed);
            }
        };
        let deadline = now::<RT>() + request.timeout;
        let attempt = match (self.enter(), self.running.get()) {
            (Ok(_), _) if RT::reaches(Point::ForwardRefused) => write::Attempt::NotLeader(None),
            (Ok(_call), Some(running)) => {
                self.write_here(running, request.numbered, request.command, deadline).await
            }
            (Err(unavailable), _) => NotApplied::from(unavailable).into(),
            (_, None) => write::Attempt::NotLeader(None),
        };
        Reply::done(WriteReply::from(attempt).encode())
    }
}
