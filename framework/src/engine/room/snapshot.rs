//! Whether a snapshot is taken, and what is remembered of one that found no room.

use std::sync::Arc;
use std::time::Duration;

use super::{LOOK_AGAIN, LOOKS, Room, Short};
use crate::engine::group::Group;
use crate::engine::receive::ReceiveError;
use crate::engine::runtime::{Runtime, now};
use crate::error::{RestoreError, StorageError};
use crate::storage::Health;

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

/// A snapshot for which there was no room.
pub(super) struct TooLarge<RT: Runtime> {
    /// How long it is, or for how much of it there was room.
    bytes: u64,
    lacked: Lacked,
    until: RT::Instant,
    believed: Duration,
}

/// A snapshot that was begun.
pub(in crate::engine) struct Attempt<RT: Runtime> {
    /// How long it is; 0 is not known.
    pub(in crate::engine) len: u64,
    /// How much of it came, what found no room included.
    pub(in crate::engine) received: u64,
    /// How much room for it the storage had said that there was.
    pub(in crate::engine) said: Option<u64>,
    /// When it was begun.
    pub(in crate::engine) begun: RT::Instant,
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

/// A snapshot is being installed, until it is dropped: no other is taken meanwhile, and what others gave
/// back for it they do not take again.
pub(in crate::engine) struct Installing<RT: Runtime> {
    room: Arc<Room<RT>>,
    _short: Option<Short<RT>>,
}

impl<RT: Runtime> Room<RT> {
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
    pub(in crate::engine) fn said(&self) -> Option<u64> {
        self.storage.snapshot_room()
    }

    /// Takes note of a snapshot that did not fit, once it has given back the room that it took.
    pub(in crate::engine) fn failed(&self, error: &ReceiveError, attempt: &Attempt<RT>) {
        let Attempt { len, received, said, begun } = *attempt;
        let (lacked, bytes) = match error {
            ReceiveError::Restore(RestoreError::NoRoom { .. }) => (Lacked::Machine, len.max(received)),
            ReceiveError::Storage(StorageError::Full { .. }) => {
                // What it took may come back late. The least of these is no less than there is again by then,
                // unless others give some back, and more than that is asked for: none is taken at once.
                let says = self.said().map(|says| says.saturating_add(received));
                let enough = if len > 0 { len } else { received.saturating_add(A_CHUNK) };
                let too_little = [says, said].into_iter().flatten().filter(|room| *room < enough).min();
                let bytes = if len > 0 { len } else { too_little.unwrap_or(received) };
                // One that had said that there was enough, and says so again, cannot tell when there is.
                (if too_little.is_some() { Lacked::Storage } else { Lacked::Unknown }, bytes)
            }
            _ => return,
        };
        let mut state = self.state();
        let again = state.too_large.as_ref().filter(|before| begun < before.until + before.believed);
        let believed = again.map_or(BELIEVED, |before| (before.believed * 2).min(BELIEVED_AT_MOST));
        let until = now::<RT>() + believed;
        state.too_large = Some(TooLarge { bytes: bytes.max(AT_LEAST), lacked, until, believed });
    }

    /// A snapshot is written from now on, as the how many-th; `None` while another is installed. What was
    /// there of it, and whoever else writes that, it may have taken over.
    pub(in crate::engine) fn begin(&self) -> Option<u64> {
        let mut state = self.state();
        if state.installing {
            return None;
        }
        state.begun += 1;
        Some(state.begun)
    }

    /// The snapshot that was begun as the `begun`-th is installed from now on; `None` while another is, or
    /// when one was begun after it.
    pub(in crate::engine) fn installing(
        self: &Arc<Self>,
        begun: u64,
        short: Option<Short<RT>>,
    ) -> Option<Installing<RT>> {
        let mut state = self.state();
        if state.installing || state.begun != begun {
            return None;
        }
        state.installing = true;
        Some(Installing { room: self.clone(), _short: short })
    }
}

impl<RT: Runtime> Installing<RT> {
    /// It is restored.
    pub(in crate::engine) fn done(self) {
        self.room.state().too_large = None;
    }
}

impl<RT: Runtime> Drop for Installing<RT> {
    fn drop(&mut self) {
        self.room.state().installing = false;
    }
}

impl<RT: Runtime> Group<RT> {
    /// Whether a snapshot of so many bytes is taken; 0 is not known. Answers after a while when there is
    /// no room, as the leader asks again at once.
    pub(in crate::engine) async fn admits(&self, bytes: u64) -> Result<Option<Short<RT>>, ReceiveError> {
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
        let first = room.begin().expect("none is installed");
        let second = room.begin().expect("none is installed");
        assert!(room.installing(first, None).is_none(), "what it wrote was taken over");
        let taken = room.installing(second, None);
        assert!(room.installing(second, None).is_none() && room.begin().is_none(), "one at a time");
        taken.expect("the last that was begun").done();
        let third = room.begin().expect("it is installed");
        assert!(room.installing(third, None).is_some());
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
        room.failed(&full(), &attempt(0, 40 * MIB, Some(41 * MIB), begun));
        assert_eq!(room.needed(0), None, "nothing has changed");
        says(47 * MIB);
        assert_eq!(room.needed(0), Some(41 * MIB + 41 * MIB / 8));
        room.failed(&full(), &attempt(0, 40 * MIB, Some(41 * MIB), begun));
        assert_eq!(room.needed(0), Some(41 * MIB + 41 * MIB / 8), "others gave back room meanwhile");
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
    fn room_that_a_snapshot_gives_back_late_lets_none_in_at_once() {
        const MIB: u64 = 1 << 20;
        let begun = now::<TokioRuntime>();
        // A quota that the storage does not see, and others that took some of the room.
        for (len, received, said, left) in [
            (40, 30, 90, 20),
            (40, 30, 39, 9),
            (0, 40, 60, 20),
            (0, 40, 41, 1),
            (0, 40, 41, 0),
            (0, 8, 11, 3),
        ] {
            let storage = MemoryStorage::new();
            let room = Room::<TokioRuntime>::new(Arc::new(storage.clone()));
            storage.set_snapshot_room(Some(left * MIB));
            room.failed(&full(), &attempt(len * MIB, received * MIB, Some(said * MIB), begun));
            for back in [left, left + received / 2, (left + received).min(said)] {
                storage.set_snapshot_room(Some(back * MIB));
                assert_eq!(room.needed(len * MIB), None, "{len} {received} {said} {left} {back}");
            }
        }
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
