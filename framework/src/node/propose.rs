//! Step 3 of a write: commands that arrive together share an entry.
//!
//! While as many batches are on their way as may be, commands wait and gather; a command that comes
//! when there is room goes at once, alone, so that a lone write pays nothing for batching.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::channel::{mpsc, oneshot};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

use crate::engine::runtime::{Bug, Point, Runtime};
use crate::engine::{Group, ProposeError};
use crate::format::entry::{Body, Command};
use crate::node::config::LimitsSection;
use crate::sessions::Numbered;
use crate::state_machine::erased::Replied;

/// What became of a command.
pub(super) type Outcome = Result<Replied, ProposeError>;

struct Waiting {
    ticket: u64,
    numbered: Option<Numbered>,
    command: Bytes,
    done: oneshot::Sender<Outcome>,
}

/// What a command takes in an entry beside its bytes, and beside that when one of the entry is of a session.
const LENGTH_BYTES: usize = 4;
const NUMBER_BYTES: usize = 24;

impl Waiting {
    /// How many bytes it takes: also what opens or ends a session is to be bounded.
    fn len(&self) -> usize {
        self.command.len() + LENGTH_BYTES + if self.numbered.is_some() { NUMBER_BYTES } else { 0 }
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Of commands that have no outcome yet, waiting or on their way.
    bytes: usize,
    in_flight: usize,
    next_ticket: u64,
}

/// What the proposer's task is told.
enum Signal {
    /// A batch is over: there may be room for what waits.
    Room,
    /// A batch that the engine could not take at once.
    Unsent(BoxFuture<'static, ()>),
}

struct Shared {
    queue: Mutex<Queue>,
    limits: LimitsSection,
    signals: mpsc::UnboundedSender<Signal>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what goes into the next entry, if there is room for one.
    fn take<RT: Runtime>(self: &Arc<Self>) -> Option<Batch> {
        let mut queue = self.lock();
        if queue.in_flight >= self.limits.batches_in_flight {
            return None;
        }
        let (mut waiters, mut commands, mut bytes) = (Vec::new(), Vec::new(), 0);
        let (mut entry_bytes, mut sessions) = (0, false);
        while let Some(next) = queue.waiting.front() {
            let len = next.len();
            let sessions_with = sessions || next.numbered.is_some();
            let with = entry_bytes + LENGTH_BYTES + next.command.len();
            let numbers = if sessions_with { (waiters.len() + 1) * NUMBER_BYTES } else { 0 };
            let full = with + numbers > self.limits.batch_bytes || RT::reaches(Point::LoneCommand);
            if !waiters.is_empty() && full {
                break;
            }
            let Some(next) = queue.waiting.pop_front() else { break };
            if next.done.is_canceled() {
                queue.bytes -= len;
                continue;
            }
            bytes += len;
            (entry_bytes, sessions) = (with, sessions_with);
            commands.push(numbered(next.numbered, next.command));
            waiters.push(next.done);
        }
        if waiters.is_empty() {
            return None;
        }
        queue.in_flight += 1;
        Some(Batch { shared: self.clone(), waiters, commands, bytes })
    }
}

/// Commands on their way in one entry.
struct Batch {
    shared: Arc<Shared>,
    waiters: Vec<oneshot::Sender<Outcome>>,
    commands: Vec<Command>,
    bytes: usize,
}

impl Batch {
    fn complete<RT: Runtime>(mut self, result: Result<Vec<Replied>, ProposeError>) {
        let waiters = std::mem::take(&mut self.waiters);
        match result {
            Ok(mut replies) => {
                if RT::planted(Bug::AnswersSwapped) {
                    let answers: Vec<_> = replies.iter().rev().map(|reply| reply.answer.clone()).collect();
                    replies.iter_mut().zip(answers).for_each(|(reply, answer)| reply.answer = answer);
                }
                for (waiter, reply) in waiters.into_iter().zip(replies) {
                    drop(waiter.send(Ok(reply)));
                }
            }
            Err(error) => waiters.into_iter().for_each(|waiter| drop(waiter.send(Err(error)))),
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        {
            let mut queue = self.shared.lock();
            queue.bytes -= self.bytes;
            queue.in_flight -= 1;
        }
        for waiter in self.waiters.drain(..) {
            drop(waiter.send(Err(ProposeError::Stopped)));
        }
        drop(self.shared.signals.unbounded_send(Signal::Room));
    }
}

/// Gathers commands into entries.
pub(super) struct Proposer<RT: Runtime> {
    shared: Arc<Shared>,
    group: Arc<Group<RT>>,
}

/// Tells those that still wait when the task that would send them has ended.
struct FailWhatWaits(Arc<Shared>);

impl Drop for FailWhatWaits {
    fn drop(&mut self) {
        let waiting = std::mem::take(&mut self.0.lock().waiting);
        for waiting in waiting {
            // Never handed to the engine: not applied, and here nobody will.
            let _ = waiting.done.send(Err(ProposeError::NotLeader { leader: None }));
        }
    }
}

/// A command on its way.
pub(super) struct Proposed {
    ticket: u64,
    pub(super) outcome: oneshot::Receiver<Outcome>,
}

/// The queue is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full {
    pub(super) queued: usize,
    pub(super) limit: usize,
}

impl<RT: Runtime> Proposer<RT> {
    /// A proposer, and the task that sends what has gathered.
    pub(super) fn new(
        group: Arc<Group<RT>>,
        limits: LimitsSection,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (signals, mut signalled) = mpsc::unbounded();
        let shared = Arc::new(Shared { queue: Mutex::default(), limits, signals });
        let this = Self { shared: shared.clone(), group: group.clone() };
        let task = async move {
            let _left = FailWhatWaits(shared.clone());
            while let Some(signal) = signalled.next().await {
                match signal {
                    Signal::Unsent(sending) => sending.await,
                    Signal::Room => {
                        while let Some(batch) = shared.take::<RT>() {
                            send(group.clone(), batch).await;
                        }
                    }
                }
            }
        };
        (this, task)
    }

    /// Queues a command, and hands it on at once when there is room.
    ///
    /// Never waits: a batch carries the commands of several callers, and must not end with the one
    /// that happened to send it.
    pub(super) fn submit(&self, numbered: Option<Numbered>, command: Bytes) -> Result<Proposed, Full> {
        let (done, outcome) = oneshot::channel();
        let (ticket, batch) = {
            let mut queue = self.shared.lock();
            let limit = self.shared.limits.queue_bytes;
            let waiting = Waiting { ticket: queue.next_ticket, numbered, command, done };
            // The largest command alone is always let in.
            if queue.bytes > 0 && queue.bytes + waiting.len() > limit {
                return Err(Full { queued: queue.bytes, limit });
            }
            let ticket = waiting.ticket;
            queue.next_ticket += 1;
            queue.bytes += waiting.len();
            queue.waiting.push_back(waiting);
            drop(queue);
            (ticket, self.shared.take::<RT>())
        };
        if let Some(batch) = batch {
            let mut sending = send(self.group.clone(), batch).boxed();
            // The engine takes it at once unless its own queue is full.
            if (&mut sending).now_or_never().is_none() {
                drop(self.shared.signals.unbounded_send(Signal::Unsent(sending)));
            }
        }
        Ok(Proposed { ticket, outcome })
    }

    /// Takes a command back that is still waiting; `false` when it is on its way.
    pub(super) fn withdraw(&self, proposed: &Proposed) -> bool {
        let mut queue = self.shared.lock();
        let place = queue.waiting.iter().position(|waiting| waiting.ticket == proposed.ticket);
        let Some(withdrawn) = place.and_then(|place| queue.waiting.remove(place)) else { return false };
        queue.bytes -= withdrawn.len();
        true
    }
}

/// A command and its number as an entry has them.
fn numbered(numbered: Option<Numbered>, bytes: Bytes) -> Command {
    let Some(Numbered { client, serial, first_unacknowledged }) = numbered else {
        return Command { bytes, ..Command::default() };
    };
    Command { client, serial, first_unacknowledged, bytes, ..Command::default() }
}

async fn send<RT: Runtime>(group: Arc<Group<RT>>, mut batch: Batch) {
    let body = Body::of_commands(&std::mem::take(&mut batch.commands));
    group.propose(body, move |result| batch.complete::<RT>(result)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::runtime::TokioRuntime;
    use crate::node::config::Config;
    use crate::types::ClientId;

    #[test]
    fn an_entry_is_bounded_also_when_its_commands_are_next_to_nothing() {
        let limits =
            LimitsSection { batch_bytes: 10_000, batches_in_flight: 100, ..Config::testing().limits };
        let bound = limits.batch_bytes;
        let (signals, _told) = mpsc::unbounded();
        let shared = Arc::new(Shared { queue: Mutex::default(), limits, signals });
        let mut outcomes = Vec::new();
        for ticket in 0..1_000 {
            let (done, outcome) = oneshot::channel();
            let numbered = (ticket % 10 > 7).then(|| Numbered::close(ClientId(ticket + 1)));
            let waiting = Waiting { ticket, numbered, command: Bytes::new(), done };
            let mut queue = shared.lock();
            queue.bytes += waiting.len();
            queue.waiting.push_back(waiting);
            outcomes.push(outcome);
        }
        let mut batches = Vec::new();
        while let Some(batch) = shared.take::<TokioRuntime>() {
            let body = Body::of_commands(&batch.commands);
            assert!(body.bytes.len() <= bound, "{} commands take {}", batch.commands.len(), body.bytes.len());
            batches.push(batch.commands.len());
        }
        assert_eq!(batches.iter().sum::<usize>(), 1_000);
        assert!(batches[0] > 300, "they share entries: {batches:?}");
    }
}
