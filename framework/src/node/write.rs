//! Step 2 of a write: to the leader, wherever it is, and again while nothing can have happened.

use std::time::Duration;

use bytes::Bytes;

use super::core::{Core, Running, Unavailable};
use super::forward::{WriteReply, WriteRequest};
use super::handle::CallOptions;
use super::propose::Full;
use crate::engine::runtime::{Bug, Instant as _, Runtime, Select2, before, left, now};
use crate::engine::{ProposeError, View};
use crate::error::{NotApplied, Unknown, WriteError};
use crate::host::{Call, CallError, Status};
use crate::sessions::Numbered;
use crate::state_machine::DecodeError;
use crate::state_machine::erased::{Answer, AnswerError, Replied};
use crate::storage::Health;
use crate::transport::Lane;
use crate::types::{NodeId, Position};

/// What one attempt at one node came to.
pub(super) enum Attempt {
    Applied(Position, Answer),
    /// It does not lead; nothing was appended. Perhaps it knows who does.
    NotLeader(Option<NodeId>),
    Failed(WriteError),
}

impl From<NotApplied> for Attempt {
    fn from(reason: NotApplied) -> Self {
        Self::Failed(reason.into())
    }
}

fn unknown(why: Unknown) -> Attempt {
    Attempt::Failed(WriteError::OutcomeUnknown { log_id: None, why })
}

impl From<Unavailable> for NotApplied {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::NotReady => Self::NotReady,
            Unavailable::ShuttingDown => Self::ShuttingDown,
            Unavailable::Stopped => Self::Stopped,
        }
    }
}

/// With less than this left before its deadline, a refused write is not tried again.
pub(super) const TIME_FOR_AN_ANSWER: Duration = Duration::from_millis(5);

/// How much earlier than its caller the leader gives up, so that its word still arrives.
const HEAD_START: Duration = Duration::from_millis(50);

impl<RT: Runtime> Core<RT> {
    /// Proposes a command on whichever node leads, and waits until it is applied.
    pub(super) async fn write(
        &self,
        command: Bytes,
        options: CallOptions,
    ) -> Result<(Position, Bytes), WriteError> {
        self.write_until(None, command, self.deadline(options)).await
    }

    /// Proposes a command until the deadline: again while nothing can have happened, and one of a session
    /// also when nobody says what did.
    pub(super) async fn write_until(
        &self,
        numbered: Option<Numbered>,
        command: Bytes,
        deadline: RT::Instant,
    ) -> Result<(Position, Bytes), WriteError> {
        let mut unknown = None;
        let outcome = self.try_until(numbered, command, deadline, &mut unknown).await;
        match (outcome, unknown) {
            // It may have been applied before.
            (Err(WriteError::NotApplied(NotApplied::SessionEnded)), Some(_)) => {
                Err(WriteError::OutcomeUnknown { log_id: None, why: Unknown::SessionEnded })
            }
            (Err(WriteError::NotApplied(_)), Some(why)) => {
                Err(WriteError::OutcomeUnknown { log_id: None, why })
            }
            (outcome, _) => outcome,
        }
    }

    async fn try_until(
        &self,
        mut numbered: Option<Numbered>,
        command: Bytes,
        deadline: RT::Instant,
        unknown: &mut Option<Unknown>,
    ) -> Result<(Position, Bytes), WriteError> {
        let started = now::<RT>();
        let _call = self.enter().map_err(NotApplied::from)?;
        let max = self.config.limits.max_command_bytes;
        if command.len() > max {
            return Err(NotApplied::TooLarge { len: command.len(), max }.into());
        }
        let running = self.running(deadline).await.map_err(NotApplied::from)?;
        let mut hint = None;
        loop {
            let view = running.group.view().get();
            if view.stopped.is_some() {
                return Err(NotApplied::Stopped.into());
            }
            let attempt = match hint.take().or(view.leader) {
                Some(leader) if leader == self.node_id() => {
                    self.write_here(running, numbered, command.clone(), deadline).await
                }
                Some(leader) => self.write_there(running, &view, leader, numbered, &command, deadline).await,
                None => Attempt::NotLeader(None),
            };
            match attempt {
                Attempt::Applied(position, answer) => return with_answer(position, answer),
                Attempt::Failed(WriteError::OutcomeUnknown { .. })
                    if RT::planted(Bug::UnknownIsRetried) && left::<RT>(deadline) > TIME_FOR_AN_ANSWER => {}
                // A session knows it again.
                Attempt::Failed(WriteError::OutcomeUnknown { why, .. })
                    if numbered.is_some() && why != Unknown::Deadline =>
                {
                    unknown.get_or_insert(why);
                    if RT::planted(Bug::RepeatRenumbered) {
                        numbered = numbered.map(|it| Numbered { serial: it.serial + (1 << 32), ..it });
                    }
                    self.wait_for_change(running, &view, deadline).await;
                    if left::<RT>(deadline) < TIME_FOR_AN_ANSWER {
                        return Err(WriteError::OutcomeUnknown { log_id: None, why });
                    }
                }
                // Of the attempt before nobody knows yet, and this will pass.
                Attempt::Failed(WriteError::NotApplied(NotApplied::Busy { .. } | NotApplied::DiskFull))
                    if unknown.is_some() && left::<RT>(deadline) > TIME_FOR_AN_ANSWER =>
                {
                    self.wait_for_change(running, &view, deadline).await;
                }
                Attempt::Failed(error) => return Err(error),
                Attempt::NotLeader(leader) => {
                    // A hint to somebody else is worth a try at once; otherwise somebody has to be
                    // elected, or a new leader's lease has to begin.
                    if leader.is_some() && leader != view.leader && leader != Some(self.node_id()) {
                        hint = leader;
                    } else {
                        self.wait_for_change(running, &view, deadline).await;
                    }
                    // Looked at after the wait: what is proposed with no time left for an answer could
                    // only be reported as unknown.
                    if left::<RT>(deadline) < TIME_FOR_AN_ANSWER {
                        return Err(NotApplied::NoLeader { waited: started.elapsed() }.into());
                    }
                }
            }
        }
    }

    /// One attempt at this node.
    pub(super) async fn write_here(
        &self,
        running: &Running<RT>,
        numbered: Option<Numbered>,
        command: Bytes,
        deadline: RT::Instant,
    ) -> Attempt {
        match running.group.health() {
            Health::Ok => {}
            // It is about to stop.
            Health::Failed => return Attempt::NotLeader(None),
            _ => return NotApplied::DiskFull.into(),
        }
        let (len, max) = (command.len(), self.config.limits.max_command_bytes);
        if len > max {
            return NotApplied::TooLarge { len, max }.into();
        }
        // What cannot be decoded now could not be at apply, and would stop every replica.
        let checked = match numbered {
            Some(numbered) if numbered.is_control() => numbered
                .check_control(&command)
                .map_err(|error| DecodeError::Remote { detail: error.to_string() }),
            _ => running.group.check(&command),
        };
        if let Err(error) = checked {
            return NotApplied::BadCommand(error).into();
        }
        let mut proposed = match running.proposer.submit(numbered, command) {
            Ok(proposed) => proposed,
            Err(Full { queued, limit }) => return NotApplied::Busy { queued, limit }.into(),
        };
        match before::<RT, _>(deadline, &mut proposed.outcome).await {
            Some(Ok(Ok(Replied { position, answer, .. }))) => Attempt::Applied(position, answer),
            Some(Ok(Err(ProposeError::NotLeader { leader }))) => Attempt::NotLeader(leader),
            Some(Ok(Err(ProposeError::Discarded))) => unknown(Unknown::LeaderChanged),
            Some(Ok(Err(ProposeError::Stopped)) | Err(_)) => unknown(Unknown::Stopped),
            None if running.proposer.withdraw(&proposed) => NotApplied::Deadline.into(),
            None if RT::planted(Bug::UnknownIsRefused) => NotApplied::Deadline.into(),
            None => unknown(Unknown::Deadline),
        }
    }

    /// One attempt at another node; given up when another leader shows itself before it was sent, and one of
    /// a session after it was, too.
    async fn write_there(
        &self,
        running: &Running<RT>,
        view: &View,
        leader: NodeId,
        numbered: Option<Numbered>,
        command: &Bytes,
        deadline: RT::Instant,
    ) -> Attempt {
        let left = left::<RT>(deadline);
        let timeout = left.saturating_sub(HEAD_START.min(left / 10));
        let body = WriteRequest { timeout, numbered, command: command.clone() }.encode();
        let link = self.host.link(leader, Lane::Client);
        let moved = running.group.moved_on(view.term, leader);
        let call = link.call_unless(running.group.group(), Call::Write, body, deadline, moved);
        let reply = if numbered.is_some() {
            let moved = running.group.moved_on(view.term, leader);
            match RT::select2(call, moved).await {
                Select2::First(reply) => reply,
                Select2::Second(()) => return unknown(Unknown::LeaderChanged),
            }
        } else {
            call.await
        };
        match reply {
            Ok(reply) => match reply.status {
                Status::Done => WriteReply::decode(reply.body).map_or_else(
                    |error| {
                        tracing::warn!(%leader, %error, "answer to a forwarded write not understood");
                        unknown(Unknown::ConnectionLost)
                    },
                    Attempt::from,
                ),
                Status::NoSuchGroup | Status::Malformed => Attempt::NotLeader(None),
                Status::Stopped => unknown(Unknown::Stopped),
            },
            Err(CallError::NotSent(_) | CallError::GivenUp) => Attempt::NotLeader(None),
            Err(CallError::Busy { queued }) => {
                NotApplied::Busy { queued, limit: self.config.limits.queue_bytes }.into()
            }
            Err(CallError::Timeout) => unknown(Unknown::Deadline),
            Err(CallError::Lost) => unknown(Unknown::ConnectionLost),
        }
    }
}

fn with_answer(position: Position, answer: Answer) -> Result<(Position, Bytes), WriteError> {
    match answer {
        Ok(bytes) => Ok((position, bytes)),
        Err(AnswerError::TooLarge { len }) => Err(WriteError::NoAnswer { position, len }),
        Err(AnswerError::Encode) => Err(WriteError::NoAnswer { position, len: 0 }),
        Err(AnswerError::NotKept { len }) => Err(WriteError::AnswerNotKept { position, len }),
        Err(AnswerError::NoSession) => Err(NotApplied::SessionEnded.into()),
        Err(AnswerError::SessionFull) => Err(NotApplied::SessionFull.into()),
        Err(AnswerError::Acknowledged) => {
            Err(WriteError::OutcomeUnknown { log_id: None, why: Unknown::SessionMovedOn })
        }
    }
}
