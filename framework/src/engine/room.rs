//! What is taken while there is little room on the disk, and who is asked for some.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::applier::Applier;
use super::group::{Group, Library};
use super::receive::ReceiveError;
use super::runtime::{Runtime, now};
use super::types::{Entry, Payload, RaftLogId, Vote};
use crate::error::{RestoreError, StorageError};
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
/// A snapshot of which less is known counts as of so many bytes.
const AT_LEAST: u64 = 1 << 20;

/// The room of one group.
pub(super) struct Room<RT: Runtime> {
    storage: Arc<dyn Storage>,
    state: Mutex<State<RT>>,
}

struct State<RT: Runtime> {
    /// How many are short of room.
    short: usize,
    /// How many snapshots are being installed, or wait for it.
    installing: usize,
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
    /// How many of the first of these entries, of index, term and length, are taken as well, of at most
    /// `limit` bytes; the first append is, however long.
    fn takes(&mut self, entries: &[(u64, u64, usize)], limit: usize) -> usize {
        // From there on they take the place of what the log has.
        let replaced = entries.iter().find(|(index, term, _)| self.replaces(*index, *term));
        let from = replaced.map_or(u64::MAX, |(index, ..)| *index);
        let gone: usize = self.taken.range(from..).map(|(_, (_, bytes))| bytes).sum();
        let kept = self.bytes - gone;
        let mut sum = kept;
        let fits = |(index, _, bytes): &&(u64, u64, usize)| {
            let new = *index >= from || !self.taken.contains_key(index);
            sum += if new { *bytes } else { 0 };
            sum == kept || kept == 0 || sum <= limit
        };
        let taken = entries.iter().take_while(fits).count();
        let entries = &entries[..taken];
        if entries.last().is_some_and(|(index, ..)| *index >= from) {
            drop(self.taken.split_off(&from));
        }
        self.taken.extend(entries.iter().map(|(index, term, bytes)| (*index, (*term, *bytes))));
        self.bytes = self.taken.values().map(|(_, bytes)| bytes).sum();
        taken
    }

    fn replaces(&self, index: u64, term: u64) -> bool {
        self.taken.get(&index).is_some_and(|(taken, _)| *taken != term)
    }
}

struct TooLarge<RT: Runtime> {
    /// How long it is, or how much of it was there by then.
    bytes: u64,
    lacked: Lacked,
    until: RT::Instant,
    believed: Duration,
}

/// Who had no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacked {
    /// The machine, which can be asked again.
    Machine,
    /// The storage, which said that it had none when it was asked, and can be asked again.
    Storage,
    /// The storage, of which it cannot be told when it has.
    Unknown,
}

/// Somebody is short of room, until it is dropped.
pub(super) struct Short<RT: Runtime>(Arc<Room<RT>>);

/// A snapshot is being installed, until it is dropped: no other is taken meanwhile, and what others gave
/// back for it they do not take again.
pub(super) struct Installing<RT: Runtime> {
    room: Arc<Room<RT>>,
    _short: Option<Short<RT>>,
}

impl<RT: Runtime> Room<RT> {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Arc<Self> {
        let state = State { short: 0, installing: 0, too_large: None, tail: Tail::default() };
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

    /// For how much there must be room before a snapshot of so many bytes is taken, of which 0 is not
    /// known. `None` when none is taken whatever room the machine has.
    fn needed(&self, bytes: u64) -> Option<u64> {
        let (believed, lacked) = {
            let state = self.state();
            let too_large = state.too_large.as_ref().filter(|too_large| now::<RT>() < too_large.until);
            let Some(too_large) = too_large else { return Some(bytes) };
            (too_large.bytes, too_large.lacked)
        };
        // What had arrived of it may have taken the room: it was on a disk as well.
        let both = believed.saturating_mul(2);
        let needed = if bytes == 0 { both } else { both.clamp(bytes, bytes.saturating_mul(2)) };
        let has_room = match lacked {
            Lacked::Machine => true,
            Lacked::Storage => self.storage.snapshot_room().is_some_and(|room| room >= needed),
            Lacked::Unknown => false,
        };
        has_room.then_some(needed)
    }

    /// A snapshot of so many bytes, or of which there were so many, was begun at `begun`. Takes note when
    /// it did not fit.
    pub(super) fn failed(&self, error: &ReceiveError, bytes: u64, begun: RT::Instant) {
        let lacked = match error {
            ReceiveError::Restore(RestoreError::NoRoom { .. }) => Lacked::Machine,
            ReceiveError::Storage(StorageError::Full { .. }) => {
                let bytes = bytes.max(AT_LEAST);
                let says_so = self.storage.snapshot_room().is_some_and(|room| room < bytes);
                if says_so { Lacked::Storage } else { Lacked::Unknown }
            }
            _ => return,
        };
        let mut state = self.state();
        let again = state.too_large.as_ref().filter(|before| begun < before.until + before.believed);
        let believed = again.map_or(BELIEVED, |before| (before.believed * 2).min(BELIEVED_AT_MOST));
        let until = now::<RT>() + believed;
        state.too_large = Some(TooLarge { bytes: bytes.max(AT_LEAST), lacked, until, believed });
    }

    /// A snapshot is installed from now on.
    pub(super) fn installing(self: &Arc<Self>, short: Option<Short<RT>>) -> Installing<RT> {
        self.state().installing += 1;
        Installing { room: self.clone(), _short: short }
    }

    /// Neither storage nor machine are short of room any more.
    pub(super) fn is_back(&self) {
        self.state().tail = Tail::default();
    }
}

impl<RT: Runtime> Installing<RT> {
    /// It is restored.
    pub(super) fn done(self) {
        self.room.state().too_large = None;
    }
}

impl<RT: Runtime> Drop for Installing<RT> {
    fn drop(&mut self) {
        self.room.state().installing -= 1;
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
    /// How many of the first of these entries, which come from the leader of `vote`, are taken.
    ///
    /// While room is short those without commands are: elections, changes of members and deadlines
    /// append them, they are few and small, and without them a majority that is short of room could
    /// have no leader that serves. Nor could it while commands of an earlier leader stand before them
    /// in the log: some of those are taken. New commands are refused, and what lies behind them with them.
    pub(super) async fn has_room_for(&self, vote: &Vote, entries: &[Entry]) -> usize {
        match self.health() {
            Health::Ok => entries.len(),
            // Refused anyway by the log, which has seen a later vote.
            Health::Low if vote.leader_id.term < self.view.with(|view| view.term.0) => entries.len(),
            Health::Low => {
                let (there, limit) = (self.last_known(entries).await, self.max_unflushed() / TAIL);
                let term = vote.leader_id.term;
                let small = |entry: &Entry| {
                    entry.encoded.len() <= SMALL && !matches!(entry.payload, Payload::Commands(_))
                };
                let of_earlier = |entry: &Entry| {
                    let (index, written) = (entry.log_id.index, *entry.log_id.leader_id);
                    let bytes = if small(entry) { 0 } else { entry.encoded.len() };
                    (bytes == 0 || written < term).then_some((index, written, bytes))
                };
                let new =
                    entries.partition_point(|entry| there.is_some_and(|last| entry.log_id.index <= last));
                let left: Vec<_> = entries[new..].iter().map_while(of_earlier).collect();
                new + self.room.state().tail.takes(&left, limit)
            }
            _ => 0,
        }
    }

    /// The index up to which the log has these entries: a leader that finds out how far it goes sends
    /// what it has already.
    async fn last_known(&self, entries: &[Entry]) -> Option<u64> {
        let ids: Vec<RaftLogId> = entries.iter().map(|entry| entry.log_id).collect();
        // What is equal at one index is equal up to there, and so is what is committed.
        let look = move |raft: Library<RT>| async move {
            let look = raft.with_raft_state(move |state| {
                let known = ids.iter().rev().find(|id| state.log_ids.get(id.index).as_ref() == Some(id));
                known.map(|id| id.index)
            });
            look.await.ok().flatten()
        };
        let committed = self.view.with(|view| view.committed).map(|committed| committed.index.0);
        self.call(look).await.max(committed)
    }

    /// Whether a snapshot of so many bytes is taken; 0 is not known. Answers after a while when there is
    /// no room, as the leader asks again at once.
    pub(super) async fn admits(&self, bytes: u64) -> Result<Option<Short<RT>>, ReceiveError> {
        let mut asked = None;
        for looks in (0..=LOOKS).rev() {
            // One of unknown length could be larger than all there is.
            let short = bytes == 0 && self.applier.health.get() != Health::Ok;
            let waits = short || self.room.state().installing > 0;
            if let Some(needed) = self.room.needed(bytes).filter(|_| !waits) {
                let (short, looked) = self.room.look(&self.applier, needed, looks).await;
                return Ok(looked.map(|()| asked.or(short))?);
            }
            asked = asked.or_else(|| Some(self.room.short()));
            if looks > 0 {
                RT::sleep(LOOK_AGAIN).await;
            }
        }
        Err(ReceiveError::NoRoom)
    }

    /// Waits a while before a leader is told to come again.
    pub(super) async fn put_off(&self) {
        RT::sleep(LOOK_AGAIN).await;
    }

    /// Says that neither storage nor machine are short of room any more.
    pub(crate) fn room_is_back(&self) {
        self.room.is_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::runtime::TokioRuntime;
    use crate::storage::MemoryStorage;

    type Now = <TokioRuntime as crate::engine::runtime::AsyncRuntime>::Instant;

    fn room() -> Arc<Room<TokioRuntime>> {
        Room::new(Arc::new(MemoryStorage::new()))
    }

    #[test]
    fn of_earlier_leaders_the_first_are_taken_and_then_no_more_than_the_limit() {
        let mut tail = Tail::default();
        assert_eq!(tail.takes(&[], 100), 0);
        assert_eq!(tail.takes(&[(1, 1, 200)], 100), 1, "one command may be larger than the limit");
        assert_eq!(tail.takes(&[(2, 1, 1)], 100), 0);
        assert_eq!(tail.takes(&[(1, 1, 200)], 100), 1, "it has that one");
        let mut tail = Tail::default();
        assert_eq!((tail.takes(&[(1, 1, 60)], 100), tail.takes(&[(2, 1, 40)], 100)), (1, 1));
        assert_eq!(tail.takes(&[(3, 1, 1)], 100), 0);
    }

    #[test]
    fn what_an_earlier_leader_left_counts_once_however_often_it_is_sent() {
        let mut tail = Tail::default();
        for _ in 0..10 {
            assert_eq!(tail.takes(&[(1, 1, 30), (2, 1, 30)], 100), 2);
        }
        assert_eq!(tail.takes(&[(2, 1, 30), (3, 1, 40)], 100), 2);
        assert_eq!(tail.takes(&[(3, 1, 40), (4, 2, 0), (5, 1, 1)], 100), 2, "what is small is always taken");
        // Another leader's takes the place of all from there on, if it is taken.
        assert_eq!(tail.takes(&[(2, 3, 80)], 100), 0);
        assert_eq!(tail.takes(&[(4, 2, 0), (5, 2, 1)], 100), 1, "nothing was replaced");
        assert_eq!(tail.takes(&[(2, 3, 0), (3, 3, 70), (4, 3, 1)], 100), 2);
        assert_eq!(tail.bytes, 100);
    }

    fn no_room() -> ReceiveError {
        RestoreError::NoRoom { needed: 2, available: 1 }.into()
    }

    fn full() -> ReceiveError {
        StorageError::Full { doing: "write" }.into()
    }

    #[test]
    fn what_did_not_fit_is_asked_more_room_for_until_one_is_restored() {
        const SIZE: u64 = 50 << 20;
        let (room, begun) = (room(), now::<TokioRuntime>());
        assert_eq!((room.needed(0), room.needed(7)), (Some(0), Some(7)));
        room.failed(&ReceiveError::Ended, SIZE, begun);
        assert_eq!(room.needed(0), Some(0));
        room.failed(&no_room(), SIZE, begun);
        assert_eq!(room.needed(0), Some(2 * SIZE));
        // A smaller one is not held to be as large.
        assert_eq!((room.needed(7), room.needed(3 * SIZE)), (Some(14), Some(3 * SIZE)));
        room.failed(&full(), SIZE, begun);
        assert_eq!((room.needed(0), room.needed(7)), (None, None), "nobody can tell");
        let believed = |room: &Room<TokioRuntime>| room.state().too_large.as_ref().map(|it| it.believed);
        assert_eq!(believed(&room), Some(2 * BELIEVED));
        (0..10).for_each(|_| room.failed(&no_room(), SIZE, begun));
        assert_eq!(believed(&room), Some(BELIEVED_AT_MOST));
        room.installing(None).done();
        assert_eq!(room.needed(0), Some(0));
        room.failed(&no_room(), SIZE, begun);
        assert_eq!(believed(&room), Some(BELIEVED));
    }

    #[test]
    fn one_that_was_begun_soon_after_another_did_not_fit_is_believed_for_longer_however_long_it_took() {
        let (room, begun) = (room(), now::<TokioRuntime>());
        let until = |room: &Room<TokioRuntime>| -> Now {
            room.state().too_large.as_ref().map(|it| it.until).expect("it did not fit")
        };
        room.failed(&no_room(), 1, begun);
        let first = until(&room);
        room.failed(&no_room(), 1, first + BELIEVED * 2);
        assert!(until(&room) < first + BELIEVED, "that one was begun long after");
        room.failed(&no_room(), 1, begun);
        assert!(until(&room) >= first + BELIEVED);
    }
}
