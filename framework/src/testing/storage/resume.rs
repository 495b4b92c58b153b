//! Cases about snapshots that break off on their way, and go on where they were.
//!
//! A storage that does not keep what has arrived holds nothing each time, and passes.

use std::ops::Range;

use bytes::Bytes;

use super::points::MOST_POINTS;
use super::store::{G, Store};
use super::{CrashHarness, StorageHarness, run};
use crate::error::StorageError;
use crate::storage::{ResumedSnapshot, SnapshotId, SnapshotWriter, Storage};
use crate::testing::Seeded;
use crate::testing::run::doing;
use crate::types::{GroupId, LogId};

const COVERS: LogId = LogId::new(3, 40);
const LEN: usize = 50_000;

/// A snapshot that another node sends.
struct Sent {
    group: GroupId,
    id: SnapshotId,
    bytes: Bytes,
}

impl Sent {
    fn drawn(rng: &mut Seeded, group: GroupId) -> Self {
        let bytes = rng.bytes(LEN as u64..LEN as u64 + 1);
        let fingerprint = crc32c::crc32c(&bytes);
        Self { group, id: SnapshotId { covers: COVERS, len: LEN as u64, fingerprint }, bytes }
    }

    /// Goes on with it, and says how much is held. What is held are its first bytes.
    async fn try_resume<H: StorageHarness>(
        &self,
        store: &Store<H>,
        when: &str,
    ) -> Result<(Box<dyn SnapshotWriter>, usize), StorageError> {
        doing(format!("{when}: go on with a snapshot of {}", self.group));
        let ResumedSnapshot { writer, mut held } =
            store.storage.resume_snapshot(self.group, &self.id).await?;
        let mut found = Vec::new();
        while let Some(chunk) = held.next().await? {
            assert!(!chunk.is_empty(), "{when}: a reader returned a chunk without bytes before the end");
            found.extend_from_slice(&chunk);
        }
        assert!(
            self.bytes.starts_with(&found),
            "{when}: {} bytes are held, and they are not the first ones of what was written under this id",
            found.len()
        );
        Ok((writer, found.len()))
    }

    async fn resume<H: StorageHarness>(
        &self,
        store: &Store<H>,
        when: &str,
    ) -> (Box<dyn SnapshotWriter>, usize) {
        let resumed = self.try_resume(store, when).await;
        resumed.unwrap_or_else(|error| panic!("{when}: a snapshot cannot be gone on with: {error:?}"))
    }

    async fn put(&self, writer: &mut dyn SnapshotWriter, range: Range<usize>) -> Result<(), StorageError> {
        for chunk in self.bytes[range].chunks(3000) {
            writer.write(Bytes::copy_from_slice(chunk)).await?;
        }
        Ok(())
    }

    /// Writes up to `end` and breaks off.
    async fn break_off<H: StorageHarness>(&self, store: &Store<H>, end: usize, when: &str) {
        let (mut writer, held) = self.resume(store, when).await;
        self.put(writer.as_mut(), held..end.max(held)).await.expect("a chunk is written");
    }

    /// Writes the rest and commits it.
    async fn finish<H: StorageHarness>(&self, store: &Store<H>, when: &str) {
        let (mut writer, held) = self.resume(store, when).await;
        self.put(writer.as_mut(), held..LEN).await.expect("a chunk is written");
        writer.commit(self.id.covers).await.expect("the snapshot is committed");
        self.assert_whole(store, when).await;
    }

    async fn assert_whole<H: StorageHarness>(&self, store: &Store<H>, when: &str) {
        let found = store.read_snapshot(self.group).await;
        let (covers, bytes) = found.unwrap_or_else(|| panic!("{when}: there is no snapshot"));
        assert_eq!(covers, self.id.covers, "{when}: what the snapshot covers");
        assert!(bytes == self.bytes, "{when}: {} bytes, and not the {LEN} that were sent", bytes.len());
    }
}

/// However often a transfer breaks off, what is held are the first bytes of what was written, no fewer
/// than were held before, and the snapshot comes out whole.
pub fn resumed_snapshot_goes_on_with_a_prefix<H: StorageHarness>() {
    run::<H, _>("resumed_snapshot_goes_on_with_a_prefix", || async {
        let mut rng = Seeded::announced();
        let mut store = Store::<H>::with_group().await;
        let sent = Sent::drawn(&mut rng, G);
        let mut before = 0;
        for round in 0..12 {
            let when = format!("transfer {round}");
            let (mut writer, held) = sent.resume(&store, &when).await;
            assert!(held >= before, "{when}: {held} bytes are held, and {before} were before");
            let end = held + (rng.draw(0..10_000) as usize).min(LEN - held);
            sent.put(writer.as_mut(), held..end).await.expect("a chunk is written");
            drop(writer);
            before = held;
            if rng.one_in(2) {
                store = store.reopen().await;
                store.open(G).await;
            }
        }
        sent.finish(&store, "at last").await;
        let store = store.reopen().await;
        store.open(G).await;
        sent.assert_whole(&store, "after a reopen").await;
    });
}

/// Until its commit a snapshot that goes on does not show, and the older one does.
pub fn resumed_snapshot_is_invisible_before_commit<H: StorageHarness>() {
    run::<H, _>("resumed_snapshot_is_invisible_before_commit", || async {
        let mut store = Store::<H>::with_group().await;
        let old = Some((LogId::new(1, 1), Bytes::from("old")));
        store.write_snapshot(G, LogId::new(1, 1), &["old".into()]).await;
        let sent = Sent::drawn(&mut Seeded::announced(), G);
        for end in [10_000, 30_000, LEN] {
            let (mut writer, held) = sent.resume(&store, "a transfer").await;
            sent.put(writer.as_mut(), held..end).await.expect("a chunk is written");
            assert_eq!(store.read_snapshot(G).await, old, "while it is written");
            drop(writer);
            assert_eq!(store.read_snapshot(G).await, old, "after it broke off");
            store = store.reopen().await;
            store.open(G).await;
            assert_eq!(store.read_snapshot(G).await, old, "after a reopen");
        }
        sent.finish(&store, "at last").await;
    });
}

/// After a discard nothing is held, then and after a restart.
pub fn resumed_snapshot_discarded_leaves_nothing<H: StorageHarness>() {
    run::<H, _>("resumed_snapshot_discarded_leaves_nothing", || async {
        let mut store = Store::<H>::with_group().await;
        let sent = Sent::drawn(&mut Seeded::announced(), G);
        for reopens in [false, true] {
            sent.break_off(&store, 20_000, "a transfer").await;
            let (mut writer, held) = sent.resume(&store, "another one").await;
            sent.put(writer.as_mut(), held..held + 5000).await.expect("a chunk is written");
            writer.discard().await;
            if reopens {
                store = store.reopen().await;
                store.open(G).await;
            }
            let (_, held) = sent.resume(&store, "after a discard").await;
            assert_eq!(held, 0, "bytes held after a discard");
        }
        sent.finish(&store, "at last").await;
    });
}

/// A snapshot with another id begins with nothing, whatever the ids have in common, and what was held
/// under the first id is gone.
pub fn resumed_snapshot_of_another_id_begins_anew<H: StorageHarness>() {
    run::<H, _>("resumed_snapshot_of_another_id_begins_anew", || async {
        let mut rng = Seeded::announced();
        let mut store = Store::<H>::with_group().await;
        let sent = Sent::drawn(&mut rng, G);
        let SnapshotId { covers, len, fingerprint } = sent.id;
        let others = [
            ("that covers more", SnapshotId { covers: LogId::new(3, 41), ..sent.id }),
            ("of a later term", SnapshotId { covers: LogId::new(4, 40), ..sent.id }),
            ("that is longer", SnapshotId { len: len + 1, ..sent.id }),
            ("of other bytes", SnapshotId { covers, len, fingerprint: !fingerprint }),
        ];
        for (what, id) in others {
            sent.break_off(&store, 20_000, "the first one").await;
            let other = Sent { id, ..Sent::drawn(&mut rng, G) };
            if rng.one_in(2) {
                store = store.reopen().await;
                store.open(G).await;
            }
            let (_, held) = other.resume(&store, what).await;
            assert_eq!(held, 0, "bytes held of one {what}");
            let (_, held) = sent.resume(&store, "the first one again").await;
            assert_eq!(held, 0, "bytes held under the first id, after one {what}");
        }
        sent.finish(&store, "at last").await;
    });
}

/// A writer whose stream is dead, and that nobody has told so, does not get into what the next one
/// writes, whether it goes on writing, commits or is dropped.
pub fn resumed_snapshot_is_not_disturbed_by_an_earlier_writer<H: StorageHarness>() {
    run::<H, _>("resumed_snapshot_is_not_disturbed_by_an_earlier_writer", || async {
        let mut rng = Seeded::announced();
        for late in ["writes on", "commits", "is dropped", "is discarded"] {
            let store = Store::<H>::with_group().await;
            let sent = Sent::drawn(&mut rng, G);
            let when = format!("the earlier writer {late}");
            let (mut earlier, _) = sent.resume(&store, &when).await;
            sent.put(earlier.as_mut(), 0..30_000).await.expect("a chunk is written");
            let (mut writer, held) = sent.resume(&store, &when).await;
            let middle = held + (LEN - held) / 2;
            sent.put(writer.as_mut(), held..middle).await.expect("a chunk is written");
            // Whether they are refused or do nothing is left to the storage.
            match late {
                "commits" => {
                    if sent.put(earlier.as_mut(), 30_000..LEN).await.is_ok() {
                        drop(earlier.commit(COVERS).await);
                    }
                }
                "is dropped" => drop(earlier),
                "is discarded" => earlier.discard().await,
                _ => drop(sent.put(earlier.as_mut(), 30_000..LEN).await),
            }
            sent.put(writer.as_mut(), middle..LEN).await.expect("a chunk is written");
            writer.commit(COVERS).await.expect("the snapshot is committed");
            sent.assert_whole(&store, &when).await;
            let store = store.reopen().await;
            store.open(G).await;
            sent.assert_whole(&store, &format!("{when}, after a reopen")).await;
        }
    });
}

/// One that covers less than the current snapshot never replaces it; its commit succeeds and changes
/// nothing.
pub fn resumed_snapshot_never_replaces_a_newer<H: StorageHarness>() {
    run::<H, _>("resumed_snapshot_never_replaces_a_newer", || async {
        let store = Store::<H>::with_group().await;
        let sent = Sent::drawn(&mut Seeded::announced(), G);
        sent.break_off(&store, 20_000, "a transfer").await;
        let newer = LogId::new(3, 41);
        store.write_snapshot(G, newer, &["newer".into()]).await;
        let (mut writer, held) = sent.resume(&store, "after a newer one").await;
        sent.put(writer.as_mut(), held..LEN).await.expect("a chunk is written");
        writer.commit(COVERS).await.expect("succeeds without an effect");
        assert_eq!(store.read_snapshot(G).await, Some((newer, "newer".into())), "the snapshot");
        let store = store.reopen().await;
        store.open(G).await;
        assert_eq!(store.read_snapshot(G).await, Some((newer, "newer".into())), "after a reopen");
    });
}

/// What is held of one group's snapshot is none of another's, under the same id.
pub fn resumed_snapshots_of_groups_do_not_mix<H: StorageHarness>() {
    run::<H, _>("resumed_snapshots_of_groups_do_not_mix", || async {
        let mut rng = Seeded::announced();
        let store = Store::<H>::fresh().await;
        let one = Sent::drawn(&mut rng, G);
        let other = Sent { id: one.id, ..Sent::drawn(&mut rng, GroupId(u64::MAX)) };
        for sent in [&one, &other] {
            store.open(sent.group).await;
        }
        one.break_off(&store, 20_000, "one group").await;
        other.break_off(&store, 30_000, "the other group").await;
        let (writer, _) = other.resume(&store, "the other group again").await;
        writer.discard().await;
        one.break_off(&store, 25_000, "one group again").await;
        let (_, held) = other.resume(&store, "the other group after its discard").await;
        assert_eq!(held, 0, "bytes held after a discard");
        one.finish(&store, "one group at last").await;
        assert_eq!(store.read_snapshot(other.group).await, None, "the snapshot of the other group");
        other.finish(&store, "the other group at last").await;
        one.assert_whole(&store, "one group beside the other").await;
    });
}

/// What is held of a snapshot is room for the rest of it, whether it broke off or is still being written: a
/// storage that says how much there is never says less than is held, or than the whole snapshot then takes.
///
/// In places with much more room than a snapshot takes it shows nothing of a storage that leaves out what
/// is held: that says enough in any case.
pub fn room_for_a_snapshot_includes_what_is_held_of_it<H: StorageHarness>() {
    run::<H, _>("room_for_a_snapshot_includes_what_is_held_of_it", || async {
        let mut store = Store::<H>::with_group().await;
        let sent = Sent::drawn(&mut Seeded::announced(), G);
        for (end, when) in [(20_000, "at first"), (30_000, "once it broke off"), (LEN, "after a reopen")] {
            let said = store.storage.snapshot_room();
            let (mut writer, held) = sent.resume(&store, when).await;
            let took = end.max(held);
            sent.put(writer.as_mut(), held..took).await.expect("a chunk is written");
            // Another writer would go on with it.
            let meanwhile = store.storage.snapshot_room();
            assert!(
                meanwhile.is_none_or(|meanwhile| meanwhile >= took as u64),
                "{when}, while it is written: room for {meanwhile:?} bytes, and {took} are there"
            );
            if end == LEN {
                writer.commit(COVERS).await.expect("the snapshot is committed");
            } else {
                drop(writer);
            }
            assert!(
                said.is_none_or(|said| said >= took as u64),
                "{when}: room for {said:?} bytes, {held} were held, and {took} are there"
            );
            if end == 30_000 {
                store = store.reopen().await;
                store.open(G).await;
            }
        }
        sent.assert_whole(&store, "at last").await;
    });
}

/// Where snapshots have fingerprints, those of other bytes differ, also when as many end in their own
/// checksum and differ in one bit alone; the same snapshot has the same one again.
pub fn snapshots_have_fingerprints_of_their_own<H: StorageHarness>() {
    run::<H, _>("snapshots_have_fingerprints_of_their_own", || async {
        let mut rng = Seeded::announced();
        let mut store = Store::<H>::with_group().await;
        let mut content = rng.bytes(LEN as u64..LEN as u64 + 1).to_vec();
        let mut seen: Vec<u32> = Vec::new();
        for index in 1..10 {
            let place = rng.draw(0..LEN as u64) as usize;
            content[place] ^= 1 << rng.draw(0..8);
            // As the framework's snapshots end: all of them have the same checksum.
            let whole = [&content[..], &crc32c::crc32c(&content).to_le_bytes()].concat();
            store.write_snapshot(G, LogId::new(1, index), &[whole.into()]).await;
            let Some(fingerprint) = fingerprint(&store).await else { return };
            assert!(
                !seen.contains(&fingerprint),
                "snapshots of other bytes have the fingerprint {fingerprint:08x}"
            );
            seen.push(fingerprint);
            store = store.reopen().await;
            store.open(G).await;
            assert_eq!(self::fingerprint(&store).await, Some(fingerprint), "the same one, after a reopen");
        }
    });
}

async fn fingerprint<H: StorageHarness>(store: &Store<H>) -> Option<u32> {
    let stored = store.storage.snapshot(G).await.expect("the snapshot opens");
    stored.expect("it was committed").reader.fingerprint()
}

/// What was held once is held after a power cut, at any point of a transfer that breaks off and goes on:
/// a prefix of what was written, or the whole snapshot once its commit has returned.
pub fn resumed_snapshot_survives_crash<H: CrashHarness>() {
    run::<H, _>("resumed_snapshot_survives_crash", || async {
        let mut rng = Seeded::announced();
        let mut store = Store::<H>::with_group().await;
        let sent = Sent::drawn(&mut rng, G);
        let mut before = 0;
        for round in 0..8 {
            let when = format!("transfer {round}, after a crash");
            let (mut writer, held) = sent.resume(&store, &when).await;
            assert!(held >= before, "{when}: {held} bytes are held, and {before} were before");
            before = held;
            let end = held + (rng.draw(1..10_000) as usize).min(LEN - held);
            sent.put(writer.as_mut(), held..end).await.expect("a chunk is written");
            if round % 2 == 0 {
                drop(writer);
                before = sent.resume(&store, &when).await.1;
            }
            store = store.crash().await;
            store.open(G).await;
            assert_eq!(store.read_snapshot(G).await, None, "{when}: a snapshot that was not committed");
        }
        sent.finish(&store, "after the last crash").await;
        for points in 0..MOST_POINTS {
            let store = Store::<H>::with_group().await;
            if !H::cut_power_after(&store.place, points) {
                return;
            }
            let when = format!("a transfer cut off after {points} write points");
            let mut told = 0;
            let transfer = async {
                for end in [20_000, 40_000, LEN] {
                    let (mut writer, held) = sent.try_resume(&store, &when).await?;
                    told = held;
                    sent.put(writer.as_mut(), held..end).await?;
                    if end == LEN {
                        writer.commit(COVERS).await?;
                    }
                }
                Ok::<_, StorageError>(())
            };
            let committed = transfer.await.is_ok();
            let store = store.crash().await;
            store.open(G).await;
            if committed || store.read_snapshot(G).await.is_some() {
                sent.assert_whole(&store, &when).await;
            } else {
                let (_, held) = sent.resume(&store, &when).await;
                assert!(held >= told, "{when}: {held} bytes are held, and {told} were before");
                sent.finish(&store, &when).await;
            }
            if committed {
                return;
            }
        }
        panic!("no commit ever succeeded: does `cut_power_after` count down what it is given?");
    });
}
