//! What this node does with what a peer's leader sends: entries and snapshots.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use openraft::Snapshot;
use openraft::raft::AppendEntriesRequest;

use super::Group;
use super::runtime::{Runtime, Select2};
use super::snapshot::{self, SnapshotData};
use super::types::{TypeConfig, Vote};
use super::wire;
use crate::error::{StorageError, TransportError};
use crate::format::FormatError;
use crate::format::frame::{self, Kind};
use crate::format::snapshot::{Decoder, Header};
use crate::host::{OpenError, Session, expect_frame};
use crate::storage::{Health, SnapshotWriter};
use crate::transport::{FrameSink, FrameStream};
use crate::types::NodeId;

/// How many appends are decoded ahead of the log.
const AHEAD: usize = 16;
/// How often the receiver of a snapshot shows a sign of life while it installs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Why a stream of a peer is given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{peer} sends in the name of node {leader}")]
    NotTheSender { peer: NodeId, leader: u64 },
    #[error("the snapshot could not be written: {0}")]
    Storage(#[from] StorageError),
    #[error("the disk is nearly full: entries are not taken")]
    DiskFull,
    #[error("the snapshot is of another cluster, group or position")]
    OtherSnapshot,
    #[error("the snapshot ended early")]
    Ended,
    #[error("the engine has stopped")]
    Stopped,
}

impl From<FormatError> for ReceiveError {
    fn from(error: FormatError) -> Self {
        Self::Open(error.into())
    }
}

impl From<TransportError> for ReceiveError {
    fn from(error: TransportError) -> Self {
        Self::Open(error.into())
    }
}

/// A leader speaks for itself alone.
pub(super) fn check_sender(peer: NodeId, vote: &Vote) -> Result<(), ReceiveError> {
    if vote.leader_id.voted_for == peer.0 {
        return Ok(());
    }
    Err(ReceiveError::NotTheSender { peer, leader: vote.leader_id.voted_for })
}

impl<RT: Runtime> Group<RT> {
    /// Takes entries from a leader until its stream ends.
    pub(crate) async fn receive_appends(
        self: Arc<Self>,
        peer: NodeId,
        first: Bytes,
        session: Session,
    ) -> Result<(), ReceiveError> {
        let (requests, input) = mpsc::channel(AHEAD);
        let answers = self.raft().stream_append(input);
        let (tx, rx) = (session.stream.tx, session.stream.rx);
        let reading = self.read_appends(peer, first, rx, requests);
        let answering = self.answer_appends(tx, answers);
        match RT::select2(answering, reading).await {
            Select2::First(result) | Select2::Second(result) => result,
        }
    }

    async fn read_appends(
        &self,
        peer: NodeId,
        first: Bytes,
        mut rx: FrameStream,
        mut requests: mpsc::Sender<AppendEntriesRequest<TypeConfig<RT>>>,
    ) -> Result<(), ReceiveError> {
        let mut unflushed = self.unflushed();
        let mut body = first;
        loop {
            let request = wire::read_append::<RT>(self.group(), body)?;
            check_sender(peer, &request.vote)?;
            // What is queued completes from the storage's reserve; nothing is to be added to it. To
            // the leader this node looks unreachable.
            if !request.entries.is_empty() && self.storage().health().get() != Health::Ok {
                return Err(ReceiveError::DiskFull);
            }
            // What is appended waits for the disk in memory: a bound on that is the leader's brake.
            let limit = self.max_unflushed();
            unflushed.until(|bytes| *bytes < limit).await;
            if requests.send(request).await.is_err() {
                // The engine takes no more: its answers say why, and end the stream.
                return futures::future::pending().await;
            }
            let Some(bytes) = rx.next().await else {
                // The answers to what was read are still to go out.
                drop(requests);
                return futures::future::pending().await;
            };
            let frame = frame::Frame::decode(bytes?)?;
            if frame.kind != Kind::Append || frame.group != self.group() {
                let error =
                    FormatError::Unknown { what: "an append", field: "kind", found: frame.kind as u64 };
                return Err(error.into());
            }
            body = frame.body;
        }
    }

    async fn answer_appends<E>(
        &self,
        mut tx: FrameSink,
        answers: impl futures::Stream<Item = Result<openraft::raft::StreamAppendResult<TypeConfig<RT>>, E>> + Send,
    ) -> Result<(), ReceiveError> {
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = answers.next().await {
            let Ok(result) = answer else { return Err(ReceiveError::Stopped) };
            let body = wire::append_result(&result);
            let mut out = frame::begin(Kind::Appended, self.group(), body.len());
            out.put_slice(&body);
            tx.send(out.freeze()).await?;
        }
        Ok(tx.close().await?)
    }

    /// Receives the snapshot that `first` announces, whole, and then installs it.
    pub(crate) async fn receive_snapshot(
        self: Arc<Self>,
        peer: NodeId,
        first: Bytes,
        mut session: Session,
    ) -> Result<(), ReceiveError> {
        let (vote, covers, _) = wire::read_snapshot_begin(first)?;
        check_sender(peer, &vote)?;
        tracing::info!(%peer, %covers, "receiving a snapshot");
        let result = self.receive_and_install(vote, &mut session).await;
        let answer = match &result {
            Ok(vote) => wire::snapshot_done(self.group(), vote),
            Err(_) => frame::begin(Kind::SnapshotFailed, self.group(), 0).freeze(),
        };
        session.stream.tx.send(answer).await?;
        session.stream.tx.close().await?;
        // The sender closes once it has read the answer.
        while session.stream.rx.next().await.is_some_and(|frame| frame.is_ok()) {}
        result.map(drop)
    }

    async fn receive_and_install(&self, vote: Vote, session: &mut Session) -> Result<Vote, ReceiveError> {
        let writer = self.storage().snapshot_writer(self.group()).await?;
        let (header, writer) = self.receive_chunks(session, writer).await?;
        if header.cluster_id != self.cluster() || header.group != self.group() {
            return Err(ReceiveError::OtherSnapshot);
        }
        let meta = snapshot::meta(&header)?;
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(writer) };
        let mut installing = std::pin::pin!(self.raft().install_full_snapshot(vote, snapshot));
        loop {
            match RT::select2(installing.as_mut(), RT::sleep(SIGN_OF_LIFE)).await {
                Select2::First(response) => return Ok(response.map_err(|_| ReceiveError::Stopped)?.vote),
                Select2::Second(()) => self.acknowledge(session, u64::MAX).await?,
            }
        }
    }

    async fn receive_chunks(
        &self,
        session: &mut Session,
        mut writer: Box<dyn SnapshotWriter>,
    ) -> Result<(Header, Box<dyn SnapshotWriter>), ReceiveError> {
        let mut decoder = Decoder::default();
        let mut received = 0;
        let kinds = [Kind::SnapshotChunk, Kind::SnapshotEnd];
        loop {
            match expect_frame(&mut session.stream, &kinds, self.group()).await? {
                Some((Kind::SnapshotChunk, chunk)) => {
                    // Checked as it arrives; only what is whole is ever committed.
                    drop(decoder.push(&chunk)?);
                    received += chunk.len() as u64;
                    writer.write(chunk).await?;
                    self.acknowledge(session, received).await?;
                }
                Some(_) => return Ok((decoder.finish()?, writer)),
                None => return Err(ReceiveError::Ended),
            }
        }
    }

    async fn acknowledge(&self, session: &mut Session, received: u64) -> Result<(), ReceiveError> {
        let mut out = frame::begin(Kind::SnapshotAck, self.group(), 8);
        out.put_u64_le(received);
        Ok(session.stream.tx.send(out.freeze()).await?)
    }
}
