//! What every replica keeps of sessions: changed by entries alone, the same at the same index.
//!
//! What is decided about a command depends on the entries before it and on nothing else, least of all on
//! what the machine answered: the answers to a batch are known only after all of it was sorted, and where one
//! batch ends differs from replica to replica. So there are bounds on how many answers are kept and on how
//! long each is, and none on how long they are together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{MAX_IDLE, MAX_KEPT, MAX_KEPT_ANSWER_BYTES, MAX_UNACKNOWLEDGED, MIN_IDLE, Numbered};
use crate::state_machine::erased::{Answer, AnswerError};
use crate::types::{ClientId, LogTime, Position};

/// What a client asks for with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// How long it may be idle, in microseconds of the log's clock.
    pub(crate) idle_micros: u64,
}

impl Open {
    pub(crate) fn new(idle: Duration) -> Self {
        Self { idle_micros: u64::try_from(idle.as_micros()).unwrap_or(u64::MAX) }
    }
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) idle_micros: u64,
    /// When it ends, unless a command comes before.
    pub(crate) expires: LogTime,
    pub(crate) first_unacknowledged: u64,
    /// By serial, from `first_unacknowledged` on.
    pub(crate) answers: BTreeMap<u64, Stored>,
}

/// What became of a command of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Where it was applied.
    pub(crate) position: Position,
    /// `None` while it is being applied.
    pub(crate) answer: Option<Answer>,
}

/// All sessions of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// The id of the next session.
    next: u64,
    sessions: BTreeMap<ClientId, Session>,
    /// The same, the one that ends first in front.
    by_expiry: BTreeSet<(LogTime, ClientId)>,
    /// The same, the one that was used least recently in front.
    by_use: BTreeSet<(u64, ClientId)>,
    /// How many sessions and answers there are.
    kept: usize,
    pub(super) bounds: Bounds,
    /// What changed, when somebody asks for that.
    touched: Option<Touched>,
}

/// What was opened, used, answered or has ended: to be stored as it is now, or removed if it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// The id of the next session, or how many sessions there are.
    pub(crate) counter: bool,
    pub(crate) sessions: BTreeSet<ClientId>,
    pub(crate) answers: BTreeSet<(ClientId, u64)>,
}

/// How much is kept: constants, but in tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) kept: usize,
    pub(super) unacknowledged: usize,
}

const BOUNDS: Bounds = Bounds { kept: MAX_KEPT, unacknowledged: MAX_UNACKNOWLEDGED };

impl Session {
    /// When it was used last, in microseconds.
    fn used(&self) -> u64 {
        self.expires.as_micros().saturating_sub(self.idle_micros)
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::starting_at(1)
    }
}

/// What is to be done with a command of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the first of its number.
    Apply,
    /// It was applied before, in the same batch: its answer is still to come.
    Applying(Position),
    /// It was applied before, at this place.
    Known(Position, Answer),
    /// It is not applied, now or ever, or is no command of the machine.
    Settled(Answer),
}

impl Table {
    /// No sessions, and the id of the first.
    pub(crate) fn starting_at(next: u64) -> Self {
        let (by_expiry, by_use) = (BTreeSet::new(), BTreeSet::new());
        Self { next, sessions: BTreeMap::new(), by_expiry, by_use, kept: 0, bounds: BOUNDS, touched: None }
    }

    /// Takes note from now on of what changes.
    pub(crate) fn noting(self) -> Self {
        Self { touched: Some(Touched::default()), ..self }
    }

    /// What changed since this was last asked for. It knows neither what is new nor what is gone: that is
    /// seen by what is there now.
    pub(crate) fn take_touched(&mut self) -> Touched {
        self.touched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn touch_counter(&mut self) {
        if let Some(touched) = &mut self.touched {
            touched.counter = true;
        }
    }

    /// Whether there never was a session.
    pub(crate) fn is_unused(&self) -> bool {
        self.next == 1 && self.sessions.is_empty()
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn sessions(&self) -> &BTreeMap<ClientId, Session> {
        &self.sessions
    }

    /// Puts a session back that was read.
    pub(crate) fn put(&mut self, client: ClientId, session: Session) {
        self.kept += 1 + session.answers.len();
        self.by_expiry.insert((session.expires, client));
        self.by_use.insert((session.used(), client));
        self.sessions.insert(client, session);
    }

    fn remove(&mut self, client: ClientId) {
        let Some(session) = self.sessions.remove(&client) else { return };
        self.kept -= 1 + session.answers.len();
        self.by_expiry.remove(&(session.expires, client));
        self.by_use.remove(&(session.used(), client));
        self.touch_counter();
        touch(&mut self.touched, client, session.answers.into_keys());
    }

    /// The log's clock has come to `now`: sessions that were idle too long end.
    pub(crate) fn advance(&mut self, now: LogTime) {
        while let Some(&(_, client)) = self.by_expiry.first().filter(|(expires, _)| *expires < now) {
            self.remove(client);
        }
    }

    /// Ends those that were used least recently until what is kept is within bounds; `keep` stays.
    fn make_room(&mut self, keep: ClientId) {
        while self.kept > self.bounds.kept {
            let victim = self.by_use.iter().map(|(_, client)| *client).find(|client| *client != keep);
            let Some(victim) = victim else { return };
            self.remove(victim);
        }
    }

    /// Opens a session at `now`.
    pub(crate) fn open(&mut self, open: Open, now: LogTime) -> ClientId {
        let client = ClientId(self.next);
        self.next += 1;
        let idle = Duration::from_micros(open.idle_micros).clamp(MIN_IDLE, MAX_IDLE);
        let session = Session {
            idle_micros: idle.as_micros() as u64,
            expires: now.saturating_add(idle),
            first_unacknowledged: 1,
            answers: BTreeMap::new(),
        };
        self.put(client, session);
        self.touch_counter();
        touch(&mut self.touched, client, []);
        self.make_room(client);
        client
    }

    /// Ends a session.
    pub(crate) fn close(&mut self, client: ClientId) {
        self.remove(client);
    }

    /// Decides about a command at `position`, where the log's clock is `now`.
    pub(crate) fn decide(&mut self, call: Numbered, position: Position, now: LogTime) -> Verdict {
        self.advance(now);
        let Some(session) = self.sessions.get_mut(&call.client) else {
            return Verdict::Settled(Err(AnswerError::NoSession));
        };
        self.by_expiry.remove(&(session.expires, call.client));
        self.by_use.remove(&(session.used(), call.client));
        // Never earlier than before: the clock does not go back.
        session.expires = now.saturating_add(Duration::from_micros(session.idle_micros));
        touch(&mut self.touched, call.client, []);
        self.by_expiry.insert((session.expires, call.client));
        self.by_use.insert((session.used(), call.client));
        let first = call.first_unacknowledged.min(call.serial);
        if first > session.first_unacknowledged {
            session.first_unacknowledged = first;
            let still = session.answers.split_off(&first);
            let forgotten = std::mem::replace(&mut session.answers, still);
            self.kept -= forgotten.len();
            touch(&mut self.touched, call.client, forgotten.into_keys());
        }
        if call.serial < session.first_unacknowledged {
            return Verdict::Settled(Err(AnswerError::Acknowledged));
        }
        match session.answers.get(&call.serial) {
            Some(Stored { position, answer: Some(answer) }) => {
                return Verdict::Known(*position, answer.clone());
            }
            Some(Stored { position, answer: None }) => return Verdict::Applying(*position),
            None if session.answers.len() >= self.bounds.unacknowledged => {
                return Verdict::Settled(Err(AnswerError::SessionFull));
            }
            None => {}
        }
        // Stored once the answer is there, at the end of the batch.
        touch(&mut self.touched, call.client, [call.serial]);
        session.answers.insert(call.serial, Stored { position, answer: None });
        self.kept += 1;
        self.make_room(call.client);
        Verdict::Apply
    }

    /// Keeps the answer to a command that was to be applied, if its session still wants it.
    pub(crate) fn answered(&mut self, call: Numbered, position: Position, answer: &Answer) {
        let session = self.sessions.get_mut(&call.client);
        let stored = session.and_then(|session| session.answers.get_mut(&call.serial));
        let Some(stored) = stored.filter(|stored| stored.position == position) else { return };
        stored.answer = Some(kept(answer));
    }
}

fn touch(touched: &mut Option<Touched>, client: ClientId, answers: impl IntoIterator<Item = u64>) {
    if let Some(touched) = touched {
        touched.sessions.insert(client);
        touched.answers.extend(answers.into_iter().map(|serial| (client, serial)));
    }
}

/// An answer as a command that is sent again gets it.
pub(super) fn kept(answer: &Answer) -> Answer {
    match answer {
        Ok(bytes) if bytes.len() > MAX_KEPT_ANSWER_BYTES => {
            Err(AnswerError::NotKept { len: bytes.len() as u64 })
        }
        // A copy: the bytes may be a part of something much larger.
        Ok(bytes) => Ok(bytes::Bytes::copy_from_slice(bytes)),
        Err(error) => Err(error.clone()),
    }
}
