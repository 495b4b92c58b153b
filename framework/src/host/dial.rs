//! Opening a stream: dial, say hello, check the hello that comes back.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};

use super::Host;
use crate::engine::runtime::{Bug, Runtime, before, now};
use crate::error::TransportError;
use crate::format::FormatError;
use crate::format::frame::{Frame, Kind};
use crate::format::hello::{Hello, Refusal};
use crate::transport::{Duplex, Lane};
use crate::types::{NodeId, PeerId};

/// A stream after both sides have said who they are.
pub(crate) struct Session {
    pub(crate) stream: Duplex,
}

/// Why a stream could not be opened. Nothing was sent on it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("{0} is not a member")]
    NotAMember(NodeId),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("the peer did not answer in time")]
    Timeout,
    #[error("refused by the peer: {0}")]
    Refused(Refusal),
    #[error("the peer is not who it should be: {0}")]
    Unfit(Refusal),
    #[error("the peer was not understood: {0}")]
    Format(#[from] FormatError),
    #[error("the peer has restarted")]
    Restarted,
}

/// The next frame of a stream.
pub(super) async fn next_frame(stream: &mut Duplex) -> Result<Option<Frame>, OpenError> {
    match stream.rx.next().await {
        Some(bytes) => Ok(Some(Frame::decode(bytes?)?)),
        None => Ok(None),
    }
}

impl<RT: Runtime> Host<RT> {
    /// Opens a stream to `node` and admits it.
    pub(crate) async fn open(self: &Arc<Self>, node: NodeId, lane: Lane) -> Result<Session, OpenError> {
        match self.open_once(node, lane).await {
            // Its old streams are gone now, this one with them: once more, to the new process.
            Err(OpenError::Restarted) => self.open_once(node, lane).await,
            result => result,
        }
    }

    async fn open_once(&self, node: NodeId, lane: Lane) -> Result<Session, OpenError> {
        let member = self.roster().member(node).cloned().ok_or(OpenError::NotAMember(node))?;
        let deadline = now::<RT>() + self.parts.connect_timeout;
        let heard = self.heard(node);
        let so_far = heard.so_far();
        let opening = async {
            let mut stream = self.parts.transport.connect(&member, lane).await?;
            stream.tx.send(self.hello().encode()).await?;
            let answer = next_frame(&mut stream).await?;
            Ok::<_, OpenError>((stream, answer))
        };
        let Some(opened) = before::<RT, _>(deadline, opening).await else {
            if heard.is_lost_since(so_far) {
                tracing::debug!(%node, %lane, "nothing heard: connections reset");
                self.parts.transport.reset(&member.identity);
            }
            return Err(OpenError::Timeout);
        };
        let (stream, answer) = opened?;
        let frame = answer.ok_or(TransportError::Reset { source: None })?;
        match frame.kind {
            Kind::Hello => {
                let hello = Hello::decode(frame.body)?;
                self.check(&member.identity, &hello, Some(node)).map_err(OpenError::Unfit)?;
                if self.restarted(node, hello.boot_id) {
                    tracing::info!(%node, "peer has restarted");
                    self.parts.transport.reset(&member.identity);
                    return Err(OpenError::Restarted);
                }
                heard.answered();
                Ok(Session { stream: heard.listen(stream) })
            }
            Kind::Refuse => Err(OpenError::Refused(Refusal::decode(frame.body)?)),
            kind => Err(FormatError::Unknown { what: "a hello", field: "kind", found: kind as u64 }.into()),
        }
    }

    /// Checks a hello against what this node knows.
    pub(super) fn check(
        &self,
        peer: &PeerId,
        hello: &Hello,
        expected: Option<NodeId>,
    ) -> Result<NodeId, Refusal> {
        let (cluster, roster) = (self.parts.identity.cluster_id, self.roster());
        let recorded = roster.by_identity(peer).and_then(|member| member.disk_id);
        let hello = match recorded {
            Some(disk_id) if RT::planted(Bug::DiskNotCompared) => &Hello { disk_id, ..hello.clone() },
            _ => hello,
        };
        let node = roster.admit(cluster, &self.parts.machines, peer, hello)?;
        match expected {
            Some(expected) if expected != node => Err(Refusal::OtherNode(node)),
            _ => Ok(node),
        }
    }
}

/// Reads the next frame of `kind` and `group`; `Ok(None)` at the end of the stream.
pub(crate) async fn expect_frame(
    stream: &mut Duplex,
    kinds: &[Kind],
    group: crate::types::GroupId,
) -> Result<Option<(Kind, Bytes)>, OpenError> {
    let Some(frame) = next_frame(stream).await? else { return Ok(None) };
    if frame.group != group {
        return Err(FormatError::Mismatch {
            what: "a frame",
            field: "group",
            found: frame.group.0,
            expected: group.0,
        }
        .into());
    }
    if !kinds.contains(&frame.kind) {
        let error = FormatError::Unknown { what: "a frame", field: "kind", found: frame.kind as u64 };
        return Err(error.into());
    }
    Ok(Some((frame.kind, frame.body)))
}
