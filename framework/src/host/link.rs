//! Requests and their answers over one long-lived stream per peer and lane.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use futures::channel::{mpsc, oneshot};
use futures::{SinkExt, StreamExt};

use super::{Host, OpenError, Session, lock, patience};
use crate::engine::runtime::{Bug, Runtime, Select2, before, now};
use crate::error::TransportError;
use crate::format::frame::{self, Frame, Kind};
use crate::format::{FormatError, Reader};
use crate::transport::{FrameSink, FrameStream, Lane};
use crate::types::{GroupId, NodeId};

/// What a request asks for. The numbers are permanent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Call {
    Vote = 1,
    PreVote = 2,
    TransferLeader = 3,
    Heartbeat = 4,
    Census = 5,
    /// What membership the node knows, for one that was away.
    Membership = 6,
    Write = 16,
    ReadIndex = 17,
    /// Who the members are, or a change of them.
    Members = 24,
}

impl Call {
    const ALL: [Self; 9] = [
        Self::Vote,
        Self::PreVote,
        Self::TransferLeader,
        Self::Heartbeat,
        Self::Census,
        Self::Membership,
        Self::Write,
        Self::ReadIndex,
        Self::Members,
    ];

    /// The call with this number on `lane`.
    pub(super) fn from_wire(number: u8, lane: Lane) -> Option<Self> {
        Self::ALL.into_iter().find(|call| *call as u8 == number && call.lane() == lane)
    }

    fn lane(self) -> Lane {
        match self {
            Self::Write | Self::ReadIndex | Self::Members => Lane::Client,
            _ => Lane::Control,
        }
    }
}

/// How a request was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// It was handled; the body is the call's own.
    Done = 0,
    /// It was not understood; nothing was done.
    Malformed = 1,
    /// The group is not served here; nothing was done.
    NoSuchGroup = 2,
    /// The node cannot answer any more; what was done is unknown.
    Stopped = 3,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: Status,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn done(body: Bytes) -> Self {
        Self { status: Status::Done, body }
    }

    pub(crate) fn empty(status: Status) -> Self {
        Self { status, body: Bytes::new() }
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// It never left this node.
    #[error("the peer could not be reached: {0}")]
    NotSent(Arc<OpenError>),
    /// Too much waits for this peer already. It never left this node.
    #[error("{queued} bytes wait for the peer already")]
    Busy { queued: usize },
    /// It was given up before it left this node.
    #[error("given up before it was sent")]
    GivenUp,
    /// It was sent; no answer came in time.
    #[error("no answer in time")]
    Timeout,
    /// It was sent, and then the stream was lost.
    #[error("the connection was lost before the answer")]
    Lost,
}

type Waiter = oneshot::Sender<Result<Reply, CallError>>;

/// Whether a request has gone out: decided once, by whoever comes first.
#[derive(Default)]
struct Fate(AtomicU8);

impl Fate {
    const SENT: u8 = 1;
    const WITHDRAWN: u8 = 2;

    fn decide(&self, fate: u8) -> bool {
        self.0.compare_exchange(0, fate, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

struct Outgoing {
    fate: Arc<Fate>,
    group: GroupId,
    call: Call,
    body: Bytes,
    waiter: Waiter,
    /// Its place in the queue, which it keeps when its caller has given up.
    _queued: Arc<Queued>,
}

/// The requests to one peer on one lane.
pub(crate) struct Link<RT: Runtime> {
    tx: mpsc::UnboundedSender<Outgoing>,
    queued: Arc<AtomicUsize>,
    queue_bytes: usize,
    runtime: PhantomData<fn() -> RT>,
}

/// Notices a stream on which nothing comes back. A peer that is merely slow shows a sign of life.
struct Silence<RT: Runtime> {
    waiting: Mutex<Waiting<RT>>,
    limit: Duration,
}

struct Waiting<RT: Runtime> {
    /// When the first request went out that nothing has come back since.
    since: Option<RT::Instant>,
    /// What went out and was not answered: large requests take their time on the way.
    bytes: usize,
}

impl<RT: Runtime> Silence<RT> {
    fn new(limit: Duration) -> Self {
        Self { waiting: Mutex::new(Waiting { since: None, bytes: 0 }), limit }
    }

    fn sent(&self, bytes: usize) {
        let mut waiting = lock(&self.waiting);
        waiting.since.get_or_insert_with(now::<RT>);
        waiting.bytes += bytes;
    }

    /// Something has come back: the answer to so many bytes, after which others are still owed or not.
    fn received(&self, answered: usize, others: bool) {
        let mut waiting = lock(&self.waiting);
        waiting.since = others.then(now::<RT>);
        waiting.bytes -= answered;
    }

    /// Resolves when nothing has come back for the limit.
    async fn is_too_long(&self) {
        loop {
            let due = {
                let waiting = lock(&self.waiting);
                waiting.since.map(|since| since + patience(self.limit, waiting.bytes))
            };
            let look_again = now::<RT>() + self.limit;
            match due {
                Some(due) if now::<RT>() >= due => return,
                // An answer to what is large leaves the others less time.
                Some(due) => RT::sleep_until(due.min(look_again)).await,
                None => RT::sleep_until(look_again).await,
            }
        }
    }
}

/// Gives back what a request took from the queue, however it ends.
struct Queued(Arc<AtomicUsize>, usize);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl<RT: Runtime> Link<RT> {
    pub(super) fn start(host: &Arc<Host<RT>>, node: NodeId, lane: Lane) -> Arc<Self> {
        let (tx, rx) = mpsc::unbounded();
        let link =
            Self { tx, queued: Arc::default(), queue_bytes: host.parts.queue_bytes, runtime: PhantomData };
        host.tasks.spawn::<RT>(drive(Arc::downgrade(host), node, lane, rx));
        Arc::new(link)
    }

    /// Sends a request and waits for its answer until `deadline`.
    pub(crate) async fn call(
        &self,
        group: GroupId,
        call: Call,
        body: Bytes,
        deadline: RT::Instant,
    ) -> Result<Reply, CallError> {
        self.call_unless(group, call, body, deadline, std::future::pending()).await
    }

    /// As [`Self::call`]; given up when `pointless` resolves before the request has left this node.
    /// One that has left is waited for all the same: what became of it matters.
    pub(crate) async fn call_unless(
        &self,
        group: GroupId,
        call: Call,
        body: Bytes,
        deadline: RT::Instant,
        pointless: impl Future<Output = ()> + Send,
    ) -> Result<Reply, CallError> {
        let bytes = body.len() + frame::HEADER_BYTES;
        let queued = self.queued.fetch_add(bytes, Ordering::Relaxed);
        let place = Arc::new(Queued(self.queued.clone(), bytes));
        // One is always let through, or the largest command never were.
        if queued > 0 && queued + bytes > self.queue_bytes {
            return Err(CallError::Busy { queued });
        }
        let (waiter, mut answer) = oneshot::channel();
        let fate = Arc::new(Fate::default());
        if self
            .tx
            .unbounded_send(Outgoing {
                fate: fate.clone(),
                group,
                call,
                body,
                waiter,
                _queued: place.clone(),
            })
            .is_err()
        {
            return Err(CallError::NotSent(Arc::new(OpenError::Transport(TransportError::Closed))));
        }
        let answered = async {
            match RT::select2(&mut answer, pointless).await {
                Select2::First(answered) => Some(answered),
                Select2::Second(()) if fate.decide(Fate::WITHDRAWN) => None,
                Select2::Second(()) => Some(answer.await),
            }
        };
        let answered = match before::<RT, _>(deadline, answered).await {
            Some(None) => return Err(CallError::GivenUp),
            other => other.flatten(),
        };
        match answered {
            Some(Ok(result)) => result,
            // The link's task has ended: the node is shutting down.
            Some(Err(_)) => Err(CallError::Lost),
            None if fate.decide(Fate::WITHDRAWN) => Err(CallError::NotSent(Arc::new(OpenError::Timeout))),
            None => Err(CallError::Timeout),
        }
    }
}

async fn drive<RT: Runtime>(
    host: Weak<Host<RT>>,
    node: NodeId,
    lane: Lane,
    mut requests: mpsc::UnboundedReceiver<Outgoing>,
) {
    while let Some(first) = requests.next().await {
        if first.waiter.is_canceled() {
            continue;
        }
        let Some(host) = host.upgrade() else { return };
        match host.open(node, lane).await {
            Ok(session) => {
                let limit = host.parts.silence;
                drop(host);
                let silence = Silence::new(limit);
                run::<RT>(session, first, &mut requests, &silence).await;
                if RT::planted(Bug::LinkNotRedialled) {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%node, %lane, %error, "no stream");
                let error = Arc::new(error);
                let mut next = Some(first);
                while let Some(outgoing) = next {
                    drop(outgoing.waiter.send(Err(CallError::NotSent(error.clone()))));
                    next = requests.try_recv().ok();
                }
            }
        }
    }
}

/// Who waits for an answer, and how many bytes were asked with.
type Pending = Mutex<BTreeMap<u64, (Waiter, usize)>>;

/// Carries requests and answers over one stream until it fails.
async fn run<RT: Runtime>(
    session: Session,
    first: Outgoing,
    requests: &mut mpsc::UnboundedReceiver<Outgoing>,
    silence: &Silence<RT>,
) {
    let pending = Pending::default();
    let (tx, rx) = (session.stream.tx, session.stream.rx);
    // Reading and writing are apart: two full pipes must not wait for each other.
    let writing = write_requests(tx, first, requests, &pending, silence);
    let reading = read_replies(rx, &pending, silence);
    RT::select3(reading, writing, silence.is_too_long()).await;
    for (waiter, _) in std::mem::take(&mut *lock(&pending)).into_values() {
        drop(waiter.send(Err(CallError::Lost)));
    }
}

async fn write_requests<RT: Runtime>(
    mut tx: FrameSink,
    first: Outgoing,
    requests: &mut mpsc::UnboundedReceiver<Outgoing>,
    pending: &Pending,
    silence: &Silence<RT>,
) -> Result<(), TransportError> {
    let mut correlation = 0;
    let mut next = Some(first);
    loop {
        while let Some(outgoing) = next.take().or_else(|| requests.try_recv().ok()) {
            if outgoing.waiter.is_canceled() || !outgoing.fate.decide(Fate::SENT) {
                continue;
            }
            correlation += 1;
            let mut out = frame::begin(Kind::Request, outgoing.group, outgoing.body.len() + 9);
            out.put_u64_le(correlation);
            out.put_u8(outgoing.call as u8);
            out.put_slice(&outgoing.body);
            lock(pending).insert(correlation, (outgoing.waiter, out.len()));
            silence.sent(out.len());
            tx.feed(out.freeze()).await?;
        }
        tx.flush().await?;
        next = requests.next().await;
        if next.is_none() {
            return Ok(());
        }
    }
}

async fn read_replies<RT: Runtime>(
    mut rx: FrameStream,
    pending: &Pending,
    silence: &Silence<RT>,
) -> Result<(), OpenError> {
    while let Some(bytes) = rx.next().await {
        let (correlation, reply) = decode_reply(Frame::decode(bytes?)?)?;
        let (answered, others) = {
            let mut pending = lock(pending);
            (pending.remove(&correlation), !pending.is_empty())
        };
        silence.received(answered.as_ref().map_or(0, |(_, bytes)| *bytes), others);
        if let Some((waiter, _)) = answered {
            drop(waiter.send(Ok(reply)));
        }
    }
    Ok(())
}

fn decode_reply(frame: Frame) -> Result<(u64, Reply), FormatError> {
    let mut reader = Reader::new("a reply", frame.body);
    if frame.kind != Kind::Reply {
        return Err(reader.unknown("kind", frame.kind as u64));
    }
    let correlation = reader.u64("correlation")?;
    let status = match reader.u8("status")? {
        0 => Status::Done,
        1 => Status::Malformed,
        2 => Status::NoSuchGroup,
        3 => Status::Stopped,
        found => return Err(reader.unknown("status", u64::from(found))),
    };
    Ok((correlation, Reply { status, body: reader.rest() }))
}

/// The correlation of a reply that answers nothing and shows that its sender lives.
pub(super) const SIGN_OF_LIFE: u64 = 0;

/// Encodes the answer to the request with this correlation.
pub(super) fn encode_reply(group: GroupId, correlation: u64, reply: &Reply) -> Bytes {
    let mut out = frame::begin(Kind::Reply, group, reply.body.len() + 9);
    out.put_u64_le(correlation);
    out.put_u8(reply.status as u8);
    out.put_slice(&reply.body);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_reply() {
        let reply = |status| Reply { status, body: Bytes::from_static(b"x") };
        let statuses = [Status::Done, Status::Malformed, Status::NoSuchGroup, Status::Stopped];
        for (code, status) in (0..).zip(statuses) {
            let bytes = encode_reply(GroupId(5), 6, &reply(status));
            let golden = [1, 4, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, code, b'x'];
            assert_eq!(bytes.as_ref(), golden);
            let (correlation, read) = decode_reply(Frame::decode(bytes).expect("whole")).expect("whole");
            assert_eq!((correlation, read.status, read.body.as_ref()), (6, status, &b"x"[..]));
        }
    }

    #[test]
    fn golden_calls() {
        let control = [
            Call::Vote,
            Call::PreVote,
            Call::TransferLeader,
            Call::Heartbeat,
            Call::Census,
            Call::Membership,
        ];
        let numbered = (1..).zip(control).map(|(number, call)| (number, call, Lane::Control));
        let client = [
            (16, Call::Write, Lane::Client),
            (17, Call::ReadIndex, Lane::Client),
            (24, Call::Members, Lane::Client),
        ];
        for (number, call, lane) in numbered.chain(client) {
            assert_eq!(Call::from_wire(number, lane), Some(call));
            let other = if lane == Lane::Control { Lane::Client } else { Lane::Control };
            assert_eq!(Call::from_wire(number, other), None, "{call:?} belongs to one lane");
        }
        assert_eq!(Call::from_wire(0, Lane::Control), None);
    }
}
