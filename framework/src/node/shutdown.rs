//! Stopping, in good order or at once.

use std::time::Duration;

use super::core::Core;
use super::status::{Phase, Role};
use crate::engine::runtime::{Runtime, before, now};
use crate::error::ShutdownError;

impl<RT: Runtime> Core<RT> {
    /// Refuses new calls, completes those in progress, hands leadership on, and stops.
    pub(super) async fn shutdown(&self) -> Result<(), ShutdownError> {
        let mut first = false;
        self.status.update(|status| {
            if !matches!(status.phase, Phase::ShuttingDown | Phase::Stopped { .. }) {
                status.phase = Phase::ShuttingDown;
                first = true;
            }
        });
        if !first {
            // Somebody else is at it, or it is done.
            self.status.watch().until(|status| status.stopped().is_some()).await;
            return Ok(());
        }
        let drain = Duration::from_millis(self.config.timeouts.drain_ms);
        let mut calls = self.calls.watch();
        before::<RT, _>(now::<RT>() + drain, calls.until(|calls| *calls == 0)).await;
        self.hand_on_leadership().await;
        self.halt("shut down").await
    }

    /// Asks the voter that is furthest to take over, and waits until it has, a little at most.
    async fn hand_on_leadership(&self) {
        let Some(running) = self.running.get() else { return };
        let mut view = running.group.view();
        if view.get().role != Role::Leader {
            return;
        }
        let patience = Duration::from_millis(self.config.election.timeout_min_ms);
        let Some(to) = running.group.successor(patience) else { return };
        running.group.transfer_leader(to).await;
        let handed = view.until(|view| view.role != Role::Leader && view.leader.is_some());
        before::<RT, _>(now::<RT>() + patience, handed).await;
    }

    /// Stops at once: engine, streams, transport, storage, in this order.
    pub(super) async fn halt(&self, reason: &str) -> Result<(), ShutdownError> {
        // Nobody takes the engine's end for the end of the node: files and sockets are still open.
        self.status.update(|status| {
            if status.stopped().is_none() {
                status.phase = Phase::ShuttingDown;
            }
        });
        let mut stopped = Ok(());
        if let Some(running) = self.running.get() {
            self.host.close_group(running.group.group());
            stopped = running.group.stop().await;
        }
        self.host.close().await;
        self.storage.close().await;
        self.status.update(|status| {
            if status.stopped().is_none() {
                status.phase = Phase::Stopped { reason: reason.to_owned() };
            }
        });
        stopped.map_err(|()| ShutdownError::Panicked)
    }
}
