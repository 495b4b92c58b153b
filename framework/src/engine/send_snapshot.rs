//! Sending a snapshot: in chunks, acknowledged, on a lane of its own.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use futures::SinkExt;
use openraft::Snapshot;

use super::runtime::{Runtime, before, now};
use super::snapshot::{Sink, SnapshotData, write_view};
use super::types::{CommittedLeaderId, Record, Vote};
use super::wire;
use crate::error::{StorageError, TransportError};
use crate::format::{FormatError, Reader, frame, frame::Kind};
use crate::host::{OpenError, Session, expect_frame, patience};
use crate::types::GroupId;

/// How many chunks may be on their way unacknowledged.
const WINDOW: u64 = 8;
/// How long the receiver may be silent, beside the time that what is under way takes. It shows a sign of life every second while it installs.
pub(super) const STALL: Duration = Duration::from_secs(10);

/// Why a snapshot was not sent. The library tries again.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the snapshot could not be read: {0}")]
    Storage(#[from] StorageError),
    #[error("the receiver could not go on")]
    Failed,
    #[error("the receiver is silent")]
    Stalled,
    #[error("there is nothing to send")]
    Nothing,
}

impl From<TransportError> for SendError {
    fn from(error: TransportError) -> Self {
        Self::Open(error.into())
    }
}

impl From<FormatError> for SendError {
    fn from(error: FormatError) -> Self {
        Self::Open(error.into())
    }
}

struct Sender<RT> {
    session: Session,
    group: GroupId,
    chunk_bytes: usize,
    sent: u64,
    acknowledged: u64,
    runtime: std::marker::PhantomData<fn() -> RT>,
}

/// Sends `snapshot` and waits until it is installed; gives the receiver's vote.
pub(super) async fn send_snapshot<RT: Runtime>(
    session: Session,
    group: GroupId,
    vote: &Vote,
    snapshot: Snapshot<CommittedLeaderId, u64, Record, SnapshotData>,
    chunk_bytes: usize,
) -> Result<Vote, SendError> {
    let Some(covers) = snapshot.meta.last_log_id else { return Err(SendError::Nothing) };
    let mut sender = Sender::<RT> {
        session,
        group,
        chunk_bytes,
        sent: 0,
        acknowledged: 0,
        runtime: std::marker::PhantomData,
    };
    match snapshot.snapshot {
        SnapshotData::Stored(mut stored) => {
            sender.send(wire::snapshot_begin(group, vote, &covers, stored.len)).await?;
            while let Some(bytes) = stored.next().await? {
                sender.put(bytes).await?;
            }
        }
        SnapshotData::View(header, job) => {
            // How long it will be is not known before it is written out.
            sender.send(wire::snapshot_begin(group, vote, &covers, 0)).await?;
            write_view::<RT, _>(*header, job, &mut sender).await?;
        }
        SnapshotData::Nothing | SnapshotData::Received(_) => return Err(SendError::Nothing),
    }
    sender.send(frame::begin(Kind::SnapshotEnd, group, 0).freeze()).await?;
    loop {
        if let Some(vote) = sender.answer().await? {
            return Ok(vote);
        }
    }
}

impl<RT: Runtime> Sink for Sender<RT> {
    type Error = SendError;

    async fn put(&mut self, mut bytes: Bytes) -> Result<(), SendError> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(self.chunk_bytes));
            self.chunk(&chunk).await?;
        }
        Ok(())
    }
}

impl<RT: Runtime> Sender<RT> {
    fn under_way(&self) -> usize {
        (self.sent - self.acknowledged) as usize
    }

    async fn send(&mut self, frame: Bytes) -> Result<(), SendError> {
        let deadline = now::<RT>() + patience(STALL, self.under_way() + frame.len());
        let sending = self.session.stream.tx.send(frame);
        Ok(before::<RT, _>(deadline, sending).await.ok_or(SendError::Stalled)??)
    }

    async fn chunk(&mut self, chunk: &[u8]) -> Result<(), SendError> {
        let window = self.chunk_bytes as u64 * WINDOW;
        let mut out = frame::begin(Kind::SnapshotChunk, self.group, chunk.len());
        out.put_slice(chunk);
        self.send(out.freeze()).await?;
        self.sent += chunk.len() as u64;
        while self.sent - self.acknowledged > window {
            self.answer().await?;
        }
        Ok(())
    }

    /// Takes the receiver's next word; its vote when it is done.
    async fn answer(&mut self) -> Result<Option<Vote>, SendError> {
        let kinds = [Kind::SnapshotAck, Kind::SnapshotDone, Kind::SnapshotFailed];
        let deadline = now::<RT>() + patience(STALL, self.under_way());
        let answer = expect_frame(&mut self.session.stream, &kinds, self.group);
        let answer = before::<RT, _>(deadline, answer).await.ok_or(SendError::Stalled)??;
        match answer {
            Some((Kind::SnapshotDone, body)) => Ok(Some(wire::read_snapshot_done(body)?)),
            Some((Kind::SnapshotAck, body)) => {
                self.acknowledged = Reader::new("a snapshot ack", body).u64("bytes")?.min(self.sent);
                Ok(None)
            }
            _ => Err(SendError::Failed),
        }
    }
}
