//! What a store keeps of a snapshot that breaks off on its way, and how it can get that wrong.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{MemoryStorage, ResumedSnapshot, SnapshotId, SnapshotReader, SnapshotWriter, Storage};
use quorate::types::{GroupId, LogId};

use super::broken::lock;

/// How a store goes on with a snapshot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    Sound,
    /// Some bytes in the middle are not there.
    HoldsAHole,
    /// What was held once is gone the next time.
    Forgets,
    /// What has arrived is the current snapshot.
    ShowsEarly,
    /// A discard does nothing.
    KeepsWhatIsDiscarded,
    /// Other bytes that cover the same and are as many are taken for the same.
    IgnoresTheFingerprint,
    /// Whoever has a writer writes, and all of them to one place.
    LetsTheEarlierWrite,
    /// Its commit is not as any other.
    ReplacesANewer,
    /// One is kept for all groups.
    MixesGroups,
    /// What is held need not be flushed.
    TellsEarly,
    /// A power cut leaves something behind what was flushed, and it is taken for more.
    Tears,
}

/// What has arrived of a snapshot.
struct Part {
    id: SnapshotId,
    /// The writer that may write.
    owner: u64,
    bytes: Vec<u8>,
    flushed: usize,
}

#[derive(Default)]
struct Kept {
    parts: BTreeMap<GroupId, Part>,
    writers: u64,
    /// How many writers there are that are not gone.
    alive: u64,
}

/// What is kept of the snapshots of all groups. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Parts(Arc<Mutex<Kept>>);

impl Parts {
    /// Whether nothing is held of any snapshot.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).parts.values().all(|part| part.bytes.is_empty())
    }

    /// Whether any snapshot is being written.
    pub(crate) fn is_written(&self) -> bool {
        lock(&self.0).alive > 0
    }

    /// The power fails.
    pub(crate) fn lose_power(&self, how: Resume) {
        let mut kept = lock(&self.0);
        // The process is dead, and its writers with it.
        kept.writers += 1;
        let writers = kept.writers;
        for part in kept.parts.values_mut() {
            let torn = part.bytes.len() > part.flushed && how == Resume::Tears;
            part.bytes.truncate(part.flushed);
            part.owner = writers;
            if torn {
                part.bytes.extend([0; 512]);
                part.flushed += 512;
            }
        }
    }
}

/// Goes on with the snapshot `id`, or begins it.
pub(crate) fn resume(
    parts: &Parts,
    disk: &MemoryStorage,
    how: Resume,
    group: GroupId,
    id: &SnapshotId,
) -> ResumedSnapshot {
    let slot = if how == Resume::MixesGroups { GroupId(0) } else { group };
    let mut kept = lock(&parts.0);
    kept.writers += 1;
    kept.alive += 1;
    let owner = kept.writers;
    let same = |part: &Part| match how {
        Resume::IgnoresTheFingerprint => (part.id.covers, part.id.len) == (id.covers, id.len),
        _ => part.id == *id,
    };
    let mut part = kept.parts.remove(&slot).filter(same);
    let part = part.get_or_insert_with(|| Part { id: *id, owner, bytes: Vec::new(), flushed: 0 });
    let mut part = Part { id: *id, owner, bytes: std::mem::take(&mut part.bytes), flushed: part.flushed };
    match how {
        Resume::HoldsAHole if part.bytes.len() > 2000 => drop(part.bytes.drain(1000..1100)),
        Resume::Forgets if owner.is_multiple_of(2) => part.bytes.clear(),
        _ => {}
    }
    if how != Resume::TellsEarly {
        part.flushed = part.bytes.len();
    }
    let held = Held(Some(Bytes::copy_from_slice(&part.bytes)).filter(|bytes| !bytes.is_empty()));
    kept.parts.insert(slot, part);
    let writer = PartWriter { parts: parts.clone(), disk: disk.clone(), how, group, slot, owner };
    ResumedSnapshot { writer: Box::new(writer), held: Box::new(held) }
}

struct Held(Option<Bytes>);

#[async_trait]
impl SnapshotReader for Held {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        Ok(self.0.take())
    }
}

struct PartWriter {
    parts: Parts,
    disk: MemoryStorage,
    how: Resume,
    group: GroupId,
    slot: GroupId,
    owner: u64,
}

impl PartWriter {
    /// Calls `f` with the part, if it is this writer's.
    fn own<T>(&self, f: impl FnOnce(&mut Part) -> T) -> Result<T, StorageError> {
        let mut kept = lock(&self.parts.0);
        let part = kept.parts.get_mut(&self.slot);
        let part = part.filter(|part| part.owner == self.owner || self.how == Resume::LetsTheEarlierWrite);
        part.map(f).ok_or(StorageError::Closed)
    }
}

#[async_trait]
impl SnapshotWriter for PartWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        self.own(|part| part.bytes.extend_from_slice(&chunk))
    }

    async fn commit(self: Box<Self>, covers: LogId) -> Result<(), StorageError> {
        let bytes: Bytes = self.own(|part| part.bytes.clone())?.into();
        let current = self.disk.snapshot(self.group).await?.map(|current| current.covers);
        // The disk itself refuses to go back.
        let covers = if self.how == Resume::ReplacesANewer { current.unwrap_or(covers) } else { covers };
        let mut writer = self.disk.snapshot_writer(self.group).await?;
        writer.write(bytes).await?;
        writer.commit(covers).await?;
        lock(&self.parts.0).parts.remove(&self.slot);
        Ok(())
    }

    async fn discard(self: Box<Self>) {
        if self.how != Resume::KeepsWhatIsDiscarded && self.own(|_| ()).is_ok() {
            lock(&self.parts.0).parts.remove(&self.slot);
        }
    }
}

impl Drop for PartWriter {
    fn drop(&mut self) {
        lock(&self.parts.0).alive -= 1;
        let how = self.how;
        let bytes = self.own(|part| {
            if how != Resume::TellsEarly && how != Resume::Tears {
                part.flushed = part.bytes.len();
            }
            part.bytes.clone()
        });
        if let (Ok(bytes), Resume::ShowsEarly) = (bytes, how) {
            let shown = async {
                let mut early = self.disk.snapshot_writer(self.group).await?;
                early.write(bytes.into()).await?;
                early.commit(LogId::new(2, 2)).await
            };
            block_on(shown).expect("memory takes everything");
        }
    }
}

/// What a store tells snapshots from others by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fingerprint {
    OfAllBytes,
    /// A CRC-32C: that of bytes that end in their own is always the same.
    Checksum,
}

/// A reader that knows its bytes beforehand.
pub(crate) struct Fingerprinted {
    chunks: std::vec::IntoIter<Bytes>,
    fingerprint: u32,
}

impl Fingerprinted {
    pub(crate) async fn new(
        mut sound: Box<dyn SnapshotReader>,
        how: Fingerprint,
    ) -> Result<Self, StorageError> {
        let mut chunks = Vec::new();
        while let Some(chunk) = sound.next().await? {
            chunks.push(chunk);
        }
        let mut hasher = DefaultHasher::new();
        chunks.concat().hash(&mut hasher);
        let fingerprint = match how {
            Fingerprint::OfAllBytes => hasher.finish() as u32,
            Fingerprint::Checksum => crc32c(&chunks.concat()),
        };
        Ok(Self { chunks: chunks.into_iter(), fingerprint })
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[async_trait]
impl SnapshotReader for Fingerprinted {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        Ok(self.chunks.next())
    }

    fn fingerprint(&self) -> Option<u32> {
        Some(self.fingerprint)
    }
}
