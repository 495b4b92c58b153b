//! A node that was away for so long that it is sent the tables.

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::future;
use quorate::error::{RestoreError, StartError};
use quorate::node::status::Status;
use quorate::storage::{Health, Storage};
use quorate::types::{GroupId, LogId};
use quorate_redb::{Builder, MachineBuilder, RedbStorage};

use crate::common::*;
use crate::disk::Disk;
use crate::rig::*;

/// The tables of the others: about so much.
const TABLES: u64 = 6 * MIB;
/// By so many commands, each of which stores its name twice.
const ADDS: u64 = TABLES >> 17;
const FILE: &str = "/n3/totals.redb";
/// Where a snapshot arrives.
const PARTS: &str = "/n3/snap";

/// Of node 3, which has a disk of its own for its machine.
fn machine(disk: &Disk, low_water: u64) -> MachineBuilder {
    Machine::builder(FILE).hooks(disk.hooks()).low_water_bytes(low_water)
}

/// Of node 3, on the disk of its machine.
fn storage(disk: &Disk) -> Builder {
    let storage = RedbStorage::builder("/n3").hooks(disk.hooks());
    storage.preallocate_bytes(256 << 10).ballast_bytes(256 << 10).low_water_bytes(MIB)
}

/// A cluster whose node 3 has stopped, and whose others have purged what it lacks.
async fn without_the_third(name: &'static str, disk: &Disk) -> (Rig, Vec<Running>) {
    let rig = Rig::new(name, 3);
    let nodes = away(&rig, machine(disk, 0), storage(disk)).await;
    (rig, nodes)
}

/// Stops node 3, and lets the others purge what it lacks.
async fn away(rig: &Rig, machine: MachineBuilder, storage: Builder) -> Vec<Running> {
    let third = rig.start_with(3, machine, storage);
    let (one, two, third) = futures::join!(rig.start(1), rig.start(2), third);
    let (mut nodes, third) = (vec![one, two], third.expect("the node starts"));
    nodes[0].add("first", 16).await;
    catches_up(&third).await;
    let lacks = third.node.status().get().last_log;
    third.node.shutdown().await.expect("in good order");
    for number in 0..ADDS {
        nodes[number as usize % 2].add(&format!("{number}"), 64 << 10).await;
    }
    for running in &mut nodes {
        // Its own shutdown may have added a few.
        let lacked = |status: &Status| status.purged.map(|it| it.index.get()) > lacks.map(|it| it.get() + 8);
        running.until("it purges its log", lacked).await;
    }
    nodes
}

/// Waits until it was asked so often whether there is room, as it is when a snapshot arrives.
async fn until_asked(running: &Running, disk: &Disk, times: u64) -> Status {
    let enough = disk.looks() + times;
    let mut status = running.node.status();
    let stopped = status.until(|status| status.stopped().is_some());
    let asked = disk.until(|disk| disk.looks() >= enough);
    within("it is asked whether there is room", future::select(pin!(asked), pin!(stopped))).await;
    running.node.status().get()
}

/// Waits until it looks for room as seldom as one who waits for some, for longer than the leader waits
/// before it sends again what was not taken.
async fn until_it_waits(running: &Running, disk: &Disk) -> Status {
    let seldom = async {
        let mut slow = 0;
        while slow < 8 {
            let begun = Instant::now();
            until_asked(running, disk, 1).await;
            slow += u32::from(begun.elapsed() > Duration::from_millis(500));
        }
    };
    within("it waits for room", seldom).await;
    running.node.status().get()
}

/// Waits until it has applied what was acknowledged. No status says how far that is: it is shown after
/// the answers are given.
async fn catches_up(running: &Running) {
    let client = running.node.client().with_timeout(LIMIT);
    client.commands().await.expect("it has caught up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_does_not_fit_is_put_off_until_it_does() {
    let disk = Disk::default();
    let (rig, _nodes) = without_the_third("no room", &disk).await;
    // It may arrive, and then there is no room for the new tables beside it.
    disk.set_capacity(disk.used() + TABLES + TABLES / 2);
    let before = disk.created_in(Path::new(PARTS));
    let late = rig.start_with(3, machine(&disk, 0), storage(&disk)).await.expect("it starts");
    let status = until_it_waits(&late, &disk).await;
    assert_eq!(status.stopped(), None);
    assert_eq!(disk.created_in(Path::new(PARTS)), before + 1, "what did not fit is not sent again at once");
    assert_eq!(late.commands_here().await, 1, "what it had it has");
    assert!(!disk.exists(Path::new("/n3/totals.redb.tmp")));
    // Nor does it stop the next time.
    late.node.shutdown().await.expect("in good order");
    let late = rig.start_with(3, machine(&disk, 0), storage(&disk)).await.expect("it starts");
    assert_eq!(until_it_waits(&late, &disk).await.stopped(), None);
    disk.set_capacity(disk.used() + 8 * TABLES);
    catches_up(&late).await;
    assert_eq!(late.commands_here().await, 1 + ADDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_snapshot_is_taken_while_the_machine_is_short_of_room() {
    let disk = Disk::default();
    let (rig, _nodes) = without_the_third("short", &disk).await;
    disk.set_capacity(disk.used() + TABLES + TABLES / 2);
    let low = machine(&disk, 4 * TABLES);
    let late = rig.start_with(3, low, storage(&disk)).await.expect("it starts");
    late.until("it says so", |status| status.health == Health::Low).await;
    // It asks by itself, once a second; the leader is put off for five.
    let status = until_asked(&late, &disk, 12).await;
    assert_eq!((status.stopped(), status.health), (None, Health::Low));
    assert_eq!(disk.created_in(Path::new(PARTS)), 0, "none was begun");
    disk.set_capacity(disk.used() + 20 * TABLES);
    catches_up(&late).await;
    late.until("it has room again", |status| status.health == Health::Ok).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_snapshot_that_does_not_fit_says_what_is_needed_and_loses_nothing() {
    let disk = Disk::default();
    let (rig, _nodes) = without_the_third("no room to start", &disk).await;
    // Others take the room after it was looked at.
    disk.fail_writes_of(Some(Path::new("/n3/totals.redb.tmp")));
    let late = rig.start_with(3, machine(&disk, 0), storage(&disk)).await.expect("it starts");
    let status = late.until("it stops", |status| status.stopped().is_some()).await;
    assert!(status.stopped().is_some_and(|why| why.contains("no space")), "{status:?}");
    late.bury().await;
    disk.fail_writes_of(None);
    for _ in 0..2 {
        disk.set_capacity(disk.used() + MIB);
        let error = rig.start_with(3, machine(&disk, 0), storage(&disk)).await.err().expect("no room");
        let StartError::Restore(RestoreError::NoRoom { needed, available }) = error else {
            panic!("{error:?}");
        };
        assert!(needed >= TABLES && available < needed, "{needed} of {available}");
    }
    // Room that comes while a start waits for it is in time.
    let looks = disk.looks();
    let starting = rig.start_with(3, machine(&disk, 0), storage(&disk));
    let making_room = async {
        disk.until(|disk| disk.looks() >= looks + 2).await;
        disk.set_capacity(disk.used() + 8 * TABLES);
    };
    let both = async { futures::join!(starting, making_room).0 };
    let late = within("it starts", both).await.expect("there is room");
    catches_up(&late).await;
    assert_eq!(late.commands_here().await, 1 + ADDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_for_which_the_storage_had_no_room_is_not_sent_again_at_once() {
    let disk = Disk::default();
    let (rig, _nodes) = without_the_third("no room to arrive", &disk).await;
    disk.fail_writes_of(Some(Path::new(PARTS)));
    let begun = disk.created_in(Path::new(PARTS));
    let late = rig.start_with(3, machine(&disk, 0), storage(&disk)).await.expect("it starts");
    let parts = |count: u64| disk.until(move |disk| disk.created_in(Path::new(PARTS)) >= begun + count);
    within("one is sent", parts(1)).await;
    let again = tokio::time::timeout(Duration::from_secs(3), parts(2)).await;
    assert!(again.is_err(), "what did not fit is not sent again at once");
    assert_eq!(late.commands_here().await, 1, "what it had it has");
    late.node.shutdown().await.expect("in good order");
    disk.fail_writes_of(None);
    let late = rig.start_with(3, machine(&disk, 0), storage(&disk)).await.expect("it starts");
    catches_up(&late).await;
    assert_eq!(late.commands_here().await, 1 + ADDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_sent_again_once_the_storage_has_room_for_it() {
    let (disk, of_the_machine) = (Disk::default(), Disk::default());
    let rig = Rig::new("room to arrive", 3);
    let _nodes = away(&rig, machine(&of_the_machine, 0), storage(&disk)).await;
    disk.set_capacity(disk.used() + TABLES / 2);
    let begun = disk.created_in(Path::new(PARTS));
    let late = rig.start_with(3, machine(&of_the_machine, 0), storage(&disk)).await.expect("it starts");
    let failed = |disk: &Disk| disk.created_in(Path::new(PARTS)) > begun && in_parts(disk).is_empty();
    within("one is sent and does not fit", disk.until(failed)).await;
    disk.set_capacity(disk.used() + 8 * TABLES);
    catches_up(&late).await;
    assert_eq!(late.commands_here().await, 1 + ADDS);
}

/// The files that are there where a snapshot arrives.
fn in_parts(disk: &Disk) -> Vec<String> {
    quorate_redb::hooks::Files::list(disk, Path::new(PARTS)).expect("it is there")
}

fn stored_snapshots(disk: &Disk) -> Vec<String> {
    let whole = |name: &String| Path::new(name).extension().is_some_and(|kind| kind == "snap");
    in_parts(disk).into_iter().filter(whole).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_restored_is_not_kept_beside_the_tables() {
    let disk = Disk::default();
    let (rig, nodes) = without_the_third("kept once", &disk).await;
    let late = rig.start_with(3, machine(&disk, 0), storage(&disk)).await.expect("it starts");
    catches_up(&late).await;
    late.until("it has the snapshot", |status| status.snapshot.is_some()).await;
    assert_eq!(stored_snapshots(&disk), [""; 0]);
    // It is its own snapshot, for a restart as well.
    late.node.shutdown().await.expect("in good order");
    let file = storage(&disk).open().expect("nobody has it open");
    // As if the process had died before it was removed.
    let mut writer = file.snapshot_writer(GroupId::MAIN).await.expect("room");
    writer.write(vec![7; 100].into()).await.expect("room");
    writer.commit(LogId::new(1, 1)).await.expect("room");
    file.close().await;
    drop(file);
    assert_eq!(stored_snapshots(&disk).len(), 1);
    let late = rig.start_with(3, machine(&disk, 0), storage(&disk)).await.expect("it starts");
    assert_eq!(stored_snapshots(&disk), [""; 0]);
    nodes[0].add("after", 16).await;
    catches_up(&late).await;
    assert_eq!(late.commands_here().await, 2 + ADDS);
}
