//! Cases in which the power fails at every point there is.

use bytes::Bytes;
use futures::poll;

use super::expected::Expected;
use super::identity::IDENTITY;
use super::steps::{covers, filled};
use super::store::{G, Store, entries};
use super::{CrashHarness, run};
use crate::storage::{Storage, Write};
use crate::testing::run::doing;
use crate::types::{GroupId, LogId, LogIndex};

/// More operations than any storage needs for what is done here: the power that lasts longer is not
/// counted down.
pub(super) const MOST_POINTS: u64 = 100_000;

/// A part of the life that is cut short. Groups by their place.
enum Deed {
    Write(usize, Write),
    /// Waits for every receipt.
    Flush,
    Snapshot(usize, u64),
}

/// Every kind of write and of change to a snapshot, alone and together.
fn life() -> Vec<Deed> {
    use Deed::{Flush, Snapshot, Write as W};
    let append =
        |first, count| Write::Append { first: LogIndex(first), entries: entries("entry", first, count) };
    let large = Write::Append { first: LogIndex(6), entries: vec![filled("large ", 150_000)] };
    let purge = |upto: u64| Write::Purge { upto: LogIndex(upto), marker: format!("purged {upto}").into() };
    vec![
        W(0, Write::Vote("T1".into())),
        Flush,
        W(0, append(0, 3)),
        W(1, append(0, 2)),
        W(0, Write::Committed("c2".into())),
        Flush,
        W(0, append(3, 3)),
        W(0, Write::Truncate { from: LogIndex(4) }),
        W(0, Write::Vote("T2".into())),
        W(0, append(4, 2)),
        W(1, Write::Vote("T1".into())),
        Flush,
        Snapshot(0, 2),
        W(0, purge(2)),
        W(0, large),
        Flush,
        Snapshot(1, 1),
        Snapshot(0, 5),
        W(0, purge(5)),
        W(1, purge(40)),
        W(1, append(41, 1)),
        Flush,
        W(0, Write::Truncate { from: LogIndex(6) }),
        W(0, Write::Vote("T3".into())),
    ]
}

/// What must be found afterwards.
struct Lived {
    has_identity: bool,
    groups: [Expected; 2],
}

impl Lived {
    fn new() -> Self {
        Self { has_identity: false, groups: [G, GroupId(u64::MAX)].map(Expected::new) }
    }

    /// Does `deeds`, until the first that fails. Whether none did.
    async fn live<H: CrashHarness>(&mut self, store: &Store<H>, deeds: &[Deed]) -> bool {
        self.has_identity = store.storage.set_identity_once(&IDENTITY).await.is_ok();
        let mut alive = self.has_identity;
        for group in &self.groups {
            alive = alive && store.storage.open(group.id).await.is_ok();
        }
        for deed in deeds {
            alive = alive
                && match deed {
                    Deed::Write(group, write) => {
                        self.groups[*group].queue(store, write.clone());
                        true
                    }
                    Deed::Flush => self.all_flushed().await,
                    Deed::Snapshot(group, number) => {
                        let bytes = filled(&format!("snapshot {number} "), 5000);
                        self.groups[*group].snapshot(store, covers(*number), bytes).await.is_ok()
                    }
                };
        }
        alive
    }

    /// Waits for every receipt. Whether all were used with success.
    async fn all_flushed(&mut self) -> bool {
        let [one, other] = &mut self.groups;
        one.flushed().await.is_ok() & other.flushed().await.is_ok()
    }

    /// Says what is wrong with the storage after the power came back, and goes on with it.
    async fn check<H: CrashHarness>(mut self, place: H::Place) -> Result<(), String> {
        let error = |what: &'static str| move |error| format!("{what}: {error:?}");
        let store = Store::<H>::at(place).await.map_err(error("the storage does not open"))?;
        let found = store.storage.identity().await.map_err(error("the identity cannot be read"))?;
        if found != Some(IDENTITY) && (self.has_identity || found.is_some()) {
            return Err(format!("the identity is {found:?}, expected {IDENTITY:?}"));
        }
        store.storage.set_identity_once(&IDENTITY).await.map_err(error("the identity cannot be recorded"))?;
        for group in &mut self.groups {
            let known = group.known().await?;
            group.reopened(&store, known).await?;
        }
        for group in &mut self.groups {
            let first = group.now().end();
            group.queue(&store, Write::Append { first: LogIndex(first), entries: entries("more", first, 2) });
            group.flushed().await?;
        }
        let store = store.try_reopen().await.map_err(error("the storage does not open once more"))?;
        for group in &mut self.groups {
            group.reopened(&store, 0).await?;
        }
        Ok(())
    }
}

/// The power fails at every point of a life that has every kind of write in it: between any two
/// calls, and, where the harness can, between any two operations on the disk. What was acknowledged
/// is there, what was queued may be, in order and whole, and the storage goes on.
pub fn every_write_point_survives_a_power_cut<H: CrashHarness>() {
    run::<H, _>("every_write_point_survives_a_power_cut", || async {
        let deeds = life();
        for count in 0..=deeds.len() {
            let mut lived = Lived::new();
            let store = Store::<H>::blank().await;
            lived.live(&store, &deeds[..count]).await;
            let Store { mut place, storage } = store;
            H::crash(&mut place, Some(storage)).await;
            let checked = lived.check::<H>(place).await;
            checked.unwrap_or_else(|wrong| panic!("with the power cut after {count} calls: {wrong}"));
        }
        for points in 0..MOST_POINTS {
            let mut place = H::place();
            if !H::cut_power_after(&place, points) {
                return;
            }
            let mut lived = Lived::new();
            let mut to_the_end = false;
            let storage = match H::open(&place).await {
                Err(_) => None,
                Ok(storage) => {
                    let store = Store::<H> { place, storage };
                    to_the_end = lived.live(&store, &deeds).await && lived.all_flushed().await;
                    doing(format!("close, with power for {points} operations"));
                    store.storage.close().await;
                    place = store.place;
                    Some(store.storage)
                }
            };
            H::crash(&mut place, storage).await;
            let checked = lived.check::<H>(place).await;
            checked.unwrap_or_else(|wrong| panic!("with the power cut after {points} write points: {wrong}"));
            if to_the_end {
                return;
            }
        }
        panic!("the power never lasted to the end: does `cut_power_after` count down what it is given?");
    });
}

const OLD: LogId = LogId::new(1, 5);
const NEW: LogId = LogId::new(2, 9);

/// A power cut at any point of a commit leaves the old snapshot or the new one, whole; once the
/// commit has returned it is the new one.
pub fn snapshot_commit_is_atomic<H: CrashHarness>() {
    run::<H, _>("snapshot_commit_is_atomic", || async {
        let (old, new) = (filled("old ", 9000), filled("new ", 70_000));
        let assert_whole = async |mut place: H::Place, storage, committed: bool, when: String| {
            H::crash(&mut place, Some(storage)).await;
            let store = Store::<H>::at(place).await.expect("the storage opens after a power cut");
            store.open(G).await;
            let found = store.read_snapshot(G).await;
            let (covers, bytes) =
                found.unwrap_or_else(|| panic!("{when}: neither the old nor the new snapshot is there"));
            let expected = if covers == OLD && !committed { (OLD, &old) } else { (NEW, &new) };
            assert_eq!(covers, expected.0, "{when}: what the snapshot covers");
            assert!(
                bytes == *expected.1,
                "{when}: the snapshot that covers {covers} is not whole: {} bytes, expected {}",
                bytes.len(),
                expected.1.len()
            );
        };
        for polls in 0..6 {
            let store = Store::<H>::with_group().await;
            store.write_snapshot(G, OLD, std::slice::from_ref(&old)).await;
            let mut writer = store.storage.snapshot_writer(G).await.expect("a snapshot begins");
            for chunk in new.chunks(10_000) {
                writer.write(Bytes::copy_from_slice(chunk)).await.expect("a chunk is written");
            }
            let mut commit = writer.commit(NEW);
            let mut committed = false;
            for _ in 0..polls {
                if let std::task::Poll::Ready(result) = poll!(&mut commit) {
                    result.expect("the snapshot is committed");
                    committed = true;
                    break;
                }
            }
            let Store { place, storage } = store;
            assert_whole(place, storage, committed, format!("a commit cut off after {polls} polls")).await;
        }
        for points in 0..MOST_POINTS {
            let store = Store::<H>::with_group().await;
            store.write_snapshot(G, OLD, std::slice::from_ref(&old)).await;
            if !H::cut_power_after(&store.place, points) {
                return;
            }
            let committed = async {
                let mut writer = store.storage.snapshot_writer(G).await?;
                for chunk in new.chunks(10_000) {
                    writer.write(Bytes::copy_from_slice(chunk)).await?;
                }
                writer.commit(NEW).await
            };
            let committed = committed.await.is_ok();
            let Store { place, storage } = store;
            assert_whole(place, storage, committed, format!("a commit cut off after {points} write points"))
                .await;
            if committed {
                return;
            }
        }
        panic!("no commit ever succeeded: does `cut_power_after` count down what it is given?");
    });
}
