//! A client's side of its session: which numbers are taken, and which it no longer asks for.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{MAX_UNACKNOWLEDGED, Numbered};
use crate::error::{Unknown, WriteError};
use crate::types::{ClientId, Position};
use crate::watch::Watched;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The session of a client and its clones: opened by the first command, and anew after it ended.
pub(crate) struct Sessions {
    idle: Duration,
    current: Mutex<Option<Arc<Opened>>>,
    /// Held while one is opened: the others wait and share it.
    opening: futures::lock::Mutex<()>,
}

/// A session that was opened.
pub(crate) struct Opened {
    client: ClientId,
    serials: Mutex<Serials>,
    /// Changes with the lowest number that is wanted.
    moved_on: Watched<u64>,
}

struct Serials {
    next: u64,
    /// Of commands whose answer their caller does not have yet, and still wants.
    wanted: BTreeSet<u64>,
}

impl Serials {
    /// The lowest number that is wanted, or the next one.
    fn first(&self) -> u64 {
        self.wanted.first().copied().unwrap_or(self.next)
    }
}

impl Opened {
    fn new(client: ClientId) -> Arc<Self> {
        let serials = Mutex::new(Serials { next: 1, wanted: BTreeSet::new() });
        Arc::new(Self { client, serials, moved_on: Watched::new(1) })
    }

    /// The next number, unless replicas would refuse it: they keep every answer from the first wanted on.
    fn take(&self) -> Option<u64> {
        let mut serials = lock(&self.serials);
        let serial = serials.next;
        if serial - serials.first() >= MAX_UNACKNOWLEDGED as u64 {
            return None;
        }
        serials.next += 1;
        serials.wanted.insert(serial);
        Some(serial)
    }

    /// A number, once there is one.
    async fn ticket(self: Arc<Self>) -> Ticket {
        let mut moved_on = self.moved_on.watch();
        loop {
            if let Some(serial) = self.take() {
                return Ticket { opened: self, serial };
            }
            let _ = moved_on.changed().await;
        }
    }
}

/// A number in a session, until it is dropped: then nobody asks for its answer any more.
pub(crate) struct Ticket {
    opened: Arc<Opened>,
    serial: u64,
}

impl Ticket {
    fn numbered(&self) -> Numbered {
        // It is wanted itself.
        let first_unacknowledged = lock(&self.opened.serials).first();
        Numbered { client: self.opened.client, serial: self.serial, first_unacknowledged }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let first = {
            let mut serials = lock(&self.opened.serials);
            serials.wanted.remove(&self.serial);
            serials.first()
        };
        self.opened.moved_on.set(first);
    }
}

impl Sessions {
    pub(crate) fn new(idle: Duration) -> Arc<Self> {
        Arc::new(Self { idle, current: Mutex::new(None), opening: futures::lock::Mutex::new(()) })
    }

    /// The id of the session, once there is one; there is none any more then.
    pub(crate) fn leave(&self) -> Option<ClientId> {
        lock(&self.current).take().map(|opened| opened.client)
    }

    async fn opened<F>(&self, open: impl FnOnce() -> F) -> Result<Arc<Opened>, WriteError>
    where
        F: Future<Output = Result<ClientId, WriteError>>,
    {
        let current = || lock(&self.current).clone();
        if let Some(opened) = current() {
            return Ok(opened);
        }
        let _opening = self.opening.lock().await;
        if let Some(opened) = current() {
            return Ok(opened);
        }
        let opened = Opened::new(open().await?);
        *lock(&self.current) = Some(opened.clone());
        Ok(opened)
    }

    /// A session has ended; another may have taken its place already.
    fn ended(&self, ended: &Arc<Opened>) {
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, ended)) {
            *current = None;
        }
    }
}

/// What became of a command, for good.
type Outcome = Result<(Position, Bytes), WriteError>;

/// A command that is applied once, however often it is sent.
pub(crate) struct Once {
    sessions: Arc<Sessions>,
    command: Bytes,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ticket: Option<Arc<Ticket>>,
    /// Why it may have been applied, if it may.
    uncertain: Option<Unknown>,
    outcome: Option<Outcome>,
}

impl Once {
    pub(crate) fn new(sessions: Arc<Sessions>, command: Bytes) -> Self {
        Self { sessions, command, state: Mutex::default() }
    }

    pub(crate) fn command(&self) -> &Bytes {
        &self.command
    }

    pub(crate) fn idle(&self) -> Duration {
        self.sessions.idle
    }

    /// What became of it, if that is known.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        lock(&self.state).outcome.clone()
    }

    /// The session that it is to be in, or is in. `open` opens one when there is none.
    pub(crate) async fn session<F>(&self, open: impl FnOnce() -> F) -> Result<Arc<Opened>, WriteError>
    where
        F: Future<Output = Result<ClientId, WriteError>>,
    {
        let own = lock(&self.state).ticket.as_ref().map(|ticket| ticket.opened.clone());
        match own {
            Some(opened) => Ok(opened),
            None => self.sessions.opened(open).await,
        }
    }

    /// Its number, the same at every attempt; in `opened` when it has none yet.
    pub(crate) async fn numbered(&self, opened: Arc<Opened>) -> (Arc<Ticket>, Numbered) {
        let known = lock(&self.state).ticket.clone();
        let ticket = if let Some(ticket) = known {
            ticket
        } else {
            let ticket = Arc::new(opened.ticket().await);
            lock(&self.state).ticket.get_or_insert(ticket).clone()
        };
        let numbered = ticket.numbered();
        (ticket, numbered)
    }

    /// An attempt begins, of which nobody will know what it came to if its caller gives up. Says what is
    /// known of those before.
    pub(crate) fn attempt(&self) -> Option<Unknown> {
        let mut state = lock(&self.state);
        let before = state.uncertain;
        state.uncertain = before.or(Some(Unknown::GivenUp));
        before
    }

    /// What is known once the attempt is over.
    pub(crate) fn attempted(&self, uncertain: Option<Unknown>) {
        lock(&self.state).uncertain = uncertain;
    }

    /// Nothing more will be known: the session can forget it.
    pub(crate) fn finished(&self, outcome: Outcome) -> Outcome {
        let mut state = lock(&self.state);
        let ticket = state.ticket.take();
        state.outcome = Some(outcome.clone());
        drop(state);
        drop(ticket);
        outcome
    }

    /// The session of this number has ended. The next attempt has a number in another: none so far can have
    /// been applied.
    pub(crate) fn begin_anew(&self, ticket: &Ticket) {
        self.session_ended(ticket);
        let anew = lock(&self.state).ticket.take();
        drop(anew);
    }

    /// The session of this number has ended.
    pub(crate) fn session_ended(&self, ticket: &Ticket) {
        self.sessions.ended(&ticket.opened);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::executor::block_on;

    use super::*;
    use crate::error::NotApplied;
    use crate::types::LogIndex;

    fn number(once: &Once, client: u64) -> (Arc<Ticket>, Numbered) {
        let opened = block_on(once.session(|| async move { Ok(ClientId(client)) })).expect("it opens");
        block_on(once.numbered(opened))
    }

    fn once(sessions: &Arc<Sessions>) -> Once {
        Once::new(sessions.clone(), Bytes::new())
    }

    #[test]
    fn a_command_keeps_its_number_and_what_is_dropped_is_acknowledged() {
        let sessions = Sessions::new(Duration::from_secs(1));
        let (one, two) = (once(&sessions), once(&sessions));
        let first = number(&one, 7).1;
        assert_eq!(first, Numbered { client: ClientId(7), serial: 1, first_unacknowledged: 1 });
        assert_eq!(number(&two, 8).1, Numbered { serial: 2, ..first }, "the session is shared");
        assert_eq!(number(&one, 8).1, first, "the same at every attempt");
        drop(one);
        assert_eq!(number(&two, 8).1, Numbered { serial: 2, first_unacknowledged: 2, ..first });
        let outcome = Ok((Position { index: LogIndex(3), ordinal: 0 }, Bytes::new()));
        assert_eq!(two.finished(outcome.clone()), outcome);
        assert_eq!(two.outcome(), Some(outcome));
        let third = Numbered { serial: 3, first_unacknowledged: 3, ..first };
        assert_eq!(number(&once(&sessions), 8).1, third, "one that has its answer is acknowledged, too");
    }

    #[test]
    fn what_cannot_have_been_applied_gets_a_number_in_another_session() {
        let sessions = Sessions::new(Duration::from_secs(1));
        let (certain, uncertain) = (once(&sessions), once(&sessions));
        let (ticket, _) = number(&certain, 7);
        let (lost, before) = number(&uncertain, 7);
        assert_eq!(uncertain.attempt(), None);
        assert_eq!(uncertain.attempt(), Some(Unknown::GivenUp), "the one before was given up");
        uncertain.session_ended(&lost);
        assert_eq!(certain.attempt(), None);
        certain.attempted(None);
        certain.begin_anew(&ticket);
        let anew = number(&certain, 8).1;
        assert_eq!(anew, Numbered { client: ClientId(8), serial: 1, first_unacknowledged: 1 });
        assert_eq!(number(&uncertain, 9).1, before, "never another");
        // The end of the session before is not that of this one.
        uncertain.session_ended(&lost);
        assert_eq!(number(&once(&sessions), 9).1.client, ClientId(8));
    }

    #[test]
    fn a_session_that_does_not_open_is_tried_again() {
        let sessions = Sessions::new(Duration::from_secs(1));
        let once = once(&sessions);
        let refused = block_on(once.session(|| async { Err(NotApplied::DiskFull.into()) }));
        assert_eq!(refused.err(), Some(NotApplied::DiskFull.into()));
        assert_eq!(number(&once, 7).1.client, ClientId(7));
        assert_eq!(sessions.leave(), Some(ClientId(7)));
        assert_eq!(sessions.leave(), None);
    }

    #[test]
    fn a_command_waits_while_the_first_wanted_is_too_far_behind() {
        let sessions = Sessions::new(Duration::from_secs(1));
        let first = once(&sessions);
        number(&first, 7);
        for _ in 1..MAX_UNACKNOWLEDGED {
            number(&once(&sessions), 7);
        }
        let beyond = once(&sessions);
        let opened = block_on(beyond.session(|| async { unreachable!("it is open") })).expect("open");
        let mut waiting = beyond.numbered(opened).boxed();
        assert!((&mut waiting).now_or_never().is_none());
        drop(first);
        let last = MAX_UNACKNOWLEDGED as u64 + 1;
        let numbered = Numbered { client: ClientId(7), serial: last, first_unacknowledged: last };
        assert_eq!(block_on(waiting).1, numbered);
    }
}
