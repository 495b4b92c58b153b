//! Reads: what a read waits for, and how reads share the question to the leader.
//!
//! A linearizable read waits for an index that a leader gave after a quorum confirmed that it still
//! leads, asked for after the read began (Raft dissertation, section 6.4). Reads that come while
//! such a question is under way share the next one. A stale read takes the last answer, if it is
//! recent enough.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use futures::channel::{mpsc, oneshot};

use super::core::{Core, LONGEST, Running, Unavailable};
use super::handle::CallOptions;
use crate::client::Consistency;
use crate::engine::runtime::{AsyncRuntime, Bug, Instant as _, Point, Runtime, Select2, before, now};
use crate::engine::{Group, QueryError, ReadIndexError};
use crate::error::ReadError;
use crate::format::{FormatError, Reader, Writer};
use crate::host::{Call, Host, Status};
use crate::state_machine::erased::AnswerError;
use crate::transport::Lane;
use crate::types::{LogIndex, NodeId};

impl From<Unavailable> for ReadError {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::NotReady => Self::NotReady,
            Unavailable::ShuttingDown => Self::ShuttingDown,
            Unavailable::Stopped => Self::Stopped,
        }
    }
}

impl<RT: Runtime> Core<RT> {
    /// Answers a query from this node's own state, once that is as recent as asked for.
    pub(super) async fn read(
        &self,
        query: Bytes,
        consistency: Consistency,
        options: CallOptions,
    ) -> Result<Bytes, ReadError> {
        let deadline = self.deadline(options);
        let _call = self.enter()?;
        let running = self.running(deadline).await?;
        match consistency {
            Consistency::Local => {}
            Consistency::Linearizable => {
                let started = now::<RT>();
                if !self.catch_up(running, deadline).await {
                    return Err(running.not_caught_up(ReadError::NoLeader { waited: started.elapsed() }));
                }
            }
            Consistency::Stale { at_most } => {
                let fresh = self.is_fresh(running, at_most, deadline).await;
                if !fresh && !self.catch_up(running, deadline).await {
                    return Err(running.not_caught_up(ReadError::TooStale { at_most }));
                }
            }
        }
        RT::pause(Point::BeforeQuery).await;
        let answer = running.group.query(query).await.map_err(|error| match error {
            QueryError::Decode(error) => ReadError::BadQuery(error),
            QueryError::Stopped => ReadError::Stopped,
        })?;
        answer.map_err(|error| match error {
            AnswerError::TooLarge { len } => ReadError::NoAnswer { len },
            // The others are about commands of sessions.
            _ => ReadError::NoAnswer { len: 0 },
        })
    }

    /// Waits until everything is applied here that was acknowledged anywhere before the call;
    /// `false` when the deadline passed or the engine stopped.
    async fn catch_up(&self, running: &Running<RT>, deadline: RT::Instant) -> bool {
        let catching_up = async {
            loop {
                let view = running.group.view().get();
                if view.stopped.is_some() {
                    return false;
                }
                match running.barrier.next().await {
                    Some(_) if RT::planted(Bug::ReadIndexNotAwaited) => return true,
                    Some(index) => {
                        running.group.applied(index).await;
                        return true;
                    }
                    None => self.wait_for_change(running, &view, deadline).await,
                }
            }
        };
        before::<RT, _>(deadline, catching_up).await.unwrap_or(false)
    }

    /// Whether the state here is known to have everything acknowledged more than `at_most` ago.
    async fn is_fresh(&self, running: &Running<RT>, at_most: Duration, deadline: RT::Instant) -> bool {
        let Some((asked, index)) = running.barrier.last() else { return false };
        let limit = deadline.min(asked + at_most.min(LONGEST));
        now::<RT>() <= limit && before::<RT, _>(limit, running.group.applied(index)).await.is_some()
    }
}

impl<RT: Runtime> Running<RT> {
    fn not_caught_up(&self, otherwise: ReadError) -> ReadError {
        if self.group.view().get().stopped.is_some() { ReadError::Stopped } else { otherwise }
    }
}

type Waiter = oneshot::Sender<Option<LogIndex>>;

/// An index to wait for, and when it was asked for.
type Last<RT> = Option<(<RT as AsyncRuntime>::Instant, LogIndex)>;

/// Shares questions to the leader among reads.
pub(super) struct Barrier<RT: Runtime> {
    waiters: mpsc::UnboundedSender<Waiter>,
    last: Arc<Mutex<Last<RT>>>,
}

impl<RT: Runtime> Barrier<RT> {
    /// A barrier, and the task that asks.
    pub(super) fn new(
        host: Arc<Host<RT>>,
        group: Arc<Group<RT>>,
        patience: Duration,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (waiters, mut arriving) = mpsc::unbounded::<Waiter>();
        let last = Arc::new(Mutex::new(None));
        let this = Self { waiters, last: last.clone() };
        let task = async move {
            while let Some(first) = arriving.next().await {
                let mut round = vec![first];
                // Whoever has come by now began before the question is asked.
                while let Ok(waiter) = arriving.try_recv() {
                    round.push(waiter);
                }
                RT::pause(Point::BeforeReadIndex).await;
                let asked = now::<RT>();
                let asking = ask(&host, &group, asked + patience);
                let known = *last.lock().unwrap_or_else(PoisonError::into_inner);
                let index = match known.filter(|_| RT::planted(Bug::ReadIndexReused)) {
                    Some((_, index)) => Some(index),
                    None => before::<RT, _>(asked + patience, asking).await.flatten(),
                };
                if let Some(index) = index {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, index));
                }
                for waiter in round {
                    let _ = waiter.send(index);
                }
            }
        };
        (this, task)
    }

    /// The index to wait for, asked for after this call; `None` when no leader could be asked.
    async fn next(&self) -> Option<LogIndex> {
        let (waiter, answer) = oneshot::channel();
        self.waiters.unbounded_send(waiter).ok()?;
        answer.await.ok().flatten()
    }

    /// The last answer, and when it was asked for.
    fn last(&self) -> Last<RT> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask<RT: Runtime>(
    host: &Arc<Host<RT>>,
    group: &Group<RT>,
    deadline: RT::Instant,
) -> Option<LogIndex> {
    let view = group.view().get();
    let leader = view.leader?;
    if leader == host.node_id() {
        return group.read_index().await.ok();
    }
    let link = host.link(leader, Lane::Client);
    let asking = link.call(group.group(), Call::ReadIndex, Bytes::new(), deadline);
    // What this one would say is of no use once another leads; asking twice does no harm.
    let Select2::First(reply) = RT::select2(asking, group.moved_on(view.term, leader)).await else {
        return None;
    };
    let reply = reply.ok()?;
    if reply.status != Status::Done {
        return None;
    }
    decode(reply.body).ok()?.ok()
}

/// `tag u8`: 0 the index u64, 1 not leader (leader: option of u64), 2 no quorum, 3 stopped.
pub(super) fn encode(result: Result<LogIndex, ReadIndexError>) -> Bytes {
    let mut out = BytesMut::new();
    match result {
        Ok(index) => {
            out.put_u8(0);
            out.put_u64_le(index.0);
        }
        Err(ReadIndexError::NotLeader { leader }) => {
            out.put_u8(1);
            out.put_option(leader, |out, leader| out.put_u64_le(leader.0));
        }
        Err(ReadIndexError::NoQuorum) => out.put_u8(2),
        Err(ReadIndexError::Stopped) => out.put_u8(3),
    }
    out.freeze()
}

fn decode(body: Bytes) -> Result<Result<LogIndex, ReadIndexError>, FormatError> {
    let mut reader = Reader::new("a read index", body);
    let result = match reader.u8("tag")? {
        0 => Ok(LogIndex(reader.u64("index")?)),
        1 => {
            let leader = reader.option("leader", |reader| reader.u64("leader").map(NodeId))?;
            Err(ReadIndexError::NotLeader { leader })
        }
        2 => Err(ReadIndexError::NoQuorum),
        3 => Err(ReadIndexError::Stopped),
        found => return Err(reader.unknown("tag", u64::from(found))),
    };
    reader.finish()?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_comes_back() {
        for result in [
            Ok(LogIndex(7)),
            Err(ReadIndexError::NotLeader { leader: Some(NodeId(2)) }),
            Err(ReadIndexError::NotLeader { leader: None }),
            Err(ReadIndexError::NoQuorum),
            Err(ReadIndexError::Stopped),
        ] {
            assert_eq!(decode(encode(result)), Ok(result));
        }
    }

    #[test]
    fn golden_read_index() {
        assert_eq!(encode(Ok(LogIndex(7))).as_ref(), [0, 7, 0, 0, 0, 0, 0, 0, 0]);
        let not_leader = |leader| encode(Err(ReadIndexError::NotLeader { leader }));
        assert_eq!(not_leader(Some(NodeId(2))).as_ref(), [1, 1, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(not_leader(None).as_ref(), [1, 0]);
        assert_eq!(encode(Err(ReadIndexError::NoQuorum)).as_ref(), [2]);
        assert_eq!(encode(Err(ReadIndexError::Stopped)).as_ref(), [3]);
    }
}
