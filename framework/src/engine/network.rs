//! What this node sends to a peer on behalf of the library: votes, entries, snapshots.
//!
//! The five sub-traits are implemented and not the all-in-one trait, so that what is forgotten is a
//! compile error. One default would stay a trap, `pre_vote`, which grants: it is really sent here.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{RaftNetworkFactory, Snapshot};

use super::runtime::{Point, Runtime, Select2, Select3, before, now};
use super::send_snapshot::{SendError, send_snapshot};
use super::snapshot::SnapshotData;
use super::types::{CommittedLeaderId, RaftLogId, Record, TypeConfig, Vote};
use super::wire;
use crate::format::frame::Kind;
use crate::host::{Call, CallError, Host, OpenError, Session, Status, expect_frame, patience};
use crate::transport::Lane;
use crate::types::{GroupId, NodeId};

/// How many appends may be on their way to a follower at once.
const WINDOW: usize = 64;
/// How long the library waits before it tries a peer again that could not be reached.
const BACKOFF: Duration = Duration::from_millis(100);

/// Makes the library's connections.
pub(super) struct Factory<RT: Runtime> {
    pub(super) host: Arc<Host<RT>>,
    pub(super) group: GroupId,
    /// How long an append may go without an answer before its stream is given up, beside the time
    /// that its bytes take.
    pub(super) append_deadline: Duration,
    pub(super) chunk_bytes: usize,
}

/// How a connection sends what the library appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Appends {
    /// Pipelined, on a stream of their own.
    Streamed,
    /// One by one among the votes, so that no entries delay them.
    Heartbeats,
}

/// The library's connection to one peer.
pub(super) struct Network<RT: Runtime> {
    host: Arc<Host<RT>>,
    group: GroupId,
    target: NodeId,
    appends: Appends,
    append_deadline: Duration,
    chunk_bytes: usize,
    /// An append stream on which nothing is outstanding, kept for the next use. In a mutex only
    /// because the library wants connections to be `Sync`: it is never locked.
    idle: Mutex<Option<Session>>,
}

impl<RT: Runtime> Factory<RT> {
    fn client(&self, target: u64, appends: Appends) -> Network<RT> {
        Network {
            host: self.host.clone(),
            group: self.group,
            target: NodeId(target),
            appends,
            append_deadline: self.append_deadline,
            chunk_bytes: self.chunk_bytes,
            idle: Mutex::new(None),
        }
    }
}

impl<RT: Runtime> RaftNetworkFactory<TypeConfig<RT>> for Factory<RT> {
    type Network = Network<RT>;

    async fn new_client(&mut self, target: u64, _: &Record) -> Network<RT> {
        self.client(target, Appends::Streamed)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _: &Record) -> Network<RT> {
        self.client(target, Appends::Heartbeats)
    }
}

/// A peer that did not do what was asked. The library waits a little and tries again.
#[derive(Debug, thiserror::Error)]
enum PeerError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the peer answered {0:?}")]
    Status(Status),
    #[error("the stream ended")]
    Ended,
    #[error("no answer in time")]
    Timeout,
}

fn unreachable<RT: Runtime>(error: &PeerError) -> RPCError<TypeConfig<RT>> {
    RPCError::Unreachable(Unreachable::new(error))
}

impl<RT: Runtime> Network<RT> {
    async fn call(&self, call: Call, body: Bytes, option: &RPCOption) -> Result<Bytes, PeerError> {
        let deadline = now::<RT>() + option.soft_ttl();
        let link = self.host.link(self.target, Lane::Control);
        let reply = link.call(self.group, call, body, deadline).await?;
        match reply.status {
            Status::Done => Ok(reply.body),
            status => Err(PeerError::Status(status)),
        }
    }

    async fn ask<T>(
        &self,
        call: Call,
        body: Bytes,
        option: &RPCOption,
        read: impl FnOnce(Bytes) -> Result<T, crate::format::FormatError>,
    ) -> Result<T, RPCError<TypeConfig<RT>>> {
        let answer = async { Ok(read(self.call(call, body, option).await?).map_err(OpenError::from)?) };
        answer.await.map_err(|error: PeerError| unreachable(&error))
    }

    /// Sends appends one by one.
    async fn heartbeat(
        &self,
        request: AppendEntriesRequest<TypeConfig<RT>>,
        option: &RPCOption,
    ) -> Result<StreamAppendResult<TypeConfig<RT>>, RPCError<TypeConfig<RT>>> {
        if RT::reaches(Point::HeartbeatLost) {
            return Err(unreachable(&PeerError::Timeout));
        }
        let mut body = bytes::BytesMut::with_capacity(wire::append_bytes(&request));
        wire::put_append(&mut body, &request);
        self.ask(Call::Heartbeat, body.freeze(), option, wire::read_append_result::<RT>).await
    }
}

impl<RT: Runtime> NetBackoff<TypeConfig<RT>> for Network<RT> {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(BACKOFF)))
    }
}

impl<RT: Runtime> NetVote<TypeConfig<RT>> for Network<RT> {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig<RT>>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<RT>>, RPCError<TypeConfig<RT>>> {
        self.ask(Call::Vote, wire::vote_request(&request), &option, wire::read_vote_response::<RT>).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig<RT>>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<RT>>, RPCError<TypeConfig<RT>>> {
        self.ask(Call::PreVote, wire::vote_request(&request), &option, wire::read_vote_response::<RT>).await
    }
}

impl<RT: Runtime> NetTransferLeader<TypeConfig<RT>> for Network<RT> {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig<RT>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig<RT>>, RPCError<TypeConfig<RT>>> {
        let body = wire::transfer_request(&request);
        self.ask(Call::TransferLeader, body, &option, wire::read_transfer_response::<RT>).await
    }
}

impl<RT: Runtime> NetSnapshot<TypeConfig<RT>> for Network<RT> {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<CommittedLeaderId, u64, Record, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig<RT>>, StreamingError<TypeConfig<RT>>> {
        let sending = async {
            let session = self.host.open(self.target, Lane::Snapshot).await?;
            send_snapshot::<RT>(session, self.group, &vote, snapshot, self.chunk_bytes).await
        };
        match RT::select2(sending, cancel).await {
            Select2::First(Ok(vote)) => Ok(SnapshotResponse { vote }),
            Select2::First(Err(error)) => {
                let error: SendError = error;
                tracing::warn!(node = %self.target, %error, "snapshot not sent");
                Err(StreamingError::Unreachable(Unreachable::new(&error)))
            }
            Select2::Second(closed) => Err(StreamingError::Closed(closed)),
        }
    }
}

type AppendResults<'s, RT> =
    BoxStream<'s, Result<StreamAppendResult<TypeConfig<RT>>, RPCError<TypeConfig<RT>>>>;

impl<RT: Runtime> NetStreamAppend<TypeConfig<RT>> for Network<RT> {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s, RT>, RPCError<TypeConfig<RT>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig<RT>>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            if self.appends == Appends::Heartbeats {
                let network = &*self;
                let answers = input.then(move |request| {
                    let option = option.clone();
                    async move { network.heartbeat(request, &option).await }
                });
                return Ok(Box::pin(answers) as AppendResults<'s, RT>);
            }
            // The library waits out its backoff inside the input: it must be polled before anything
            // can fail, or a dead peer makes the replication spin.
            let Some(first) = input.next().await else {
                return Ok(Box::pin(futures::stream::empty()) as AppendResults<'s, RT>);
            };
            let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            let session = if let Some(session) = idle {
                session
            } else {
                let opened = self.host.open(self.target, Lane::Append).await;
                opened.map_err(|error| unreachable(&error.into()))?
            };
            let pipeline = Pipeline {
                network: self,
                input,
                next: Some(first),
                input_ended: false,
                session: Some(session),
                unanswered: VecDeque::new(),
                timer: None,
            };
            Ok(Box::pin(futures::stream::unfold(pipeline, Pipeline::step)) as AppendResults<'s, RT>)
        })
    }
}

/// Appends on their way over one stream, answered in order.
struct Pipeline<'s, RT: Runtime, S> {
    network: &'s mut Network<RT>,
    input: S,
    next: Option<AppendEntriesRequest<TypeConfig<RT>>>,
    input_ended: bool,
    /// `None` once the stream has failed.
    session: Option<Session>,
    /// Every unanswered append; the first begins anew with every answer.
    unanswered: VecDeque<Sent<RT>>,
    /// One timer, armed anew when it fires, or for an append that is due earlier.
    timer: Option<Timer<RT>>,
}

struct Timer<RT: Runtime> {
    due: RT::Instant,
    sleep: Pin<Box<RT::Sleep>>,
}

/// An append on its way.
struct Sent<RT: Runtime> {
    at: RT::Instant,
    bytes: usize,
    last: Option<RaftLogId>,
}

enum Event<RT: Runtime> {
    Answer(Option<(Kind, Bytes)>),
    Request(Option<AppendEntriesRequest<TypeConfig<RT>>>),
    Timer,
}

impl<RT: Runtime, S> Pipeline<'_, RT, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig<RT>>> + Send + Unpin + 'static,
{
    async fn step(
        mut self,
    ) -> Option<(Result<StreamAppendResult<TypeConfig<RT>>, RPCError<TypeConfig<RT>>>, Self)> {
        // Taken out while in use: a pipeline that is dropped half-way takes its stream with it.
        let mut session = self.session.take()?;
        match self.advance(&mut session).await {
            Ok(Some((result, whole))) => {
                // After an append that was taken in part nothing more comes over the stream: the library
                // goes on from there with another.
                if result.is_ok() && whole {
                    self.session = Some(session);
                }
                Some((Ok(result), self))
            }
            Ok(None) => {
                *self.network.idle.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(session);
                None
            }
            Err(error) => Some((Err(unreachable(&error)), self)),
        }
    }

    /// Sends and waits until there is an answer, and says whether it is to a whole append; `None` when all
    /// were given and no more come.
    async fn advance(
        &mut self,
        session: &mut Session,
    ) -> Result<Option<(StreamAppendResult<TypeConfig<RT>>, bool)>, PeerError> {
        loop {
            if let Some(request) = self.next.take() {
                self.send(session, &request).await?;
            }
            if self.input_ended && self.unanswered.is_empty() {
                return Ok(None);
            }
            match self.event(session).await? {
                Event::Answer(Some((_, body))) => {
                    let result = wire::read_append_result::<RT>(body).map_err(OpenError::from)?;
                    let Some(sent) = self.unanswered.pop_front() else { return Err(PeerError::Ended) };
                    if let Some(first) = self.unanswered.front_mut() {
                        first.at = now::<RT>();
                    }
                    let whole = result.as_ref().map_or(true, |matching| *matching >= sent.last);
                    return Ok(Some((result, whole)));
                }
                Event::Answer(None) => return Err(PeerError::Ended),
                Event::Request(Some(request)) => self.next = Some(request),
                Event::Request(None) => self.input_ended = true,
                Event::Timer => {
                    self.timer = None;
                    if self.due().is_some_and(|due| now::<RT>() >= due) {
                        return Err(PeerError::Timeout);
                    }
                }
            }
        }
    }

    /// When the first unanswered append is overdue.
    fn due(&self) -> Option<RT::Instant> {
        let first = self.unanswered.front()?;
        Some(first.at + patience(self.network.append_deadline, first.bytes))
    }

    async fn send(
        &mut self,
        session: &mut Session,
        request: &AppendEntriesRequest<TypeConfig<RT>>,
    ) -> Result<(), PeerError> {
        let frame = wire::append_frame(self.network.group, request);
        let bytes = frame.len();
        // What is still under way goes first.
        let ahead: usize = self.unanswered.iter().map(|sent| sent.bytes).sum();
        let deadline = now::<RT>() + patience(self.network.append_deadline, ahead + bytes);
        match before::<RT, _>(deadline, session.stream.tx.send(frame)).await {
            Some(result) => result.map_err(OpenError::from)?,
            None => return Err(PeerError::Timeout),
        }
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        self.unanswered.push_back(Sent { at: now::<RT>(), bytes, last });
        if RT::reaches(Point::AppendLost) { Err(PeerError::Ended) } else { Ok(()) }
    }

    async fn event(&mut self, session: &mut Session) -> Result<Event<RT>, PeerError> {
        let group = self.network.group;
        let due = self.due();
        if let Some(due) = due.filter(|due| self.timer.as_ref().is_none_or(|timer| timer.due > *due)) {
            self.timer = Some(Timer { due, sleep: Box::pin(RT::sleep_until(due)) });
        }
        let waiting = due.is_some();
        let timer = self.timer.as_mut().filter(|_| waiting);
        let timer = async {
            match timer {
                Some(timer) => timer.sleep.as_mut().await,
                None => futures::future::pending().await,
            }
        };
        let answer = async {
            if waiting {
                expect_frame(&mut session.stream, &[Kind::Appended], group).await
            } else {
                futures::future::pending().await
            }
        };
        let may_send = !self.input_ended && self.unanswered.len() < WINDOW;
        let request =
            async { if may_send { self.input.next().await } else { futures::future::pending().await } };
        Ok(match RT::select3(answer, request, timer).await {
            Select3::First(answer) => Event::Answer(answer?),
            Select3::Second(request) => Event::Request(request),
            Select3::Third(()) => Event::Timer,
        })
    }
}
