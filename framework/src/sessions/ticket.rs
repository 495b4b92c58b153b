//! A client's side of its session: which numbers are taken, and which it no longer asks for.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::Numbered;
use crate::error::{Unknown, WriteError};
use crate::types::ClientId;

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
struct Opened {
    client: ClientId,
    serials: Mutex<Serials>,
}

struct Serials {
    next: u64,
    /// Of commands whose answer their caller does not have yet, and still wants.
    wanted: BTreeSet<u64>,
}

impl Opened {
    fn new(client: ClientId) -> Arc<Self> {
        Arc::new(Self { client, serials: Mutex::new(Serials { next: 1, wanted: BTreeSet::new() }) })
    }
}

/// A number in a session, until it is dropped: then nobody asks for its answer any more.
pub(crate) struct Ticket {
    opened: Arc<Opened>,
    serial: u64,
}

impl Ticket {
    fn new(opened: Arc<Opened>) -> Self {
        let serial = {
            let mut serials = lock(&opened.serials);
            let serial = serials.next;
            serials.next += 1;
            serials.wanted.insert(serial);
            serial
        };
        Self { opened, serial }
    }

    fn numbered(&self) -> Numbered {
        let first = lock(&self.opened.serials).wanted.first().copied();
        // It is wanted itself.
        let first_unacknowledged = first.unwrap_or(self.serial).min(self.serial);
        Numbered { client: self.opened.client, serial: self.serial, first_unacknowledged }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.opened.serials).wanted.remove(&self.serial);
    }
}

impl Sessions {
    pub(crate) fn new(idle: Duration) -> Arc<Self> {
        Arc::new(Self { idle, current: Mutex::new(None), opening: futures::lock::Mutex::new(()) })
    }

    /// How long a session may be idle.
    pub(crate) fn idle(&self) -> Duration {
        self.idle
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
}

impl Once {
    pub(crate) fn new(sessions: Arc<Sessions>, command: Bytes) -> Self {
        Self { sessions, command, state: Mutex::default() }
    }

    pub(crate) fn command(&self) -> &Bytes {
        &self.command
    }

    pub(crate) fn idle(&self) -> Duration {
        self.sessions.idle()
    }

    /// Its number, the same at every attempt. `open` opens a session when there is none.
    pub(crate) async fn numbered<F>(
        &self,
        open: impl FnOnce() -> F,
    ) -> Result<(Arc<Ticket>, Numbered), WriteError>
    where
        F: Future<Output = Result<ClientId, WriteError>>,
    {
        let with = |ticket: Arc<Ticket>| {
            let numbered = ticket.numbered();
            (ticket, numbered)
        };
        if let Some(ticket) = lock(&self.state).ticket.clone() {
            return Ok(with(ticket));
        }
        let opened = self.sessions.opened(open).await?;
        let mut state = lock(&self.state);
        let ticket = state.ticket.get_or_insert_with(|| Arc::new(Ticket::new(opened))).clone();
        drop(state);
        Ok(with(ticket))
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

    /// The session of this number has ended: the next attempt has a number in another, unless one so far
    /// may have been applied.
    pub(crate) fn session_ended(&self, ticket: &Arc<Ticket>) {
        self.sessions.ended(&ticket.opened);
        let mut state = lock(&self.state);
        if state.uncertain.is_none() {
            state.ticket = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::error::NotApplied;

    fn number(once: &Once, client: u64) -> (Arc<Ticket>, Numbered) {
        block_on(once.numbered(|| async move { Ok(ClientId(client)) })).expect("it opens")
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
        drop(two);
        let third = Numbered { serial: 3, first_unacknowledged: 3, ..first };
        assert_eq!(number(&once(&sessions), 8).1, third);
    }

    #[test]
    fn after_the_end_of_a_session_only_what_cannot_have_been_applied_gets_another_number() {
        let sessions = Sessions::new(Duration::from_secs(1));
        let (certain, uncertain) = (once(&sessions), once(&sessions));
        let (ticket, _) = number(&certain, 7);
        let (lost, before) = number(&uncertain, 7);
        assert_eq!(uncertain.attempt(), None);
        assert_eq!(uncertain.attempt(), Some(Unknown::GivenUp), "the one before was given up");
        uncertain.session_ended(&lost);
        assert_eq!(certain.attempt(), None);
        certain.attempted(None);
        certain.session_ended(&ticket);
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
        let refused = block_on(once.numbered(|| async { Err(NotApplied::DiskFull.into()) }));
        assert_eq!(refused.err(), Some(NotApplied::DiskFull.into()));
        assert_eq!(number(&once, 7).1.client, ClientId(7));
        assert_eq!(sessions.leave(), Some(ClientId(7)));
        assert_eq!(sessions.leave(), None);
    }
}
