//! Sending a snapshot: in chunks, acknowledged, on a lane of its own.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use futures::SinkExt;
use openraft::Snapshot;

use super::runtime::{Runtime, before, now};
use super::snapshot::{Sink, SnapshotData, write_view};
use super::types::{CommittedLeaderId, Record, Vote};
use super::wire::{self, SnapshotBegin};
use crate::error::{StorageError, TransportError};
use crate::format::{FormatError, frame, frame::Kind};
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
    /// How many of the bytes that come next the receiver has from before.
    held: u64,
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
    let runtime = std::marker::PhantomData;
    let (held, sent, acknowledged) = (0, 0, 0);
    let mut sender = Sender::<RT> { session, group, chunk_bytes, held, sent, acknowledged, runtime };
    let begin = SnapshotBegin { vote: *vote, covers, len: 0, fingerprint: None };
    match snapshot.snapshot {
        SnapshotData::Stored(mut stored) => {
            let (len, fingerprint) = (stored.len, stored.fingerprint);
            sender.begin(&SnapshotBegin { len, fingerprint, ..begin }).await?;
            // What the receiver has of it is read here all the same, so that its checksum is checked.
            while let Some(bytes) = stored.next().await? {
                sender.put(bytes).await?;
            }
        }
        SnapshotData::View(header, job) => {
            // How long it will be is not known before it is written out, and nothing tells it from
            // the next one: it begins at the first byte.
            sender.begin(&begin).await?;
            write_view::<RT, _>(*header, job, &mut sender).await?;
        }
        SnapshotData::Nothing | SnapshotData::Received(_) => return Err(SendError::Nothing),
    }
    sender.send(frame::begin(Kind::SnapshotEnd, group, 0).freeze()).await?;
    loop {
        if let Answer::Done(vote) = sender.answer().await? {
            return Ok(vote);
        }
    }
}

/// What a receiver says.
enum Answer {
    /// So many bytes are there already.
    From(u64),
    /// More have arrived, or it is still busy.
    Alive,
    /// It is installed. The receiver's vote.
    Done(Vote),
}

impl<RT: Runtime> Sink for Sender<RT> {
    type Error = SendError;

    async fn put(&mut self, mut bytes: Bytes) -> Result<(), SendError> {
        let there = self.held.min(bytes.len() as u64);
        self.held -= there;
        drop(bytes.split_to(there as usize));
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

    /// Announces the snapshot, and learns how much of it is there already.
    async fn begin(&mut self, begin: &SnapshotBegin) -> Result<(), SendError> {
        self.send(wire::snapshot_begin(self.group, begin)).await?;
        let held = loop {
            if let Answer::From(bytes) = self.answer().await? {
                break bytes;
            }
        };
        if held > 0 {
            tracing::info!(held, len = begin.len, "a snapshot goes on where it broke off");
        }
        (self.held, self.sent, self.acknowledged) = (held, held, held);
        Ok(())
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

    /// Takes the receiver's next word.
    async fn answer(&mut self) -> Result<Answer, SendError> {
        let kinds = [Kind::SnapshotFrom, Kind::SnapshotAck, Kind::SnapshotDone, Kind::SnapshotFailed];
        let deadline = now::<RT>() + patience(STALL, self.under_way());
        let answer = expect_frame(&mut self.session.stream, &kinds, self.group);
        let answer = before::<RT, _>(deadline, answer).await.ok_or(SendError::Stalled)??;
        match answer {
            Some((Kind::SnapshotDone, body)) => Ok(Answer::Done(wire::read_snapshot_done(body)?)),
            Some((Kind::SnapshotFrom, body)) => Ok(Answer::From(wire::read_snapshot_bytes(body)?)),
            Some((Kind::SnapshotAck, body)) => {
                self.acknowledged = wire::read_snapshot_bytes(body)?.min(self.sent);
                Ok(Answer::Alive)
            }
            _ => Err(SendError::Failed),
        }
    }
}
