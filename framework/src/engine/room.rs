//! What is taken while there is little room on the disk, and who is asked for some.

use std::collections::BTreeMap;
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
/// What part of what may be under way is taken of earlier leaders while room is short.
const TAIL: usize = 8;
/// For how long a snapshot counts as too large that turned out to be; twice as long when it is tried
/// again soon after.
const BELIEVED: Duration = Duration::from_mins(1);
const BELIEVED_AT_MOST: Duration = Duration::from_mins(10);

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
    tail: Tail,
}

/// Commands of earlier leaders that were taken since the last entries that found room: by index, their
/// term and length. What is sent again counts once.
#[derive(Default)]
struct Tail {
    taken: BTreeMap<u64, (u64, usize)>,
    bytes: usize,
}

impl Tail {
    /// Whether these entries, of index, term and length, are taken as well, of at most `limit` bytes; the
    /// first are, however many.
    fn takes(&mut self, entries: &[(u64, u64, usize)], limit: usize) -> bool {
        // From there on they take the place of what the log has.
        let replaced = entries.iter().find(|(index, term, _)| self.replaces(*index, *term));
        let from = replaced.map_or(u64::MAX, |(index, ..)| *index);
        let gone: usize = self.taken.range(from..).map(|(_, (_, bytes))| bytes).sum();
        let new = entries.iter().filter(|(index, ..)| *index >= from || !self.taken.contains_key(index));
        let (kept, bytes) = (self.bytes - gone, new.map(|(.., bytes)| bytes).sum::<usize>());
        let takes = bytes == 0 || kept == 0 || kept.saturating_add(bytes) <= limit;
        if takes {
            drop(self.taken.split_off(&from));
            self.bytes = kept + bytes;
            self.taken.extend(entries.iter().map(|(index, term, bytes)| (*index, (*term, *bytes))));
        }
        takes
    }

    fn replaces(&self, index: u64, term: u64) -> bool {
        self.taken.get(&index).is_some_and(|(taken, _)| *taken != term)
    }
}

struct TooLarge<RT: Runtime> {
    /// How long it is, or how much of it was there by then.
    bytes: u64,
    /// Whether it was the storage that had no room for what arrived, of which nobody can be asked.
    unasked: bool,
    until: RT::Instant,
    believed: Duration,
}

/// Somebody is short of room, until it is dropped.
pub(super) struct Short<RT: Runtime>(Arc<Room<RT>>);

impl<RT: Runtime> Room<RT> {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Arc<Self> {
        let state = State { short: 0, too_large: None, tail: Tail::default() };
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

    /// Waits a while until a snapshot of so many bytes can be restored. What others gave back for it they
    /// do not take again before what this gives is dropped.
    pub(super) async fn wait(
        self: &Arc<Self>,
        applier: &Arc<Applier>,
        snapshot_bytes: u64,
    ) -> Result<Option<Short<RT>>, RestoreError> {
        self.look(applier, snapshot_bytes, LOOKS).await
    }

    async fn look(
        self: &Arc<Self>,
        applier: &Arc<Applier>,
        snapshot_bytes: u64,
        looks: usize,
    ) -> Result<Option<Short<RT>>, RestoreError> {
        let mut short = None;
        for _ in 0..looks {
            match applier.room_for::<RT>(snapshot_bytes).await {
                Err(RestoreError::NoRoom { .. }) => short = short.or_else(|| Some(self.short())),
                looked => return looked.map(|()| short),
            }
            RT::sleep(LOOK_AGAIN).await;
        }
        applier.room_for::<RT>(snapshot_bytes).await.map(|()| short)
    }

    /// For how much there must be room before a snapshot of so many bytes is taken, of which 0 is not
    /// known. `None` when none is taken whatever room there is.
    fn needed(&self, bytes: u64) -> Option<u64> {
        let state = self.state();
        let Some(believed) = state.too_large.as_ref().filter(|too_large| now::<RT>() < too_large.until)
        else {
            return Some(bytes);
        };
        // What had arrived of it may have taken the room: it was on a disk as well.
        let both = believed.bytes.saturating_mul(2);
        let needed = if bytes == 0 { both } else { both.clamp(bytes, bytes.saturating_mul(2)) };
        (!believed.unasked).then_some(needed)
    }

    /// A snapshot was begun and did not fit: so much of it is known of. `unasked`: it was the storage that
    /// had no room for it.
    pub(super) fn too_large(&self, bytes: u64, unasked: bool) {
        let mut state = self.state();
        let now = now::<RT>();
        let again = state.too_large.as_ref().filter(|before| now < before.until + before.believed);
        let believed = again.map_or(BELIEVED, |before| (before.believed * 2).min(BELIEVED_AT_MOST));
        state.too_large = Some(TooLarge { bytes, unasked, until: now + believed, believed });
    }

    /// A snapshot was restored.
    pub(super) fn restored(&self) {
        self.state().too_large = None;
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
    /// in the log: some of those are taken. New commands are refused, and what lies behind them with them.
    pub(super) fn has_room_for(&self, term: u64, entries: &[Entry]) -> bool {
        match self.health() {
            Health::Ok => {
                self.room.state().tail = Tail::default();
                true
            }
            Health::Low => {
                // A leader that finds out how far this log goes sends what it has already.
                let last = self.view.with(|view| view.last_log);
                let there = |entry: &Entry| last.is_some_and(|last| entry.log_id.index <= last.0);
                let small = |entry: &Entry| {
                    entry.encoded.len() <= SMALL && !matches!(entry.payload, Payload::Commands(_))
                };
                let large = entries.iter().filter(|entry| !there(entry) && !small(entry));
                let of_earlier = |entry: &Entry| {
                    let written = *entry.log_id.leader_id;
                    (written < term).then_some((entry.log_id.index, written, entry.encoded.len()))
                };
                let left: Option<Vec<_>> = large.map(of_earlier).collect();
                let limit = self.max_unflushed() / TAIL;
                left.is_some_and(|left| self.room.state().tail.takes(&left, limit))
            }
            _ => entries.is_empty(),
        }
    }

    /// Whether a snapshot of so many bytes is taken; 0 is not known. Answers after a while when there is
    /// no room, as the leader asks again at once.
    pub(super) async fn admits(&self, bytes: u64) -> Result<Option<Short<RT>>, ReceiveError> {
        for looks in (0..=LOOKS).rev() {
            // One of unknown length could be larger than all there is.
            let short = bytes == 0 && self.applier.health.get() != Health::Ok;
            if let Some(needed) = self.room.needed(bytes).filter(|_| !short) {
                return Ok(self.room.look(&self.applier, needed, looks).await?);
            }
            if looks > 0 {
                RT::sleep(LOOK_AGAIN).await;
            }
        }
        Err(ReceiveError::NoRoom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::runtime::TokioRuntime;
    use crate::storage::MemoryStorage;

    fn room() -> Arc<Room<TokioRuntime>> {
        Room::new(Arc::new(MemoryStorage::new()))
    }

    #[test]
    fn of_earlier_leaders_the_first_are_taken_and_then_no_more_than_the_limit() {
        let mut tail = Tail::default();
        assert!(tail.takes(&[], 100));
        assert!(tail.takes(&[(1, 1, 200)], 100), "one command may be larger than the limit");
        assert!(!tail.takes(&[(2, 1, 1)], 100));
        assert!(tail.takes(&[], 100) && tail.takes(&[(1, 1, 200)], 100), "it has that one");
        let mut tail = Tail::default();
        assert!(tail.takes(&[(1, 1, 60)], 100) && tail.takes(&[(2, 1, 40)], 100));
        assert!(!tail.takes(&[(3, 1, 1)], 100));
    }

    #[test]
    fn what_an_earlier_leader_left_counts_once_however_often_it_is_sent() {
        let mut tail = Tail::default();
        for _ in 0..10 {
            assert!(tail.takes(&[(1, 1, 30), (2, 1, 30)], 100));
        }
        assert!(tail.takes(&[(2, 1, 30), (3, 1, 40)], 100));
        assert!(!tail.takes(&[(3, 1, 40), (4, 1, 1)], 100));
        // Another leader's takes the place of all from there on.
        assert!(tail.takes(&[(2, 2, 20)], 100) && tail.takes(&[(3, 2, 50)], 100));
        assert!(!tail.takes(&[(4, 2, 1)], 100));
    }

    #[test]
    fn what_did_not_fit_is_asked_more_room_for_until_one_is_restored() {
        let room = room();
        assert_eq!((room.needed(0), room.needed(7)), (Some(0), Some(7)));
        room.too_large(50, false);
        assert_eq!(room.needed(0), Some(100));
        // A smaller one is not held to be as large.
        assert_eq!((room.needed(7), room.needed(80), room.needed(200)), (Some(14), Some(100), Some(200)));
        room.too_large(50, true);
        assert_eq!((room.needed(0), room.needed(7)), (None, None), "nobody can tell");
        let believed = |room: &Room<TokioRuntime>| room.state().too_large.as_ref().map(|it| it.believed);
        assert_eq!(believed(&room), Some(2 * BELIEVED));
        (0..10).for_each(|_| room.too_large(50, false));
        assert_eq!(believed(&room), Some(BELIEVED_AT_MOST));
        room.restored();
        assert_eq!(room.needed(0), Some(0));
        room.too_large(50, false);
        assert_eq!(believed(&room), Some(BELIEVED));
    }
}
