//! What this node does with what a peer's leader sends: entries and snapshots.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use openraft::Snapshot;
use openraft::raft::AppendEntriesRequest;

use super::Group;
use super::room::Attempt;
use super::runtime::{Point, Runtime, Select2, before, now};
use super::send_snapshot::STALL;
use super::snapshot::{self, SnapshotData};
use super::types::{SnapshotMeta, TypeConfig, Vote, to_log_id};
use super::wire::{self, SnapshotBegin};
use crate::error::{RestoreError, StorageError, TransportError};
use crate::format::FormatError;
use crate::format::frame::{self, Kind};
use crate::format::snapshot::{Decoder, Header};
use crate::host::{OpenError, Session, expect_frame, patience};
use crate::storage::{ResumedSnapshot, SnapshotId, SnapshotWriter};
use crate::transport::{FrameSink, FrameStream, MAX_FRAME_BYTES};
use crate::types::{LogId, NodeId};
use crate::watch::Watched;

/// How many appends are decoded ahead of the log.
const AHEAD: usize = 16;
/// How often the receiver of a snapshot shows a sign of life while it installs, and the sender while it
/// has nothing to send.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// How many bytes of what it holds already it reads before it shows another.
const BYTES_OF_LIFE: u64 = 32 << 20;
/// After how many more bytes of a snapshot it is looked whether the machine has room for it.
const LOOK_EVERY: u64 = 1 << 20;

/// How often it is looked whether the log is flushed so far.
const LOOK_FOR_FLUSH: Duration = Duration::from_millis(10);

/// A snapshot that is arriving.
struct Arriving {
    writer: Box<dyn SnapshotWriter>,
    decoder: Decoder,
    received: u64,
}

/// Waits for a step of the sender of a snapshot, at most as long as the slowest link takes for the
/// largest frame: what was received meanwhile takes up room on the disk.
async fn in_time<RT: Runtime, T>(step: impl Future<Output = T> + Send) -> Result<T, ReceiveError> {
    let deadline = now::<RT>() + patience(STALL, MAX_FRAME_BYTES);
    before::<RT, _>(deadline, step).await.ok_or(ReceiveError::Stalled)
}

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
    #[error("there is no room for a snapshot: the machine is short of it, or another did not fit lately")]
    NoRoom,
    #[error("another snapshot is received or installed meanwhile")]
    Overtaken,
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("the snapshot is of another cluster, group or position")]
    OtherSnapshot,
    #[error("the snapshot ended early")]
    Ended,
    #[error("the sender of the snapshot is silent")]
    Stalled,
    #[error("the log has all that the snapshot covers, and it is not flushed yet")]
    NotFlushed,
    #[error("a snapshot of {covers} from {leader}, which cannot have it")]
    NotTheLeaders { covers: LogId, leader: String },
    #[error("the engine has stopped")]
    Stopped,
}

impl ReceiveError {
    /// Whether the stream is to blame and not what came over it: what has arrived is worth keeping.
    fn broke_off(&self) -> bool {
        matches!(self, Self::Ended | Self::Stalled | Self::Open(OpenError::Transport(_)))
    }
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

/// How many bytes of a stream were taken in and not answered yet; an append is answered once it is
/// on the disk.
#[derive(Debug)]
struct Intake {
    unanswered: Mutex<VecDeque<usize>>,
    bytes: Watched<usize>,
}

impl Default for Intake {
    fn default() -> Self {
        Self { unanswered: Mutex::default(), bytes: Watched::new(0) }
    }
}

impl Intake {
    /// Waits until there is room below `limit`, and takes it; one append is always let in.
    async fn take(&self, bytes: usize, limit: usize) {
        self.bytes.watch().until(|taken| *taken == 0 || taken + bytes <= limit).await;
        self.bytes.update(|taken| *taken += bytes);
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).push_back(bytes);
    }

    /// The oldest append was answered.
    fn give_back(&self) {
        let answered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        self.bytes.update(|taken| *taken -= answered.unwrap_or_default());
    }
}

/// A leader speaks for itself alone.
pub(super) fn check_sender(peer: NodeId, vote: &Vote) -> Result<(), ReceiveError> {
    if vote.leader_id.voted_for == peer.0 {
        return Ok(());
    }
    Err(ReceiveError::NotTheSender { peer, leader: vote.leader_id.voted_for })
}

/// Whoever sends a snapshot leads, and no earlier than what it covers was proposed. The library relies on it.
fn check_leads(begin: &SnapshotBegin) -> Result<(), ReceiveError> {
    let covers = to_log_id(&begin.covers);
    if begin.vote.committed && covers.term.0 <= begin.vote.leader_id.term {
        return Ok(());
    }
    Err(ReceiveError::NotTheLeaders { covers, leader: begin.vote.to_string() })
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
        let answers = self.append(input);
        let (tx, rx) = (session.stream.tx, session.stream.rx);
        let (intake, refused) = (Intake::default(), AtomicBool::new(false));
        let reading = self.read_appends(peer, first, rx, requests, &intake, &refused);
        let answering = self.answer_appends(tx, answers, &intake);
        let answering = async {
            let mut tx = answering.await?;
            if !refused.load(Ordering::Relaxed) {
                return Ok(tx.close().await?);
            }
            // The leader comes again at once.
            self.put_off().await;
            tx.close().await?;
            Err(ReceiveError::DiskFull)
        };
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
        intake: &Intake,
        refused: &AtomicBool,
    ) -> Result<(), ReceiveError> {
        let (mut body, mut last) = (first, None);
        loop {
            let len = body.len();
            let mut request = wire::read_append::<RT>(self.group(), body)?;
            check_sender(peer, &request.vote)?;
            // What is queued completes from the reserve; little is to be added to it.
            let taken = self.has_room_for(&mut request, last).await;
            let whole = taken == request.entries.len();
            request.entries.truncate(taken);
            last = request.entries.last().map_or(last, |entry| Some(entry.log_id));
            if whole || taken > 0 {
                // What is taken in waits for the disk in memory: a bound on that is the leader's brake.
                intake.take(len, self.max_unflushed()).await;
                if requests.send(request).await.is_err() {
                    // The engine takes no more: its answers say why, and end the stream.
                    return futures::future::pending().await;
                }
            }
            if !whole {
                // What was taken is still answered; then this node looks unreachable to the leader, which
                // may have sent more and reads no answer while that is on its way.
                refused.store(true, Ordering::Relaxed);
                drop(requests);
                while rx.next().await.is_some_and(|frame| frame.is_ok()) {}
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
        intake: &Intake,
    ) -> Result<FrameSink, ReceiveError> {
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = answers.next().await {
            let Ok(result) = answer else { return Err(ReceiveError::Stopped) };
            RT::pause(Point::BeforeAppended).await;
            let body = wire::append_result(&result);
            let mut out = frame::begin(Kind::Appended, self.group(), body.len());
            out.put_slice(&body);
            tx.send(out.freeze()).await?;
            intake.give_back();
        }
        Ok(tx)
    }

    /// Receives the snapshot that `first` announces, whole, and then installs it.
    pub(crate) async fn receive_snapshot(
        self: Arc<Self>,
        peer: NodeId,
        first: Bytes,
        mut session: Session,
    ) -> Result<(), ReceiveError> {
        let begin = wire::read_snapshot_begin(first)?;
        check_sender(peer, &begin.vote)?;
        check_leads(&begin)?;
        tracing::info!(%peer, covers = %begin.covers, "receiving a snapshot");
        let result = self.receive_and_install(begin, &mut session).await;
        let answer = match &result {
            Ok(vote) => wire::snapshot_done(self.group(), vote),
            Err(_) => frame::begin(Kind::SnapshotFailed, self.group(), 0).freeze(),
        };
        let told = async {
            session.stream.tx.send(answer).await?;
            session.stream.tx.close().await?;
            // The sender closes once it has read the answer.
            while session.stream.rx.next().await.is_some_and(|frame| frame.is_ok()) {}
            Ok::<_, ReceiveError>(())
        };
        let told = in_time::<RT, _>(told).await;
        result?;
        told?
    }

    async fn receive_and_install(
        &self,
        begin: SnapshotBegin,
        session: &mut Session,
    ) -> Result<Vote, ReceiveError> {
        let short = self.admits(begin.len).await?;
        // Before any of it takes room.
        let (said, begun) = (self.room.said(), now::<RT>());
        let failed = |error: &ReceiveError, received| {
            self.room.failed(error, &Attempt { len: begin.len, received, said, begun });
        };
        let number = self.room.begin().ok_or(ReceiveError::Overtaken)?;
        let arriving = self.go_on(&begin, session).await;
        let mut arriving = arriving.inspect_err(|error| failed(error, 0))?;
        self.tell(session, Kind::SnapshotFrom, arriving.received).await?;
        let mut received = self.receive_chunks(session, &mut arriving).await;
        // One at a time from here on, and none that another has taken over: a commit that fails stops the
        // node. So does a restore that finds no room, for which it is looked once more.
        let mut taken = None;
        if received.is_ok() {
            taken = self.room.installing(number, short);
            received = match &taken {
                Some(_) => self.check_room(arriving.received).await,
                None => Err(ReceiveError::Overtaken),
            };
        }
        let received = received.and_then(|()| self.check_whole(&begin, arriving.decoder));
        let writer = arriving.writer;
        let needed = match received {
            Ok(header) => self.needs(&begin, &header).await,
            Err(error) => Err(error),
        };
        let meta = match needed {
            Ok(Some(meta)) => meta,
            // Not dropped by the library, which others wait for: that takes its time.
            Ok(None) => {
                writer.discard().await;
                return Ok(begin.vote);
            }
            Err(error) => {
                if !error.broke_off() {
                    writer.discard().await;
                }
                failed(&error, arriving.received);
                return Err(error);
            }
        };
        let vote = begin.vote;
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(writer) };
        // Seen through, whatever becomes of the stream.
        let installing = self.call(move |raft| async move {
            let installed = raft.install_full_snapshot(vote, snapshot).await;
            if let Some(taken) = taken.filter(|_| installed.as_ref().is_ok_and(|is| is.vote == vote)) {
                taken.done();
            }
            installed
        });
        let mut installing = std::pin::pin!(installing);
        loop {
            match RT::select2(installing.as_mut(), RT::sleep(SIGN_OF_LIFE)).await {
                Select2::First(response) => return Ok(response.map_err(|_| ReceiveError::Stopped)?.vote),
                Select2::Second(()) => self.tell(session, Kind::SnapshotAck, u64::MAX).await?,
            }
        }
    }

    /// What the library is told of a snapshot that it is to install; `None` when the log has all that it
    /// covers, flushed, be it known to be committed or not. The library would take a log that goes on behind
    /// the snapshot back to there, in its own account of what it has handed to the log. An append that comes
    /// between this look and the library's own still brings that about.
    async fn needs(
        &self,
        begin: &SnapshotBegin,
        header: &Header,
    ) -> Result<Option<SnapshotMeta>, ReceiveError> {
        let meta = snapshot::meta(header)?;
        let (vote, covers) = (begin.vote, begin.covers);
        let look = self.call(move |raft| async move {
            let look = raft.with_raft_state(move |state| {
                let follows = *state.vote_ref() == vote;
                let committed = state.local_committed().copied();
                let has = committed >= Some(covers) || state.log_ids.get(covers.index) == Some(covers);
                (follows, has, committed)
            });
            look.await
        });
        let (follows, has, committed) = look.await.map_err(|_| ReceiveError::Stopped)?;
        if committed.is_some_and(|committed| covers > committed && covers.index <= committed.index) {
            return Err(ReceiveError::OtherSnapshot);
        }
        if !has || !follows {
            return Ok(Some(meta));
        }
        // The sender waits for a sign of life meanwhile.
        let by = now::<RT>() + self.options.patience.min(STALL / 2);
        while !self.log.is_flushed(covers.index) {
            if now::<RT>() >= by {
                return Err(ReceiveError::NotFlushed);
            }
            RT::sleep(LOOK_FOR_FLUSH).await;
        }
        tracing::info!(%covers, "the log has all that the snapshot covers");
        Ok(None)
    }

    /// Begins, or goes on with what an earlier transfer of the same bytes left here. That is checked
    /// like what arrives; what is not sound is thrown away.
    async fn go_on(&self, begin: &SnapshotBegin, session: &mut Session) -> Result<Arriving, ReceiveError> {
        if let Some(fingerprint) = begin.fingerprint {
            let id = SnapshotId { covers: to_log_id(&begin.covers), len: begin.len, fingerprint };
            let ResumedSnapshot { writer, mut held } =
                self.storage().resume_snapshot(self.group(), &id).await?;
            let (mut decoder, mut received, mut shown) = (Decoder::default(), 0, 0);
            let sound = loop {
                match held.next().await {
                    Ok(Some(chunk)) if decoder.push(&chunk).is_ok() => received += chunk.len() as u64,
                    Ok(None) => break received <= begin.len,
                    Ok(Some(_)) | Err(_) => break false,
                }
                if received - shown >= BYTES_OF_LIFE {
                    shown = received;
                    self.tell(session, Kind::SnapshotAck, 0).await?;
                }
            };
            if sound {
                return Ok(Arriving { writer, decoder, received });
            }
            tracing::warn!(covers = %begin.covers, "what was there of a snapshot is damaged: it begins anew");
            writer.discard().await;
        }
        let writer = self.storage().snapshot_writer(self.group()).await?;
        Ok(Arriving { writer, decoder: Decoder::default(), received: 0 })
    }

    /// Whether the machine has room for a snapshot of so many bytes.
    async fn check_room(&self, bytes: u64) -> Result<(), ReceiveError> {
        Ok(self.applier.room_for::<RT>(bytes).await?)
    }

    /// Before it takes the place of one that can be restored.
    fn check_whole(&self, begin: &SnapshotBegin, decoder: Decoder) -> Result<Header, ReceiveError> {
        let header = decoder.finish()?;
        let found = (header.cluster_id, header.group, header.last_applied);
        if found != (self.cluster(), self.group(), to_log_id(&begin.covers)) {
            return Err(ReceiveError::OtherSnapshot);
        }
        self.accepts(&header)?;
        Ok(header)
    }

    async fn receive_chunks(
        &self,
        session: &mut Session,
        arriving: &mut Arriving,
    ) -> Result<(), ReceiveError> {
        let kinds = [Kind::SnapshotChunk, Kind::SnapshotEnd];
        let mut looked = 0;
        loop {
            if arriving.received - looked >= LOOK_EVERY {
                looked = arriving.received;
                self.check_room(looked).await?;
            }
            match in_time::<RT, _>(expect_frame(&mut session.stream, &kinds, self.group())).await?? {
                // A sign of life.
                Some((Kind::SnapshotChunk, chunk)) if chunk.is_empty() => {
                    self.tell(session, Kind::SnapshotAck, arriving.received).await?;
                }
                Some((Kind::SnapshotChunk, chunk)) => {
                    // Checked as it arrives; only what is whole is ever committed.
                    drop(arriving.decoder.push(&chunk)?);
                    arriving.received += chunk.len() as u64;
                    arriving.writer.write(chunk).await?;
                    self.tell(session, Kind::SnapshotAck, arriving.received).await?;
                }
                Some(_) => return Ok(()),
                None => return Err(ReceiveError::Ended),
            }
        }
    }

    async fn tell(&self, session: &mut Session, kind: Kind, bytes: u64) -> Result<(), ReceiveError> {
        let frame = wire::snapshot_bytes(kind, self.group(), bytes);
        Ok(in_time::<RT, _>(session.stream.tx.send(frame)).await??)
    }
}
