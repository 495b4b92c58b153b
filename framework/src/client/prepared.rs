//! A command that is sent until its outcome is known.

use std::fmt;

use super::{Applied, Client, answered};
use crate::error::WriteError;
use crate::sessions::Once;
use crate::state_machine::Replicated;

/// A command with a number in a session: sent as often as it takes, applied once.
///
/// Made by [`Client::prepare`]. Once its outcome is known it is kept here, and the session forgets it; dropping
/// it before gives that up. While its outcome is not known, its session gets only so far ahead
/// ([`MAX_UNACKNOWLEDGED`](crate::sessions::MAX_UNACKNOWLEDGED)).
pub struct Prepared<M> {
    client: Client<M>,
    once: Once,
}

impl<M: Replicated> Prepared<M> {
    pub(super) fn new(client: Client<M>, once: Once) -> Self {
        Self { client, once }
    }

    /// Sends the command and waits until it is applied; after an error, again. Once it has a response, that is
    /// the response of every call. Each has the client's deadline. An attempt whose future is dropped may be applied all the same, and the next one gets its
    /// answer.
    ///
    /// # Errors
    /// [`WriteError`]. After [`WriteError::OutcomeUnknown`] another call may tell, unless the reason is
    /// [`Unknown::SessionEnded`](crate::error::Unknown::SessionEnded): then nobody will.
    pub async fn send(&mut self) -> Result<Applied<M::Response>, WriteError> {
        answered::<M>(self.client.node.write_once(&self.once, self.client.options).await)
    }
}

impl<M> fmt::Debug for Prepared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("client", &self.client).finish_non_exhaustive()
    }
}
