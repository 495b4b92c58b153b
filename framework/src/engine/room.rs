//! What is taken while there is little room on the disk, and who is asked for some.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::raft::AppendEntriesRequest;

use super::applier::Applier;
use super::group::{Group, Library};
use super::receive::ReceiveError;
use super::runtime::{Runtime, now};
use super::types::{Entry, Payload, RaftLogId, TypeConfig};
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
/// A snapshot of which less is known counts as of so many bytes, and one of unknown length is tried again
/// when there is so much more room.
const AT_LEAST: u64 = 1 << 20;
/// The most that comes of a snapshot at once (`snapshot.chunk_bytes`). A storage that has room for more
/// than what came and so much, and yet none for it, does not see what it lacks: a quota, or another limit.
const A_CHUNK: u64 = 4 << 20;

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
    /// A snapshot that was begun and for which there was none.
    too_large: Option<TooLarge<RT>>,
    tail: Tail,
}

/// Commands of earlier leaders that were taken since the last entries that found room: by index, their
/// length. What is sent again counts once.
#[derive(Default)]
struct Tail(BTreeMap<u64, usize>);

impl Tail {
    /// How many of the first of these entries, of index and length, are taken as well, of at most `limit`
    /// bytes; the first append is, however long. They take the place of whatever the log has from there on.
    fn takes(&mut self, entries: &[(u64, usize)], limit: usize) -> usize {
        let Some((from, _)) = entries.first() else { return 0 };
        let kept: usize = self.0.range(..from).map(|(_, bytes)| bytes).sum();
        let mut sum = kept;
        let fits = |(_, bytes): &&(u64, usize)| {
            sum += bytes;
            sum == kept || kept == 0 || sum <= limit
        };
        let taken = entries.iter().take_while(fits).count();
        if taken > 0 {
            drop(self.0.split_off(from));
            self.0.extend(entries[..taken].iter().copied().filter(|(_, bytes)| *bytes > 0));
        }
        taken
    }
}

struct TooLarge<RT: Runtime> {
    /// How long it is, or for how much of it there was room.
    bytes: u64,
    lacked: Lacked,
    until: RT::Instant,
    believed: Duration,
}

/// A snapshot that was begun.
pub(super) struct Attempt<RT: Runtime> {
    /// How long it is; 0 is not known.
    pub(super) len: u64,
    /// How much of it came, what found no room included.
    pub(super) received: u64,
    /// How much room for it the storage had said that there was.
    pub(super) said: Option<u64>,
    /// When it was begun.
    pub(super) begun: RT::Instant,
}

/// Who had no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacked {
    /// The machine, which can be asked again.
    Machine,
    /// The storage, which said that it had too little when it was asked, and can be asked again.
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
        let state = State { short: 0, installing: false, too_large: None, tail: Tail::default() };
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
        self.needed_at(bytes, now::<RT>())
    }

    fn needed_at(&self, bytes: u64, now: RT::Instant) -> Option<u64> {
        // It is asked with nothing locked that appends wait for.
        let Some((believed, lacked, until)) =
            self.state().too_large.as_ref().map(|it| (it.bytes, it.lacked, it.until))
        else {
            return Some(bytes);
        };
        let room = if lacked == Lacked::Storage { self.said() } else { None };
        // A storage that says how much room it has is asked for longer, where it is known for how much; but
        // what it says is not what a snapshot takes on every disk.
        let asked = bytes > 0 && room.is_some();
        if now >= until + if asked { BELIEVED_AT_MOST } else { Duration::ZERO } {
            return Some(bytes);
        }
        // The part that did not fit has given its own room back.
        let more = || believed.saturating_add((believed / 8).max(AT_LEAST));
        let known = if bytes == 0 { more() } else { bytes };
        match lacked {
            // What had arrived of it may have taken the room: it was on a disk as well.
            Lacked::Machine => Some(believed.saturating_mul(2).clamp(known, known.saturating_mul(2))),
            Lacked::Storage => room.is_some_and(|room| room >= known).then_some(known),
            Lacked::Unknown => None,
        }
    }

    /// How much room the storage says that a snapshot has.
    pub(super) fn said(&self) -> Option<u64> {
        self.storage.snapshot_room()
    }

    /// Takes note of a snapshot that did not fit, once it has given back the room that it took.
    pub(super) fn failed(&self, error: &ReceiveError, attempt: &Attempt<RT>) {
        let Attempt { len, received, said, begun } = *attempt;
        let (lacked, bytes) = match error {
            ReceiveError::Restore(RestoreError::NoRoom { .. }) => (Lacked::Machine, len.max(received)),
            ReceiveError::Storage(StorageError::Full { .. }) => {
                let says = self.said();
                let enough = if len > 0 { len } else { received.saturating_add(A_CHUNK) };
                let too_little = |says: Option<u64>| says.is_some_and(|says| says < enough);
                // Others may have taken the room meanwhile. One that had said that there was enough, and says
                // so again, cannot tell when there is.
                let says_so = too_little(says) || len > 0 && too_little(said);
                let bytes = if len > 0 { len } else { says.unwrap_or(received) };
                (if says_so { Lacked::Storage } else { Lacked::Unknown }, bytes)
            }
            _ => return,
        };
        let mut state = self.state();
        let again = state.too_large.as_ref().filter(|before| begun < before.until + before.believed);
        let believed = again.map_or(BELIEVED, |before| (before.believed * 2).min(BELIEVED_AT_MOST));
        let until = now::<RT>() + believed;
        state.too_large = Some(TooLarge { bytes: bytes.max(AT_LEAST), lacked, until, believed });
    }

    /// A snapshot is installed from now on; `None` while another is.
    pub(super) fn installing(self: &Arc<Self>, short: Option<Short<RT>>) -> Option<Installing<RT>> {
        let mut state = self.state();
        if state.installing {
            return None;
        }
        state.installing = true;
        Some(Installing { room: self.clone(), _short: short })
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
        self.room.state().installing = false;
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
    /// How many of the first entries of an append are taken. `last` is the last entry that came over the
    /// same stream, which may not be in the log yet.
    ///
    /// While room is short those without commands are: elections, changes of members and deadlines
    /// append them, they are few and small, and without them a majority that is short of room could
    /// have no leader that serves. Nor could it while commands of an earlier leader stand before them
    /// in the log: some of those are taken. New commands are refused, and what lies behind them with them.
    pub(super) async fn has_room_for(
        &self,
        request: &mut AppendEntriesRequest<TypeConfig<RT>>,
        last: Option<RaftLogId>,
    ) -> usize {
        let (term, all) = (request.vote.leader_id.term, request.entries.len());
        match self.health() {
            Health::Ok => {
                self.room.is_back();
                all
            }
            // Refused anyway by the log, which has seen a later vote.
            Health::Low if term < self.view.with(|view| view.term.0) => all,
            Health::Low => {
                let (matches, there) = self.last_known(request, last).await;
                if !matches {
                    // The log says so to the leader, and takes none of it.
                    request.entries.clear();
                    return 0;
                }
                let entries = &request.entries;
                let small = |entry: &Entry| {
                    entry.encoded.len() <= SMALL && !matches!(entry.payload, Payload::Commands(_))
                };
                let is_taken = |entry: &Entry| {
                    let bytes = if small(entry) { 0 } else { entry.encoded.len() };
                    (bytes == 0 || *entry.log_id.leader_id < term).then_some((entry.log_id.index, bytes))
                };
                let new = entries.partition_point(|entry| there >= Some(entry.log_id.index));
                let left: Vec<_> = entries[new..].iter().map_while(is_taken).collect();
                new + self.room.state().tail.takes(&left, self.max_unflushed() / TAIL)
            }
            _ => 0,
        }
    }

    /// Whether the log has what stands before the entries of an append, and the index up to which it has
    /// these: a leader that finds out how far it goes sends what it has already.
    async fn last_known(
        &self,
        request: &AppendEntriesRequest<TypeConfig<RT>>,
        last: Option<RaftLogId>,
    ) -> (bool, Option<u64>) {
        let committed = self.view.with(|view| view.committed).map(|committed| committed.index.0);
        let before = request.prev_log_id;
        let ids: Vec<RaftLogId> =
            before.into_iter().chain(request.entries.iter().map(|it| it.log_id)).collect();
        let look = move |raft: Library<RT>| async move {
            let look = raft.with_raft_state(move |state| {
                let has =
                    |id: &&RaftLogId| Some(**id) == last || state.log_ids.get(id.index).as_ref() == Some(*id);
                ids.iter().rev().find(has).map(|id| id.index)
            });
            look.await.ok().flatten()
        };
        // What is equal at one index is equal up to there, and so is what is committed.
        let there = self.call(look).await.max(committed);
        (before.is_none_or(|before| there >= Some(before.index)), there)
    }

    /// Whether a snapshot of so many bytes is taken; 0 is not known. Answers after a while when there is
    /// no room, as the leader asks again at once.
    pub(super) async fn admits(&self, bytes: u64) -> Result<Option<Short<RT>>, ReceiveError> {
        let mut asked = None;
        for looks in (0..=LOOKS).rev() {
            // One of unknown length could be larger than all there is.
            let short = bytes == 0 && self.applier.health.get() != Health::Ok;
            let waits = short || self.room.state().installing;
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
        assert_eq!(tail.takes(&[(1, 200)], 100), 1, "one command may be larger than the limit");
        assert_eq!(tail.takes(&[(2, 1)], 100), 0);
        assert_eq!(tail.takes(&[(1, 200)], 100), 1, "it has that one");
        let mut tail = Tail::default();
        assert_eq!((tail.takes(&[(1, 60)], 100), tail.takes(&[(2, 40)], 100)), (1, 1));
        assert_eq!(tail.takes(&[(3, 0), (4, 1), (5, 0)], 100), 1, "what is small is always taken");
    }

    #[test]
    fn what_an_earlier_leader_left_counts_once_however_often_it_is_sent() {
        let mut tail = Tail::default();
        for _ in 0..10 {
            assert_eq!(tail.takes(&[(1, 30), (2, 30)], 100), 2);
        }
        assert_eq!(tail.takes(&[(2, 30), (3, 40)], 100), 2);
        assert_eq!(tail.takes(&[(4, 1)], 100), 0);
        // Another leader's takes the place of all from there on, if it is taken.
        assert_eq!(tail.takes(&[(2, 80)], 100), 0);
        assert_eq!(tail.takes(&[(4, 1)], 100), 0, "nothing was replaced");
        assert_eq!(tail.takes(&[(2, 0), (3, 70), (4, 1)], 100), 2);
        assert_eq!(tail.0.values().sum::<usize>(), 100);
    }

    fn no_room() -> ReceiveError {
        RestoreError::NoRoom { needed: 2, available: 1 }.into()
    }

    fn full() -> ReceiveError {
        StorageError::Full { doing: "write" }.into()
    }

    fn attempt(len: u64, received: u64, said: Option<u64>, begun: Now) -> Attempt<TokioRuntime> {
        Attempt { len, received, said, begun }
    }

    #[test]
    fn what_did_not_fit_is_asked_more_room_for_until_one_is_restored() {
        const SIZE: u64 = 50 << 20;
        let (room, begun) = (room(), now::<TokioRuntime>());
        assert_eq!((room.needed(0), room.needed(7)), (Some(0), Some(7)));
        room.failed(&ReceiveError::Ended, &attempt(SIZE, 0, None, begun));
        assert_eq!(room.needed(0), Some(0));
        room.failed(&no_room(), &attempt(SIZE, SIZE, None, begun));
        assert_eq!(room.needed(0), Some(2 * SIZE));
        // A smaller one is not held to be as large.
        assert_eq!((room.needed(7), room.needed(3 * SIZE)), (Some(14), Some(3 * SIZE)));
        room.failed(&full(), &attempt(SIZE, 5, None, begun));
        assert_eq!((room.needed(0), room.needed(7)), (None, None), "nobody can tell");
        let believed = |room: &Room<TokioRuntime>| room.state().too_large.as_ref().map(|it| it.believed);
        assert_eq!(believed(&room), Some(2 * BELIEVED));
        (0..10).for_each(|_| room.failed(&no_room(), &attempt(SIZE, SIZE, None, begun)));
        assert_eq!(believed(&room), Some(BELIEVED_AT_MOST));
        let taken = room.installing(None);
        assert!(room.installing(None).is_none(), "one at a time");
        taken.expect("the first").done();
        assert!(room.installing(None).is_some());
        assert_eq!(room.needed(0), Some(0));
        room.failed(&no_room(), &attempt(SIZE, SIZE, None, begun));
        assert_eq!(believed(&room), Some(BELIEVED));
    }

    #[test]
    fn a_storage_that_had_too_little_room_is_asked_until_it_has_enough() {
        const MIB: u64 = 1 << 20;
        let storage = MemoryStorage::new();
        let room = Room::<TokioRuntime>::new(Arc::new(storage.clone()));
        let begun = now::<TokioRuntime>();
        let says = |bytes: u64| storage.set_snapshot_room(Some(bytes));
        // Of unknown length: it is longer than what there was room for.
        says(41 * MIB);
        room.failed(&full(), &attempt(0, 40 * MIB, None, begun));
        assert_eq!(room.needed(0), None, "nothing has changed");
        says(47 * MIB);
        assert_eq!(room.needed(0), Some(41 * MIB + 41 * MIB / 8));
        says(100);
        room.failed(&full(), &attempt(0, 100, None, begun));
        says(200);
        assert_eq!(room.needed(0), None, "a small one would fit into what it leaves at once");
        // Of known length there must be room for all of it, whether there never was, or others took it; also
        // when all of it came, and the end of it was refused.
        for (received, said, left) in [(10, 39, 39), (40, 39, 39), (10, 90, 20), (10, 39, 90)] {
            says(left * MIB);
            room.failed(&full(), &attempt(40 * MIB, received * MIB, Some(said * MIB), begun));
            says(40 * MIB - 1);
            assert_eq!(room.needed(40 * MIB), None);
            room.state().too_large.as_mut().expect("it did not fit").until = begun;
            assert_eq!(room.needed(40 * MIB), None, "it is asked, and not believed for a time");
            assert_eq!(room.needed(0), Some(0), "and where nobody knows for how much, tried");
            says(40 * MIB);
            assert_eq!(room.needed(40 * MIB), Some(40 * MIB));
            says(40 * MIB - 1);
            let later = begun + BELIEVED_AT_MOST;
            assert_eq!(
                room.needed_at(40 * MIB, later),
                Some(40 * MIB),
                "in the end it is tried all the same"
            );
        }
        storage.set_snapshot_room(None);
        assert_eq!(room.needed(40 * MIB), Some(40 * MIB), "one that says nothing any more is tried");
    }

    #[test]
    fn a_storage_that_has_no_room_and_says_that_it_has_is_left_alone_for_a_while() {
        const GIB: u64 = 1 << 30;
        let storage = MemoryStorage::new();
        let room = Room::<TokioRuntime>::new(Arc::new(storage.clone()));
        let begun = now::<TokioRuntime>();
        for (len, received, said) in [(1000, 1000, 1000), (9 * GIB, 8 * GIB, 15 * GIB), (0, GIB, 7 * GIB)] {
            storage.set_snapshot_room(Some(said));
            room.failed(&full(), &attempt(len, received, Some(said), begun));
            assert_eq!((room.needed(0), room.needed(1000)), (None, None), "{len} {received} {said}");
            room.state().too_large.as_mut().expect("it did not fit").until = begun;
            assert_eq!((room.needed(0), room.needed(1000)), (Some(0), Some(1000)), "and then tried again");
        }
    }

    #[test]
    fn one_that_was_begun_soon_after_another_did_not_fit_is_believed_for_longer_however_long_it_took() {
        let (room, begun) = (room(), now::<TokioRuntime>());
        let until = |room: &Room<TokioRuntime>| -> Now {
            room.state().too_large.as_ref().map(|it| it.until).expect("it did not fit")
        };
        room.failed(&no_room(), &attempt(1, 1, None, begun));
        let first = until(&room);
        room.failed(&no_room(), &attempt(1, 1, None, first + BELIEVED * 2));
        assert!(until(&room) < first + BELIEVED, "that one was begun long after");
        room.failed(&no_room(), &attempt(1, 1, None, begun));
        assert!(until(&room) >= first + BELIEVED);
    }
}
