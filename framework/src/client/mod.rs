//! Step 1 of a write: a client of a node, typed by the machine.
//!
//! Works on any node, leader or not. The derive generates a client with a method per command and
//! query over this one.

pub(crate) mod typed;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{NotApplied, ReadError, WriteError};
use crate::node::handle::{CallOptions, Handle};
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

/// A client of the machine `M`. Cheap to clone.
pub struct Client<M> {
    node: Arc<dyn Handle>,
    options: CallOptions,
    consistency: Consistency,
    machine: PhantomData<fn() -> M>,
}

impl<M: Replicated> Client<M> {
    #[allow(dead_code, reason = "made by Node")]
    pub(crate) fn new(node: Arc<dyn Handle>) -> Self {
        Self {
            node,
            options: CallOptions::default(),
            consistency: Consistency::default(),
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
            let (position, response) = self.node.write(Bytes::from(bytes), self.options).await?;
            match M::Response::decode(&response) {
                Ok(response) => Ok(Applied { position, response }),
                Err(source) => Err(WriteError::Response { position, source }),
            }
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

impl<M> Clone for Client<M> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
            options: self.options,
            consistency: self.consistency,
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
