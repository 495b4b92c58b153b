//! What is taken while there is little room on the disk, and who is asked for some.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::applier::Applier;
use super::group::Group;
use super::receive::ReceiveError;
use super::runtime::{Runtime, now};
use super::types::{Entry, Payload};
use crate::error::RestoreError;
use crate::storage::{Health, Storage};

/// How many bytes an entry without commands may have that is taken while room is short.
const SMALL: usize = 64 << 10;
/// How often it is looked for room while somebody waits for it, and how many times.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOKS: usize = 5;
/// For how long a snapshot counts as too large that turned out to be; twice as long the next time.
const BELIEVED: Duration = Duration::from_mins(1);
const BELIEVED_AT_MOST: Duration = Duration::from_hours(1);

/// The room of one group.
pub(super) struct Room<RT: Runtime> {
    storage: Arc<dyn Storage>,
    state: Mutex<State<RT>>,
}

struct State<RT: Runtime> {
    /// How many are short of room.
    short: usize,
    /// A snapshot that was begun and for which there was none.
    too_large: Option<TooLarge<RT>>,
    /// Bytes of commands that were taken of earlier leaders since room is short.
    tail: usize,
}

struct TooLarge<RT: Runtime> {
    /// How long it is, or how much of it was there by then.
    bytes: u64,
    until: RT::Instant,
    believed: Duration,
}

/// Somebody is short of room, until it is dropped.
pub(super) struct Short<RT: Runtime>(Arc<Room<RT>>);

impl<RT: Runtime> Room<RT> {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Arc<Self> {
        let state = State { short: 0, too_large: None, tail: 0 };
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

    /// Waits a while until a snapshot of so many bytes can be restored.
    pub(super) async fn wait(
        self: &Arc<Self>,
        applier: &Arc<Applier>,
        snapshot_bytes: u64,
    ) -> Result<(), RestoreError> {
        let mut short = None;
        for _ in 0..LOOKS {
            match applier.room_for::<RT>(snapshot_bytes).await {
                Err(RestoreError::NoRoom { .. }) => short = short.or_else(|| Some(self.short())),
                looked => return looked,
            }
            RT::sleep(LOOK_AGAIN).await;
        }
        applier.room_for::<RT>(snapshot_bytes).await
    }

    /// For how much there must be room before a snapshot is taken again.
    fn expected(&self) -> u64 {
        let state = self.state();
        let believed = state.too_large.as_ref().filter(|too_large| now::<RT>() < too_large.until);
        // What had arrived of it may have taken the room: it was on a disk as well.
        believed.map_or(0, |too_large| too_large.bytes.saturating_mul(2))
    }

    /// A snapshot was begun and did not fit: so much of it is known of.
    pub(super) fn too_large(&self, bytes: u64) {
        let mut state = self.state();
        let believed = state.too_large.as_ref().map_or(BELIEVED, |before| before.believed * 2);
        let believed = believed.min(BELIEVED_AT_MOST);
        state.too_large = Some(TooLarge { bytes, until: now::<RT>() + believed, believed });
    }

    /// A snapshot was restored.
    pub(super) fn restored(&self) {
        self.state().too_large = None;
    }

    /// Whether so many bytes more of commands are taken, of at most `limit` while room is short.
    fn takes(&self, bytes: usize, limit: usize) -> bool {
        let mut state = self.state();
        let taken = state.tail.saturating_add(bytes);
        if taken <= limit {
            state.tail = taken;
        }
        taken <= limit
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
    /// Whether entries of the leader of `term` are taken.
    ///
    /// While room is short those without commands are: elections, changes of members and deadlines
    /// append them, they are few and small, and without them a majority that is short of room could
    /// have no leader that serves. Nor could it while commands of an earlier leader stand before them
    /// in the log: so much of those is taken as one leader may have had under way. New commands are
    /// refused, and what lies behind them with them.
    pub(super) fn has_room_for(&self, term: u64, entries: &[Entry]) -> bool {
        match self.health() {
            Health::Ok => {
                self.room.state().tail = 0;
                true
            }
            Health::Low => {
                // A leader that finds out how far this log goes sends what it has already.
                let last = self.view.with(|view| view.last_log);
                let there = |entry: &Entry| last.is_some_and(|last| entry.log_id.index <= last.0);
                let small = |entry: &Entry| {
                    entry.encoded.len() <= SMALL && !matches!(entry.payload, Payload::Commands(_))
                };
                let mut large = entries.iter().filter(|entry| !there(entry) && !small(entry));
                let left = large.try_fold(0, |bytes, entry| {
                    let earlier = *entry.log_id.leader_id < term;
                    earlier.then_some(bytes + entry.encoded.len())
                });
                left.is_some_and(|bytes| self.room.takes(bytes, self.max_unflushed()))
            }
            _ => entries.is_empty(),
        }
    }

    /// Whether a snapshot of so many bytes is taken; 0 is not known. Answers after a while when there is
    /// no room, as the leader asks again at once.
    pub(super) async fn admits(&self, bytes: u64) -> Result<(), ReceiveError> {
        let mut looks = 0;
        // It could be larger than all there is.
        while bytes == 0 && self.applier.health.get() != Health::Ok {
            if looks == LOOKS {
                return Err(ReceiveError::MachineShort);
            }
            looks += 1;
            RT::sleep(LOOK_AGAIN).await;
        }
        Ok(self.room.wait(&self.applier, bytes.max(self.room.expected())).await?)
    }
}
