//! What a node does with a machine in tables.

use std::path::Path;
use std::sync::atomic::Ordering;

use quorate::error::{MachineError, NotApplied, StartError, WriteError};
use quorate::storage::Health;

use crate::common::*;
use crate::disk::{Crash, Disk};
use crate::rig::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_applies_nothing_again() {
    let rig = Rig::new("restarts", 3);
    let nodes = rig.start_all().await;
    for number in 0..60 {
        assert_eq!(nodes[number % 3].add("a", 16).await, number as u64 + 1);
    }
    settle(&nodes).await;
    for running in nodes {
        running.node.shutdown().await.expect("in good order");
    }
    let nodes = rig.start_all().await;
    assert_eq!(nodes[0].add("a", 16).await, 61);
    settle(&nodes).await;
    for running in &nodes {
        assert_eq!(running.applied.load(Ordering::Relaxed), 1, "of 61 the 60 before are in the file");
        assert_eq!(running.commands_here().await, 61);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_far_behind_gets_the_tables_and_all_survive_a_hard_stop() {
    let rig = Rig::new("snapshots", 3);
    let mut nodes = rig.start_all().await;
    nodes[0].add("first", 16).await;
    settle(&nodes).await;
    let behind = (leader_of(&nodes).await + 1) % 3;
    nodes.remove(behind).stop_hard().await;
    for number in 0..64 {
        nodes[number % 2].add("long", 4 << 10).await;
    }
    let purged =
        nodes.iter().map(|running| running.until("it purges its log", |status| status.purged.is_some()));
    // Each of the two purges by its own snapshots, and either may lead: what both have purged.
    let purged = futures::future::join_all(purged).await.into_iter().map(|status| status.purged).min();
    let late = rig.start(behind as u64 + 1).await;
    // Written while the tables are on their way.
    for number in 0..20 {
        nodes[number % 2].add("long", 4 << 10).await;
    }
    nodes.push(late);
    settle(&nodes).await;
    // What was purged cannot have come as entries. A read is answered from the tables before the status
    // tells of them.
    let purged = purged.expect("two nodes");
    nodes[2].until("it has the others' snapshot", |status| status.snapshot >= purged).await;
    assert!(nodes[2].applied.load(Ordering::Relaxed) < 84, "most of it came as tables");
    for running in &nodes {
        assert_eq!(running.commands_here().await, 85);
    }
    futures::future::join_all(nodes.into_iter().map(Running::stop_hard)).await;
    let nodes = rig.start_all().await;
    assert_eq!(nodes[0].add("long", 4 << 10).await, 85);
    settle(&nodes).await;
    for running in &nodes {
        assert_eq!(running.commands_here().await, 86);
        running.node.shutdown().await.expect("in good order");
    }
    let files: Vec<_> = (1..=3).map(|node| open_at(&rig.home(node))).collect();
    assert!(files.iter().all(|file| written(view(file)) == written(view(&files[0]))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_the_machines_disk_repeats_and_loses_nothing() {
    let rig = Rig::new("power", 1);
    let disk = Disk::default();
    let machine = || Machine::builder("/n1/totals.redb").hooks(disk.hooks());
    let mut acknowledged = 0;
    for round in 0..8_u64 {
        let running = rig.try_start(1, machine()).await.expect("it starts from what is left");
        let client = running.node.client().with_timeout(LIMIT);
        let found = client.commands().await.expect("a cluster of one");
        // The command that found no power is in the log all the same.
        let expected = if round == 0 { 0..=0 } else { acknowledged..=acknowledged + 1 };
        assert!(expected.contains(&found), "round {round}: {found} commands, {acknowledged} acknowledged");
        acknowledged = found;
        for _ in 0..25 {
            client.add("long".repeat(1 << 10), 1).await.expect("a cluster of one");
            acknowledged += 1;
        }
        running.until("it purges its log", |status| status.purged.is_some()).await;
        disk.cut_power_after(round * 3 % 17);
        while client.add("long".repeat(1 << 10), 1).await.is_ok() {
            acknowledged += 1;
        }
        let status = running.until("it stops", |status| status.stopped().is_some()).await;
        // redb names the first failed operation to whoever asked for it, which may be itself.
        let reason = status.stopped().unwrap_or_default();
        assert!(reason.starts_with("the machine could not "), "{reason}");
        running.bury().await;
        disk.crash(if round % 2 == 0 { Crash::LoseAll } else { Crash::Tear(round) });
    }
    let machine = machine().open(Totals::default()).expect("it opens");
    assert!(commands(&machine) > 0, "something was flushed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_machine_is_short_of_room_refuses_writes_and_goes_on_when_there_is_some() {
    let rig = Rig::new("short", 1);
    let disk = Disk::default();
    disk.set_capacity(24 * MIB);
    let machine = Machine::builder("/n1/totals.redb").hooks(disk.hooks()).low_water_bytes(8 * MIB);
    let running = rig.try_start(1, machine).await.expect("it starts");
    let (acknowledged, error) = add_until_refused(&running, 0).await;
    assert!(matches!(error, WriteError::NotApplied(NotApplied::DiskFull)), "{error}");
    assert!(acknowledged > 20, "only {acknowledged} were taken");
    let status = running.until("it says so", |status| status.health == Health::Low).await;
    assert!(status.stopped().is_none());
    assert_eq!(running.node.client().commands().await, Ok(acknowledged), "reads go on");
    // Room that others make: nothing is applied meanwhile.
    disk.set_capacity(200 * MIB);
    running.until("it has room again", |status| status.health == Health::Ok).await;
    running.add("after", 16).await;
    assert_eq!(running.commands_here().await, acknowledged + 1);
    running.node.shutdown().await.expect("in good order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_machine_finds_no_room_stops_and_loses_nothing() {
    let rig = Rig::new("full", 1);
    let disk = Disk::default();
    disk.set_capacity(12 * MIB);
    let machine = || Machine::builder("/n1/totals.redb").hooks(disk.hooks()).low_water_bytes(0);
    let running = rig.try_start(1, machine()).await.expect("it starts");
    let (acknowledged, error) = add_until_refused(&running, 0).await;
    assert!(!error.is_definite(), "it is in the log: {error}");
    let status = running.until("it stops", |status| status.stopped().is_some()).await;
    let reason = status.stopped().unwrap_or_default();
    assert!(reason.contains("no space left on the disk of /n1/totals.redb"), "{reason}");
    running.bury().await;
    // As long as there is no room it stops again, and nothing gets lost by that.
    for round in 0..3 {
        disk.crash(Crash::LoseAll);
        match rig.try_start(1, machine()).await {
            // The command that found no room is committed, and applied before the start is over.
            Err(error) => {
                let reason = error.to_string();
                assert!(reason.contains("no space left"), "round {round}: {reason}");
            }
            Ok(running) => {
                running.until("it stops again", |status| status.stopped().is_some()).await;
                running.bury().await;
            }
        }
    }
    disk.set_capacity(200 * MIB);
    let running = rig.try_start(1, machine()).await.expect("there is room");
    let found = running.node.client().with_timeout(LIMIT).commands().await.expect("it serves");
    // The command that found no room is in the log all the same.
    assert!((acknowledged..=acknowledged + 1).contains(&found), "{found}, {acknowledged} acknowledged");
    running.add("after", 16).await;
    running.node.shutdown().await.expect("in good order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_goes_on_to_a_deadline() {
    let rig = Rig::new("leases", 1);
    let running = rig.start(1).await;
    let client = running.node.client();
    client.lease("ada".to_owned(), 3_000_000).await.expect("a cluster of one");
    assert_eq!(client.leased().await.as_deref(), Ok(&["ada".to_owned()][..]));
    let ended = async {
        let mut status = running.node.status();
        while client.leased().await.expect("it serves") != [""; 0] {
            // With no command after it only a tick can end it.
            status.changed().await.expect("the node lives");
        }
    };
    within("the lease ends", ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_command_stops_the_node_and_names_it() {
    let rig = Rig::new("panics", 1);
    let running = rig.start(1).await;
    running.add("a", 16).await;
    running.node.client().burst(true).await.expect_err("it panics");
    let status = running.until("it stops", |status| status.stopped().is_some()).await;
    let reason = status.stopped().unwrap_or_default().to_owned();
    assert!(reason.contains("`burst`") && reason.contains("as it was told"), "{reason}");
    running.bury().await;
    let machine = open_at(&rig.home(1));
    assert_eq!(commands(&machine), 1, "what was applied before it is there");
}

async fn refused(rig: &Rig, file: &Path) -> MachineError {
    match rig.try_start(1, Machine::builder(file)).await.err() {
        Some(StartError::Machine(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_does_not_belong_to_the_storage_is_refused() {
    let (here, there) = (Rig::new("here", 1), Rig::new("there", 1));
    for rig in [&here, &there] {
        let running = rig.start(1).await;
        for _ in 0..40 {
            running.add("long", 4 << 10).await;
        }
        running.until("it purges its log", |status| status.purged.is_some()).await;
        running.node.shutdown().await.expect("in good order");
    }
    let error = refused(&here, &there.file(1)).await;
    assert!(matches!(error, MachineError::OtherCluster { .. }), "{error}");
    std::fs::rename(here.file(1), here.dir.path().join("moved.redb")).expect("moved");
    let error = refused(&here, &here.file(1)).await;
    assert!(matches!(error, MachineError::Behind { applied: None, .. }), "{error}");
    std::fs::rename(here.dir.path().join("moved.redb"), here.file(1)).expect("moved back");
    let running = here.start(1).await;
    assert_eq!(running.commands_here().await, 40);
    running.node.shutdown().await.expect("in good order");
    let moved = here.dir.path().join("moved.redb");
    std::fs::rename(here.file(1), &moved).expect("moved");
    std::fs::remove_dir_all(here.home(1)).expect("removed");
    let error = refused(&here, &moved).await;
    assert!(matches!(error, MachineError::WithoutLog { .. }), "{error}");
}
