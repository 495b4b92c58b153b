//! The framework's kit: on real files, and on a disk whose power is cut.

#[allow(dead_code, reason = "the kit needs less of the disk than the plugin's own tests")]
#[path = "storage/disk.rs"]
mod disk;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use quorate::error::StorageError;
use quorate::storage::{
    Flushed, GroupState, Health, Identity, SnapshotWriter, Storage, StoredSnapshot, Write,
};
use quorate::types::{ClusterId, DiskId, GroupId, LogIndex, NodeId};
use quorate::watch::Watcher;
use quorate_redb::RedbStorage;

/// Records an identity before the first use of a group, as every node does. The kit does not, and
/// a directory with a log and without an identity is refused when it is opened again.
struct OfANode(RedbStorage);

#[async_trait]
impl Storage for OfANode {
    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        if self.0.identity().await?.is_none() {
            let identity =
                Identity { cluster_id: ClusterId([1; 32]), node_id: NodeId(1), disk_id: DiskId([1; 16]) };
            self.0.set_identity_once(&identity).await?;
        }
        self.0.open(group).await
    }
    async fn identity(&self) -> Result<Option<Identity>, StorageError> {
        self.0.identity().await
    }
    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError> {
        self.0.set_identity_once(identity).await
    }
    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        self.0.write(group, write, flushed);
    }
    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        self.0.read(group, range, max_bytes).await
    }
    async fn snapshot_writer(&self, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        self.0.snapshot_writer(group).await
    }
    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        self.0.snapshot(group).await
    }
    fn health(&self) -> Watcher<Health> {
        self.0.health()
    }
    async fn close(&self) {
        self.0.close().await;
    }
}

mod on_files {
    use quorate::testing::storage::StorageHarness;
    use tempfile::TempDir;

    use super::*;

    struct OnFiles;

    impl StorageHarness for OnFiles {
        type Place = TempDir;
        type Storage = OfANode;

        fn place() -> TempDir {
            tempfile::tempdir().expect("a directory")
        }

        async fn open(place: &TempDir) -> Result<OfANode, StorageError> {
            RedbStorage::open(place.path()).map(OfANode)
        }
    }

    // The crash cases run below: real files keep what was written when a process dies.
    quorate::storage_conformance!(OnFiles);
}

mod on_a_disk_without_power {
    use quorate::testing::storage::{CrashHarness, StorageHarness};

    use super::*;
    use crate::disk::{Crash, Disk};

    struct OnADisk;

    #[derive(Default)]
    struct Place {
        disk: Disk,
        crashes: u64,
    }

    impl StorageHarness for OnADisk {
        type Place = Place;
        type Storage = OfANode;

        fn place() -> Place {
            Place::default()
        }

        async fn open(place: &Place) -> Result<OfANode, StorageError> {
            RedbStorage::builder("/n1").hooks(place.disk.hooks()).open().map(OfANode)
        }
    }

    impl CrashHarness for OnADisk {
        async fn crash(place: &mut Place, storage: OfANode) {
            // First the power: what the dead process still does reaches nothing.
            place.disk.cut_power_after(0);
            drop(storage);
            place.disk.crash(Crash::Tear(place.crashes));
            place.crashes += 1;
        }
    }

    quorate::storage_conformance!(OnADisk, crash);
}
