//! Step 1 of a write: a client of a node, typed by the machine.
//!
//! Works on any node, leader or not. The derive generates a client with a method per command and
//! query over this one.

mod prepared;
pub(crate) mod typed;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use self::prepared::Prepared;
use crate::error::{NotApplied, ReadError, WriteError};
use crate::node::handle::{CallOptions, Handle};
use crate::sessions::{Once, Sessions};
use crate::state_machine::{Replicated, Wire};
use crate::types::Position;

/// How recent the answer to a query must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consistency {
    /// Sees every write that was acknowledged before the read began, wherever it was acknowledged
    /// (ReadIndex; Raft dissertation, section 6.4).
    #[default]
    Linearizable,
    /// Sees every write acknowledged more than `at_most` before the answer. Needs a word with the
    /// leader only when the local state is not known to be that fresh.
    Stale {
        /// The greatest age.
        at_most: Duration,
    },
    /// Whatever this node has applied. Asks nobody, and may go back after a restart.
    Local,
}

/// A response, and where its command was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied<R> {
    /// Where the command stands in the log.
    pub position: Position,
    /// What the machine answered.
    pub response: R,
}

/// How long the session of commands may be idle that are prepared without one.
const PREPARED_IDLE: Duration = Duration::from_mins(5);

/// A client of the machine `M`. Cheap to clone.
pub struct Client<M> {
    node: Arc<dyn Handle>,
    options: CallOptions,
    consistency: Consistency,
    sessions: Option<Arc<Sessions>>,
    /// Of commands that are prepared without one.
    prepared: Arc<Sessions>,
    machine: PhantomData<fn() -> M>,
}

impl<M: Replicated> Client<M> {
    #[allow(dead_code, reason = "made by Node")]
    pub(crate) fn new(node: Arc<dyn Handle>) -> Self {
        Self {
            node,
            options: CallOptions::default(),
            consistency: Consistency::default(),
            sessions: None,
            prepared: Sessions::new(PREPARED_IDLE),
            machine: PhantomData,
        }
    }

    /// The same client with this deadline for every call.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// The same client with this consistency for every query.
    #[must_use]
    pub fn with_consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// The same client in a session of its own, shared by its clones: a command is applied once, however often
    /// it has to be sent (Raft dissertation, section 6.3).
    ///
    /// A write whose outcome is unknown is sent again until its deadline, and gets the answer of the attempt
    /// that was applied. To go on after the deadline, [`Self::prepare`] the command.
    ///
    /// The session is opened by the first write, which costs one more entry, and ends once it was idle for
    /// `idle` on the log's clock, which stands still without a leader; the next write opens another. `idle` is
    /// how long a prepared command can be sent again after the last write: at least a few times a call's
    /// deadline, and between [`MIN_IDLE`](crate::sessions::MIN_IDLE) and
    /// [`MAX_IDLE`](crate::sessions::MAX_IDLE). Five minutes are a good choice.
    ///
    /// A session is at most [`MAX_UNACKNOWLEDGED`](crate::sessions::MAX_UNACKNOWLEDGED) writes ahead of the
    /// oldest whose outcome its caller still waits for, or has [prepared](Self::prepare) and not heard: later
    /// ones wait for it.
    #[must_use]
    pub fn with_session(mut self, idle: Duration) -> Self {
        self.sessions = Some(Sessions::new(idle));
        self
    }

    /// Ends the session now instead of once it was idle for long; a later write opens another. Does nothing
    /// without one.
    ///
    /// # Errors
    /// [`WriteError`], as of a write. The session ends by itself then.
    pub async fn end_session(&self) -> Result<(), WriteError> {
        match self.sessions.as_ref().and_then(|sessions| sessions.leave()) {
            Some(client) => self.node.end_session(client, self.options).await,
            None => Ok(()),
        }
    }

    /// A command that is applied once, however often it is sent: also after an unknown outcome, and at other
    /// times than the first. Those of a client without a session and of its clones share one that may be idle
    /// for five minutes.
    ///
    /// # Errors
    /// When the command cannot be encoded.
    pub fn prepare(&self, command: &M::Command) -> Result<Prepared<M>, WriteError> {
        let mut bytes = Vec::new();
        let encoded = command.encode(&mut bytes);
        encoded.map_err(|error| NotApplied::Encode { detail: error.to_string() })?;
        let sessions = self.sessions.as_ref().unwrap_or(&self.prepared).clone();
        Ok(Prepared::new(self.clone(), Once::new(sessions, bytes.into())))
    }

    /// Proposes `command` and waits until it is applied.
    ///
    /// # Errors
    /// [`WriteError`] tells *not applied* from *outcome unknown*.
    pub fn write<'a>(
        &'a self,
        command: &M::Command,
    ) -> impl Future<Output = Result<Applied<M::Response>, WriteError>> + Send + use<'a, M> {
        // Encoded before the first await, so that the future is `Send` though a command need not be
        // `Sync`.
        let mut bytes = Vec::new();
        let encoded = command.encode(&mut bytes);
        async move {
            if let Err(error) = encoded {
                return Err(NotApplied::Encode { detail: error.to_string() }.into());
            }
            let command = Bytes::from(bytes);
            let written = match &self.sessions {
                Some(sessions) => {
                    self.node.write_once(&Once::new(sessions.clone(), command), self.options).await
                }
                None => self.node.write(command, self.options).await,
            };
            answered::<M>(written)
        }
    }

    /// Answers `query` at the consistency of this client.
    ///
    /// # Errors
    /// [`ReadError`] says why it was not served.
    pub fn read<'a>(
        &'a self,
        query: &M::Query,
    ) -> impl Future<Output = Result<M::Answer, ReadError>> + Send + use<'a, M> {
        let mut bytes = Vec::new();
        let encoded = query.encode(&mut bytes);
        async move {
            if let Err(error) = encoded {
                return Err(ReadError::Encode { detail: error.to_string() });
            }
            let answer = self.node.read(Bytes::from(bytes), self.consistency, self.options).await?;
            M::Answer::decode(&answer).map_err(ReadError::Answer)
        }
    }
}

/// The response to a command, decoded.
fn answered<M: Replicated>(
    written: Result<(Position, Bytes), WriteError>,
) -> Result<Applied<M::Response>, WriteError> {
    let (position, response) = written?;
    match M::Response::decode(&response) {
        Ok(response) => Ok(Applied { position, response }),
        Err(source) => Err(WriteError::Response { position, source }),
    }
}

impl<M> Clone for Client<M> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
            options: self.options,
            consistency: self.consistency,
            sessions: self.sessions.clone(),
            prepared: self.prepared.clone(),
            machine: PhantomData,
        }
    }
}

impl<M> fmt::Debug for Client<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.options)
            .field("consistency", &self.consistency)
            .finish_non_exhaustive()
    }
}
