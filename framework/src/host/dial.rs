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
    #[error("the disk of {0} is not recorded yet")]
    NotRecorded(NodeId),
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

impl OpenError {
    /// Whether the peer knows no member with this node's key. A transport that refuses early says no more.
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self, Self::Refused(Refusal::UnknownPeer) | Self::Transport(TransportError::Refused { .. }))
    }
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
        let opened = match self.open_once(node, lane).await {
            // Its old streams are gone now, this one with them: once more, to the new process.
            Err(OpenError::Restarted) => self.open_once(node, lane).await,
            result => result,
        };
        match &opened {
            Ok(_) | Err(OpenError::NotRecorded(_)) => {
                self.refused_by.update(|refused| _ = refused.remove(&node));
            }
            Err(error) if error.is_stranger() => {
                self.refused_by.update(|refused| _ = refused.insert(node));
            }
            Err(_) => {}
        }
        opened
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
                if self.restarted(&member.identity, hello.boot_id) {
                    tracing::info!(%node, "peer has restarted");
                    self.parts.transport.reset(&member.identity);
                    return Err(OpenError::Restarted);
                }
                heard.answered();
                let counts = matches!(lane, Lane::Append | Lane::Snapshot);
                if counts && member.disk_id.is_none() && self.roster().born {
                    // What it took now it could have lost by the time its disk is recorded.
                    return Err(OpenError::NotRecorded(node));
                }
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
        let machines = &self.parts.machines;
        let node = match expected {
            Some(_) => roster.admit(cluster, machines, peer, hello)?,
            None => roster.admit_incoming(cluster, machines, peer, hello)?,
        };
        // Of nobody else that has its number.
        let unrecorded = roster
            .members
            .get(&node)
            .is_some_and(|member| member.disk_id.is_none() && member.identity == *peer);
        if unrecorded && roster.born {
            self.seen_disks.update(|seen| _ = seen.insert(node, (peer.clone(), hello.disk_id)));
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::engine::rig::{CLUSTER, member};
    use crate::engine::runtime::TokioRuntime;
    use crate::format::membership::RawMembership;
    use crate::host::Record;
    use crate::host::{HostParts, Roster};
    use crate::storage::Identity;
    use crate::transport::MemoryNetwork;
    use crate::types::{BootId, DiskId, LogId, Member};

    fn host(network: &MemoryNetwork, node: u64) -> Arc<Host<TokioRuntime>> {
        let host = Host::new(HostParts {
            transport: Arc::new(network.endpoint(&format!("n{node}"))),
            identity: Identity {
                cluster_id: CLUSTER,
                node_id: NodeId(node),
                disk_id: DiskId([node as u8; 16]),
            },
            boot_id: BootId(node),
            machines: Vec::new(),
            roster: Roster::default(),
            connect_timeout: Duration::from_millis(500),
            silence: Duration::from_millis(250),
            queue_bytes: 1 << 20,
        });
        host.serve();
        host
    }

    fn members(second: Option<DiskId>) -> BTreeMap<NodeId, Member> {
        let second = Member { disk_id: second, ..member(2) };
        [(NodeId(1), member(1)), (NodeId(2), second)].into()
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_that_counts_is_sent_before_a_disk_is_on_record() {
        let network = MemoryNetwork::new();
        let (ours, theirs) = (host(&network, 1), host(&network, 2));
        ours.learn(&members(None), Some(LogId::new(1, 1)));
        theirs.set_roster(Roster::joining(members(None)));
        let disk = DiskId([2; 16]);
        for lane in [Lane::Append, Lane::Snapshot] {
            let refused = ours.open(NodeId(2), lane).await.map(drop);
            assert!(matches!(refused, Err(OpenError::NotRecorded(NodeId(2)))), "{lane}: {refused:?}");
        }
        let seen = (member(2).identity, disk);
        assert_eq!(ours.seen_disks().get(), [(NodeId(2), seen)].into(), "it was seen");
        ours.open(NodeId(2), Lane::Control).await.map(drop).expect("it may ask who the members are");
        ours.learn(&members(Some(disk)), Some(LogId::new(1, 2)));
        assert_eq!(ours.seen_disks().get(), BTreeMap::new(), "it is on record");
        ours.open(NodeId(2), Lane::Append).await.map(drop).expect("its disk is on record");
        ours.learn(&members(Some(DiskId([9; 16]))), Some(LogId::new(1, 3)));
        let refused = ours.open(NodeId(2), Lane::Append).await.map(drop);
        assert!(matches!(refused, Err(OpenError::Unfit(Refusal::OtherDisk { .. }))), "{refused:?}");
        ours.close().await;
        theirs.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_let_in_with_another_disk_than_the_one_on_record_is_cut_off() {
        for (recorded, stays) in [(2, true), (9, false)] {
            let network = MemoryNetwork::new();
            let (ours, theirs) = (host(&network, 1), host(&network, 2));
            ours.learn(&members(None), Some(LogId::new(1, 1)));
            theirs.set_roster(Roster::joining(members(None)));
            let mut session = ours.open(NodeId(2), Lane::Control).await.expect("no disk is on record");
            ours.learn(&members(Some(DiskId([recorded; 16]))), Some(LogId::new(1, 2)));
            let read = session.stream.rx.next();
            let silent = before::<TokioRuntime, _>(now::<TokioRuntime>() + Duration::from_millis(1), read);
            let cut = matches!(silent.await, Some(Some(Err(_))));
            assert_eq!(cut, !stays, "the disk of {recorded} is on record, and that of 2 was seen");
            ours.close().await;
            theirs.close().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_asked_under_a_number_that_is_anothers_by_now_is_cut_off() {
        let network = MemoryNetwork::new();
        let (ours, theirs) = (host(&network, 1), host(&network, 2));
        theirs.learn(&members(Some(DiskId([2; 16]))), Some(LogId::new(1, 9)));
        let alone = [(NodeId(1), member(1))].into();
        ours.learn(&alone, Some(LogId::new(1, 1)));
        let named = [(NodeId(2), Some(member(2)))].into();
        let membership = RawMembership { voters: Vec::new(), members: named };
        let record = Record { at: LogId::new(1, 9), membership };
        assert!(ours.change_roster(|roster| roster.vouch(record)));
        let mut session = ours.open(NodeId(2), Lane::Control).await.expect("it is vouched for");
        // The log comes to a time when the number was another's, whose vote would be taken from it.
        let other = Member { identity: member(7).identity, ..member(2) };
        ours.learn(&[(NodeId(1), member(1)), (NodeId(2), other)].into(), Some(LogId::new(1, 2)));
        let read = session.stream.rx.next();
        let cut = before::<TokioRuntime, _>(now::<TokioRuntime>() + Duration::from_millis(1), read).await;
        assert!(matches!(cut, Some(Some(Err(_)))), "{cut:?}");
        assert!(ours.open(NodeId(2), Lane::Control).await.is_err(), "nobody has that key");
        let to_us = theirs.open(NodeId(1), Lane::Control).await;
        to_us.map(drop).expect("it is heard, with a number that is another's");
        ours.close().await;
        theirs.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_vouched_for_with_another_disk_than_the_log_comes_to_is_cut_off() {
        let network = MemoryNetwork::new();
        let (ours, theirs) = (host(&network, 1), host(&network, 2));
        theirs.learn(&members(Some(DiskId([2; 16]))), Some(LogId::new(1, 9)));
        ours.learn(&[(NodeId(1), member(1))].into(), Some(LogId::new(1, 1)));
        let named = [(NodeId(2), Some(member(2)))].into();
        let membership = RawMembership { voters: Vec::new(), members: named };
        let record = Record { at: LogId::new(1, 9), membership };
        assert!(ours.change_roster(|roster| roster.vouch(record)));
        let mut sessions = vec![ours.open(NodeId(2), Lane::Control).await.expect("it is vouched for")];
        // The log comes to its first life under this number, on another disk.
        ours.learn(&members(None), Some(LogId::new(1, 2)));
        sessions.extend(ours.open(NodeId(2), Lane::Control).await.ok());
        ours.learn(&members(Some(DiskId([9; 16]))), Some(LogId::new(1, 3)));
        for session in &mut sessions {
            let read = session.stream.rx.next();
            let cut = before::<TokioRuntime, _>(now::<TokioRuntime>() + Duration::from_millis(1), read).await;
            assert!(matches!(cut, Some(Some(Err(_)))), "{cut:?}");
        }
        assert!(ours.open(NodeId(2), Lane::Control).await.is_err(), "it is not the one on that disk");
        ours.close().await;
        theirs.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_know_this_node_is_remembered_until_it_does() {
        let network = MemoryNetwork::new();
        let (ours, theirs) = (host(&network, 1), host(&network, 2));
        let all = members(Some(DiskId([2; 16])));
        ours.learn(&all, Some(LogId::new(1, 1)));
        let alone = [(NodeId(2), all[&NodeId(2)].clone())].into();
        theirs.learn(&alone, Some(LogId::new(1, 2)));
        assert!(ours.open(NodeId(2), Lane::Control).await.is_err());
        assert_eq!(ours.refused_by().get(), [NodeId(2)].into());
        theirs.learn(&all, Some(LogId::new(1, 3)));
        ours.open(NodeId(2), Lane::Control).await.map(drop).expect("it knows us");
        assert!(ours.refused_by().get().is_empty());
        ours.close().await;
        theirs.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_joins_keeps_to_its_ticket_until_its_log_names_it() {
        let network = MemoryNetwork::new();
        let host = host(&network, 2);
        host.set_roster(Roster::joining(members(None)));
        let before = [(NodeId(7), member(7))].into();
        host.learn(&before, Some(LogId::new(0, 0)));
        assert!(host.roster().joining && host.roster().member(NodeId(1)).is_some());
        host.learn(&members(Some(DiskId([2; 16]))), Some(LogId::new(1, 1)));
        assert!(host.roster().born);
        host.close().await;
    }
}
