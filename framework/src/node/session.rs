//! Step 2 of a write in a session: the session is opened, and the command sent until somebody says what
//! became of it.

use std::time::Duration;

use bytes::Bytes;

use super::core::Core;
use super::handle::CallOptions;
use super::write::TIME_FOR_AN_ANSWER;
use crate::engine::runtime::{Runtime, before, left};
use crate::error::{NotApplied, Unknown, WriteError};
use crate::sessions::{Numbered, Once, Open, Ticket};
use crate::state_machine::DecodeError;
use crate::types::{ClientId, Position};

/// How long it takes at least from the end of a session to the next.
const BEFORE_ANOTHER: Duration = Duration::from_millis(25);

/// Nobody knows what became of an attempt; nobody ever will once its session has ended.
fn unknown(once: &Once, ticket: &Ticket, why: Unknown) -> Result<(Position, Bytes), WriteError> {
    let error = WriteError::OutcomeUnknown { log_id: None, why };
    if why != Unknown::SessionEnded {
        return Err(error);
    }
    once.session_ended(ticket);
    once.finished(Err(error))
}

impl<RT: Runtime> Core<RT> {
    /// Sends a command of a session until the deadline. It is applied once, however often it is sent, here
    /// and in later calls with the same `once`.
    pub(super) async fn write_once(
        &self,
        once: &Once,
        options: CallOptions,
    ) -> Result<(Position, Bytes), WriteError> {
        let deadline = self.deadline(options);
        loop {
            if let Some(outcome) = once.outcome() {
                return outcome;
            }
            let opening = || self.open_session(Open::new(once.idle()), deadline);
            let Some(opened) = before::<RT, _>(deadline, once.session(opening)).await else {
                return Err(NotApplied::NoSession { why: Unknown::Deadline }.into());
            };
            let Some((ticket, numbered)) = before::<RT, _>(deadline, once.numbered(opened?)).await else {
                return Err(NotApplied::SessionFull.into());
            };
            let earlier = once.attempt();
            let outcome = self.write_until(Some(numbered), once.command().clone(), deadline).await;
            match (outcome, earlier) {
                // Nothing of it can have been applied: another session is as good.
                (Err(WriteError::NotApplied(NotApplied::SessionEnded)), None) => {
                    once.attempted(None);
                    once.begin_anew(&ticket);
                    // It may end as soon again.
                    RT::sleep(BEFORE_ANOTHER.min(left::<RT>(deadline))).await;
                    if left::<RT>(deadline) < TIME_FOR_AN_ANSWER {
                        return Err(NotApplied::SessionEnded.into());
                    }
                }
                (Err(WriteError::NotApplied(reason)), None) => {
                    once.attempted(None);
                    return Err(reason.into());
                }
                (Err(WriteError::NotApplied(reason)), Some(why)) => {
                    let ended = reason == NotApplied::SessionEnded;
                    let why = if ended { Unknown::SessionEnded } else { why };
                    return unknown(once, &ticket, why);
                }
                (Err(WriteError::OutcomeUnknown { why, .. }), _) => {
                    once.attempted(Some(why));
                    return unknown(once, &ticket, why);
                }
                (outcome, _) => return once.finished(outcome),
            }
        }
    }

    async fn open_session(&self, open: Open, deadline: RT::Instant) -> Result<ClientId, WriteError> {
        match self.write_until(Some(Numbered::open()), open.encode(), deadline).await {
            Ok((position, answer)) => {
                let id: Result<[u8; 8], _> = answer.as_ref().try_into();
                id.map(|id| ClientId(u64::from_le_bytes(id))).map_err(|_| {
                    let detail = format!("a session has an id of {} bytes", answer.len());
                    WriteError::Response { position, source: DecodeError::Remote { detail } }
                })
            }
            // The command was not sent; a session that was opened all the same ends when it was idle.
            Err(WriteError::OutcomeUnknown { why, .. }) => Err(NotApplied::NoSession { why }.into()),
            Err(error) => Err(error),
        }
    }

    /// Ends a session.
    pub(super) async fn end_session(&self, client: ClientId, options: CallOptions) -> Result<(), WriteError> {
        let ending = self.write_until(Some(Numbered::close(client)), Bytes::new(), self.deadline(options));
        ending.await.map(drop)
    }
}
