//! Stopping, in good order or at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::Core;
use super::status::{Phase, Role};
use crate::engine::runtime::{Runtime, before, now};
use crate::error::ShutdownError;
use crate::types::{LogIndex, NodeId};

/// How often it is looked for somebody to hand leadership on to.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl<RT: Runtime> Core<RT> {
    /// Refuses new calls, completes those in progress, hands leadership on, and stops.
    ///
    /// In a task of its own: a caller that gives up waiting does not leave it half-way.
    pub(super) async fn shutdown(self: Arc<Self>) -> Result<(), ShutdownError> {
        if !self.stopping.swap(true, Ordering::AcqRel) {
            let core = self.clone();
            drop(RT::spawn(async move {
                core.shutting_down();
                let drain = Duration::from_millis(core.config.timeouts.drain_ms);
                let mut calls = core.calls.watch();
                before::<RT, _>(now::<RT>() + drain, calls.until(|calls| *calls == 0)).await;
                core.hand_on_leadership().await;
                core.wind_down("shut down").await;
            }));
        }
        // The value can end only with the node itself.
        self.down.watch().until(Option::is_some).await.flatten().unwrap_or(Ok(()))
    }

    /// Stops at once, unless somebody already stops it, and waits until it is down.
    pub(super) async fn halt(self: Arc<Self>, reason: String) {
        if !self.stopping.swap(true, Ordering::AcqRel) {
            let core = self.clone();
            drop(RT::spawn(async move {
                core.shutting_down();
                core.wind_down(&reason).await;
            }));
        }
        self.down.watch().until(Option::is_some).await;
    }

    /// Nobody takes the engine's end for the end of the node: files and sockets are still open.
    fn shutting_down(&self) {
        self.status.update(|status| {
            if status.stopped().is_none() {
                status.phase = Phase::ShuttingDown;
            }
        });
    }

    /// Asks the voter that is furthest to take over, and waits until it has, a little at most.
    async fn hand_on_leadership(&self) {
        let Some(running) = self.running.get() else { return };
        let mut view = running.group.view();
        if view.get().role != Role::Leader {
            return;
        }
        let patience = Duration::from_millis(self.config.election.timeout_min_ms);
        let deadline = now::<RT>() + patience;
        // Who has just come to lead has heard from nobody yet, or of nobody's log: one that lacks more of it
        // than comes in time would refuse. Nothing is written any more, so the others catch up.
        let last = view.get().last_log;
        let to = loop {
            let over = now::<RT>() >= deadline;
            if let Some(to) = fit(running.group.successor(patience), last, over) {
                break to;
            }
            let alone = view.get().membership.voters.iter().flatten().all(|voter| *voter == self.node_id());
            if alone || view.get().role != Role::Leader || over {
                return;
            }
            RT::sleep(LOOK_AGAIN).await;
        };
        running.group.transfer_leader(to).await;
        let handed = view.until(|view| view.role != Role::Leader && view.leader.is_some());
        before::<RT, _>(now::<RT>() + patience, handed).await;
    }

    /// Stops engine, streams, transport and storage, in this order.
    async fn wind_down(&self, reason: &str) {
        let mut stopped = Ok(());
        if let Some(running) = self.running.get() {
            self.host.close_group(running.group.group());
            stopped = running.group.stop().await.map_err(|()| ShutdownError::Panicked);
        }
        self.host.close().await;
        self.storage.close().await;
        self.status.update(|status| {
            if status.stopped().is_none() {
                status.phase = Phase::Stopped { reason: reason.to_owned() };
            }
        });
        self.down.set(Some(stopped));
    }
}

/// Who takes over of a leader whose log goes up to `last`: whoever is furthest, once that one has all of
/// it, or when time is `over`.
fn fit(furthest: Option<(NodeId, Option<LogIndex>)>, last: Option<LogIndex>, over: bool) -> Option<NodeId> {
    furthest.filter(|(_, matched)| *matched >= last || over).map(|(node, _)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_lacks_some_of_the_log_takes_over_only_when_time_is_over() {
        let (node, last) = (NodeId(2), Some(LogIndex(7)));
        for (matched, takes_over) in [(None, false), (Some(6), false), (Some(7), true), (Some(8), true)] {
            let furthest = Some((node, matched.map(LogIndex)));
            assert_eq!(fit(furthest, last, false), takes_over.then_some(node), "{matched:?}");
            assert_eq!(fit(furthest, last, true), Some(node), "{matched:?}");
        }
        assert_eq!(fit(None, last, true), None);
    }
}
