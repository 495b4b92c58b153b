//! A machine whose file is on the disk of the log.

use quorate::error::{NotApplied, WriteError};
use quorate::node::config::ConfigBuilder;
use quorate::storage::Health;
use quorate_redb::{Builder, MachineBuilder, RedbStorage};

use crate::common::*;
use crate::disk::Disk;
use crate::rig::*;

/// The marks are far apart: long before the storage is short of room the machine is.
fn on(disk: &Disk) -> (MachineBuilder, Builder) {
    let machine = Machine::builder("/n1/totals.redb").hooks(disk.hooks()).low_water_bytes(16 * MIB);
    let storage = RedbStorage::builder("/n1").hooks(disk.hooks());
    let storage = storage.preallocate_bytes(256 << 10).ballast_bytes(MIB).low_water_bytes(2 * MIB);
    (machine, storage)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_short_of_room_gets_what_the_log_can_spare_and_goes_on_by_itself() {
    let mut rig = Rig::new("one disk", 1);
    // Its log is compacted only when space is short.
    let config = ConfigBuilder::from(rig.config.clone()).snapshot_log_bytes(1 << 30);
    rig.config = config.build().expect("a good configuration");
    let disk = Disk::default();
    disk.set_capacity(40 * MIB);
    let (machine, storage) = on(&disk);
    let running = rig.start_with(1, machine, storage).await.expect("it starts");
    let client = running.node.client().with_timeout(LIMIT);
    // What is not there is not removed: the tables stay as they are, and the log would need 100 MiB.
    let (mut taken, mut refused) = (0, 0);
    while taken < 1600 {
        match client.remove("long".repeat(16 << 10)).await {
            Ok(_) => taken += 1,
            Err(error) => {
                assert!(matches!(error, WriteError::NotApplied(NotApplied::DiskFull)), "{error}");
                refused += 1;
                running.until("it makes room", |status| status.health == Health::Ok).await;
            }
        }
    }
    assert!(refused > 0, "it was never short of room");
    running.node.shutdown().await.expect("in good order");
}
