//! Snapshots for which the storage has no room. On a clock that the test winds on.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut, Bytes};
use futures::{SinkExt, StreamExt};

use super::receive::ReceiveError;
use super::rig::{self, Rig};
use super::types::from_log_id;
use super::wire::{self, SnapshotBegin};
use crate::error::StorageError;
use crate::format::frame::{self, Kind};
use crate::host::Session;
use crate::storage::{
    Flushed, GroupState, Identity, MemoryStorage, SnapshotWriter, Storage, StoredSnapshot, Write,
};
use crate::types::{GroupId, LogId, LogIndex, NodeId};

/// How long the snapshot is.
const LEN: u64 = 1 << 20;

/// A storage that has no room for any snapshot, and says that it has much. What is written takes all of
/// it until its writer is gone.
struct Full {
    inner: MemoryStorage,
    begun: AtomicUsize,
    writing: Arc<()>,
}

struct FullWriter {
    _writing: Arc<()>,
}

#[async_trait]
impl SnapshotWriter for FullWriter {
    async fn write(&mut self, _: Bytes) -> Result<(), StorageError> {
        Err(StorageError::Full { doing: "write" })
    }
    async fn commit(self: Box<Self>, _: LogId) -> Result<(), StorageError> {
        unreachable!("nothing was written")
    }
}

#[async_trait]
impl Storage for Full {
    async fn identity(&self) -> Result<Option<Identity>, StorageError> {
        self.inner.identity().await
    }
    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError> {
        self.inner.set_identity_once(identity).await
    }
    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        self.inner.open(group).await
    }
    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        self.inner.write(group, write, flushed);
    }
    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        self.inner.read(group, range, max_bytes).await
    }
    async fn snapshot_writer(&self, _: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(FullWriter { _writing: self.writing.clone() }))
    }
    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        self.inner.snapshot(group).await
    }
    fn snapshot_room(&self) -> Option<u64> {
        let is_written = Arc::strong_count(&self.writing) > 1;
        Some(if is_written { 0 } else { 1000 * LEN })
    }
}

/// Sends the beginning of a snapshot, and closes once it is answered.
async fn send(rig: &Rig) -> Result<(), ReceiveError> {
    let (mut ours, theirs, _endpoints) = rig::stream(rig).await;
    let covers = from_log_id(LogId::new(5, 9));
    let begin = SnapshotBegin { vote: rig::vote(2, true), covers, len: LEN, fingerprint: None };
    let first = wire::snapshot_begin(GroupId::MAIN, &begin).slice(frame::HEADER_BYTES..);
    let sending = async {
        let mut out = frame::begin(Kind::SnapshotChunk, GroupId::MAIN, 4);
        out.put_slice(b"QSNP");
        ours.tx.send(out.freeze()).await.expect("open");
        while ours.rx.next().await.is_some_and(|frame| frame.is_ok()) {}
        ours.tx.close().await.expect("open");
    };
    let receiving = rig.group.clone().receive_snapshot(NodeId(2), first, Session { stream: theirs });
    futures::join!(receiving, sending).0
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_found_no_room_is_judged_once_it_has_given_back_what_it_took() {
    let mut full = None;
    let over = |inner| {
        let over = Arc::new(Full { inner, begun: AtomicUsize::new(0), writing: Arc::default() });
        full = Some(over.clone());
        over as Arc<dyn Storage>
    };
    let rig = rig::start_over(2, over).await;
    let full = full.expect("it was started");
    let begun = || full.begun.load(Ordering::Relaxed);
    let result = send(&rig).await;
    assert!(matches!(result, Err(ReceiveError::Storage(StorageError::Full { .. }))), "{result:?}");
    // What it says is as much as before, so nobody can tell when it has room.
    let result = send(&rig).await;
    assert!(matches!(result, Err(ReceiveError::NoRoom)), "{result:?}");
    assert_eq!(begun(), 1, "no other is begun at once");
    tokio::time::advance(Duration::from_mins(1)).await;
    let result = send(&rig).await;
    assert!(matches!(result, Err(ReceiveError::Storage(StorageError::Full { .. }))), "{result:?}");
    assert_eq!(begun(), 2, "but after a while");
}
