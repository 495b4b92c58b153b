//! What is taken while there is little room on the disk, and who is asked for some.
//!
//! This folder owns the group's [`Room`]. `appends.rs` is what may be taken of entries (step 4 of a
//! write), `snapshot.rs` whether a snapshot is, and what is remembered of one that did not fit. What
//! becomes of the node when its disk fails is not decided here, but in `health.rs`.

mod appends;
mod snapshot;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::appends::Tail;
pub(super) use self::snapshot::Attempt;
use self::snapshot::TooLarge;
use super::applier::Applier;
use super::group::Group;
use super::runtime::Runtime;
use crate::error::RestoreError;
use crate::storage::Storage;

/// How often it is looked for room while somebody waits for it, and how many times.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOKS: usize = 5;

/// The room of one group.
pub(super) struct Room<RT: Runtime> {
    storage: Arc<dyn Storage>,
    state: Mutex<State<RT>>,
}

struct State<RT: Runtime> {
    /// How many are short of room.
    short: usize,
    /// Whether a snapshot is being installed, or waits for it.
    installing: bool,
    /// How many were begun: only the last of them may be installed.
    begun: u64,
    /// A snapshot that was begun and for which there was none.
    too_large: Option<TooLarge<RT>>,
    tail: Tail,
}

/// Somebody is short of room, until it is dropped.
pub(super) struct Short<RT: Runtime>(Arc<Room<RT>>);

impl<RT: Runtime> Room<RT> {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Arc<Self> {
        let state = State { short: 0, installing: false, begun: 0, too_large: None, tail: Tail::default() };
        Arc::new(Self { storage, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State<RT>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the storage for what it can spare: its file and the machine's may be on one disk.
    pub(super) fn short(self: &Arc<Self>) -> Short<RT> {
        let mut state = self.state();
        state.short += 1;
        // Under the lock: the last word is the right one.
        self.storage.make_room(true);
        Short(self.clone())
    }

    /// Waits a while until a snapshot of so many bytes can be restored, and says whether it can. What
    /// others gave back for it they do not take again before what this gives is dropped.
    pub(super) async fn wait(
        self: &Arc<Self>,
        applier: &Arc<Applier>,
        snapshot_bytes: u64,
    ) -> (Option<Short<RT>>, Result<(), RestoreError>) {
        self.look(applier, snapshot_bytes, LOOKS).await
    }

    async fn look(
        self: &Arc<Self>,
        applier: &Arc<Applier>,
        snapshot_bytes: u64,
        looks: usize,
    ) -> (Option<Short<RT>>, Result<(), RestoreError>) {
        let mut short = None;
        for _ in 0..looks {
            match applier.room_for::<RT>(snapshot_bytes).await {
                Err(RestoreError::NoRoom { .. }) => short = short.or_else(|| Some(self.short())),
                looked => return (short, looked),
            }
            RT::sleep(LOOK_AGAIN).await;
        }
        let looked = applier.room_for::<RT>(snapshot_bytes).await;
        (short, looked)
    }

    /// Neither storage nor machine are short of room any more.
    pub(super) fn is_back(&self) {
        self.state().tail = Tail::default();
    }
}

impl<RT: Runtime> Drop for Short<RT> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.short -= 1;
        if state.short == 0 {
            self.0.storage.make_room(false);
        }
    }
}

impl<RT: Runtime> Group<RT> {
    /// Waits a while before a leader is told to come again.
    pub(super) async fn put_off(&self) {
        RT::sleep(LOOK_AGAIN).await;
    }

    /// Says that neither storage nor machine are short of room any more.
    pub(crate) fn room_is_back(&self) {
        self.room.is_back();
    }
}
