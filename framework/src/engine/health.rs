//! Whether storage and machine are well, and what becomes of the node when they are not.

use std::sync::Arc;
use std::time::Duration;

use super::applier::Applier;
use super::group::Group;
use super::runtime::{Runtime, before, now};
use crate::storage::Health;
use crate::watch::Watcher;

/// How long the engine may take to stop because of a write that failed.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

impl<RT: Runtime> Group<RT> {
    /// Whether storage and machine have room: what the one says that has less.
    pub(crate) fn health(&self) -> Health {
        self.storage().health().get().max(self.applier.health.get())
    }

    /// Whether the machine has room.
    pub(crate) fn machine_health(&self) -> Watcher<Health> {
        self.applier.health.watch()
    }

    /// A machine that failed elsewhere than in apply stops the node as well.
    pub(super) async fn stop_when_failed(self: Arc<Self>) {
        if self.applier.failure.watch().until(Option::is_some).await.is_some() {
            self.call(|raft| async move { drop(raft.shutdown().await) }).await;
        }
    }

    /// A storage may fail while nobody waits for a write: nobody but its health would say so.
    pub(super) async fn fail_with_the_storage(self: Arc<Self>) {
        let failed = self.storage().health().until(|health| *health == Health::Failed).await;
        if failed.is_none() {
            return;
        }
        // Whoever does wait is told why, and the engine stops with that.
        let mut view = self.view.watch();
        let told = before::<RT, _>(now::<RT>() + TOLD_WITHIN, view.until(|view| view.stopped.is_some()));
        if told.await.is_none() {
            let _ = self.applier.fail("the storage says that it has failed");
        }
    }

    /// While the machine is short of room nothing new is applied, after which it would be asked. Its
    /// file and the log may be on one disk, of which the log has more than it needs.
    pub(super) async fn look_for_room(self: Arc<Self>) {
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        let mut health = self.applier.health.watch();
        while health.until(|health| *health != Health::Ok).await.is_some() {
            let _short = self.room.short();
            while self.applier.health.get() != Health::Ok {
                RT::sleep(LOOK_AGAIN).await;
                if self.applier.run::<RT, _>(Applier::look_at_health).await.is_err() {
                    return;
                }
            }
        }
    }
}
