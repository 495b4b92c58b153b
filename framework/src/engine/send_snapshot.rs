//! Sending a snapshot: in chunks, acknowledged, on a lane of its own.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use futures::SinkExt;
use openraft::Snapshot;

use super::receive::SIGN_OF_LIFE;
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

struct Sender<RT: Runtime> {
    session: Session,
    group: GroupId,
    chunk_bytes: usize,
    /// How many of the bytes that come next the receiver has from before.
    held: u64,
    sent: u64,
    acknowledged: u64,
    /// When the receiver last heard of this one.
    spoke: RT::Instant,
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
    let mut sender = Sender::<RT>::new(session, group, chunk_bytes);
    let begin = SnapshotBegin { vote: *vote, covers, len: 0, fingerprint: None };
    match snapshot.snapshot {
        SnapshotData::Stored(mut stored) => {
            let (len, fingerprint) = (stored.len, stored.fingerprint);
            sender.begin(&SnapshotBegin { len, fingerprint, ..begin }).await?;
            // What the receiver has of it is read here all the same, so that its checksum is checked. It
            // may be much, and the receiver waits meanwhile.
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
        if bytes.is_empty() {
            return self.show_life().await;
        }
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(self.chunk_bytes));
            self.chunk(&chunk).await?;
        }
        Ok(())
    }
}

impl<RT: Runtime> Sender<RT> {
    fn new(session: Session, group: GroupId, chunk_bytes: usize) -> Self {
        let (held, sent, acknowledged, spoke) = (0, 0, 0, now::<RT>());
        Self { session, group, chunk_bytes, held, sent, acknowledged, spoke }
    }

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
        self.spoke = now::<RT>();
        Ok(())
    }

    async fn send(&mut self, frame: Bytes) -> Result<(), SendError> {
        let deadline = now::<RT>() + patience(STALL, self.under_way() + frame.len());
        let sending = self.session.stream.tx.send(frame);
        before::<RT, _>(deadline, sending).await.ok_or(SendError::Stalled)??;
        self.spoke = now::<RT>();
        Ok(())
    }

    /// Tells the receiver, which waits for the next bytes, that they are still to come.
    async fn show_life(&mut self) -> Result<(), SendError> {
        if now::<RT>() < self.spoke + SIGN_OF_LIFE {
            return Ok(());
        }
        self.chunk(&[]).await?;
        self.answer().await.map(drop)
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

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::engine::rig;
    use crate::engine::runtime::TokioRuntime;
    use crate::engine::types::from_log_id;
    use crate::transport::{Duplex, Lane, MAX_FRAME_BYTES, MemoryTransport, Transport};
    use crate::types::LogId;

    const G: GroupId = GroupId::MAIN;
    /// What a receiver has, and how long it takes to read it once more.
    const HELD: u64 = 600;

    /// Both ends of a stream, and what it lives by.
    async fn stream() -> (Duplex, Duplex, [MemoryTransport; 2]) {
        let rig = rig::start(1).await;
        let (a, b) = (rig.network.endpoint("a"), rig.network.endpoint("b"));
        let mut to = rig::member(9);
        (to.identity, to.address) = (b.identity(), b.address());
        let ours = a.connect(&to, Lane::Snapshot).await.expect("open");
        (ours, b.accept().await.expect("open").stream, [a, b])
    }

    /// Takes a snapshot of which it has all but the last byte, and is no more patient than a node.
    async fn receive(mut stream: Duplex) -> Vec<u8> {
        stream.rx.next().await.expect("an announcement").expect("a frame");
        stream.tx.send(wire::snapshot_bytes(Kind::SnapshotFrom, G, HELD)).await.expect("open");
        let mut received = Vec::new();
        loop {
            let next = tokio::time::timeout(patience(STALL, MAX_FRAME_BYTES), stream.rx.next()).await;
            let frame = next.expect("the sender is silent").expect("open").expect("a frame");
            let frame = frame::Frame::decode(frame).expect("ours");
            if frame.kind == Kind::SnapshotEnd {
                return received;
            }
            received.extend_from_slice(&frame.body);
            let ack = wire::snapshot_bytes(Kind::SnapshotAck, G, HELD + received.len() as u64);
            stream.tx.send(ack).await.expect("open");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_has_most_of_a_large_snapshot_hears_that_the_rest_is_to_come() {
        let (ours, theirs, _endpoints) = stream().await;
        let mut sender = Sender::<TokioRuntime>::new(Session { stream: ours }, G, 1 << 10);
        let sending = async {
            let covers = from_log_id(LogId::new(5, 9));
            let (vote, len) = (rig::vote(1, true), HELD + 1);
            let begin = SnapshotBegin { vote, covers, len, fingerprint: Some(7) };
            sender.begin(&begin).await?;
            for byte in 0..=HELD {
                // So long does the disk take for what is one byte here.
                tokio::time::sleep(Duration::from_secs(1)).await;
                sender.put(vec![byte as u8].into()).await?;
            }
            sender.send(frame::begin(Kind::SnapshotEnd, G, 0).freeze()).await
        };
        let (sent, received) = futures::join!(sending, receive(theirs));
        sent.expect("taken to the end");
        assert_eq!(received, [HELD as u8], "the one that was missing");
    }
}
