//! A majority whose disks are nearly full: what is taken all the same, so that it serves reads.

use std::time::Duration;

use quorate::error::{NotApplied, WriteError};
use quorate::storage::Health;
use quorate::types::{LogIndex, Term};
use quorate_redb::{Builder, MachineBuilder, RedbStorage};

use crate::common::*;
use crate::disk::Disk;
use crate::rig::*;

/// Of the storage; the machines are never told.
const MARK: u64 = 16 * MIB;

fn on(node: u64, disk: &Disk) -> (MachineBuilder, Builder) {
    let machine = Machine::builder(format!("/n{node}/totals.redb")).hooks(disk.hooks()).low_water_bytes(0);
    let storage = RedbStorage::builder(format!("/n{node}")).hooks(disk.hooks());
    let storage = storage.preallocate_bytes(256 << 10).ballast_bytes(256 << 10).low_water_bytes(MARK);
    (machine, storage)
}

async fn start(rig: &Rig, node: u64, disk: &Disk) -> Running {
    let (machine, storage) = on(node, disk);
    rig.start_with(node, machine, storage).await.expect("the node starts")
}

/// Starts nodes, each on its disk.
async fn start_each(rig: &Rig, nodes: impl IntoIterator<Item = (u64, &Disk)>) -> Vec<Running> {
    futures::future::join_all(nodes.into_iter().map(|(node, disk)| start(rig, node, disk))).await
}

fn numbered(disks: &[Disk]) -> impl Iterator<Item = (u64, &Disk)> {
    (1..).zip(disks)
}

/// Less than the mark is left.
fn nearly_fill(disk: &Disk) {
    disk.set_capacity(disk.used() + MARK * 3 / 4);
}

async fn until_low(running: &Running) {
    running.until("its disk is nearly full", |status| status.health == Health::Low).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_pass_while_every_disk_is_nearly_full() {
    let rig = Rig::new("low deadlines", 3);
    let disks: Vec<Disk> = (0..3).map(|_| Disk::default()).collect();
    let nodes = start_each(&rig, numbered(&disks)).await;
    let client = nodes[0].node.client().with_timeout(LIMIT);
    client.lease("ada".to_owned(), 8_000_000).await.expect("a majority");
    settle(&nodes).await;
    for running in nodes {
        running.node.shutdown().await.expect("in good order");
    }
    disks.iter().for_each(nearly_fill);
    let nodes = start_each(&rig, numbered(&disks)).await;
    for running in &nodes {
        until_low(running).await;
    }
    let client = nodes[0].node.client().with_timeout(LIMIT);
    let ended = async {
        let mut status = nodes[0].node.status();
        while client.leased().await.expect("reads go on") != [""; 0] {
            drop(tokio::time::timeout(Duration::from_millis(50), status.changed()).await);
        }
    };
    within("the lease ends", ended).await;
    let error = client.add("more".to_owned(), 1).await.expect_err("no room");
    assert!(matches!(error, WriteError::NotApplied(NotApplied::DiskFull)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_leader_left_does_not_keep_a_majority_from_serving() {
    let rig = Rig::new("low tail", 3);
    let disks: Vec<Disk> = (0..3).map(|_| Disk::default()).collect();
    let nodes = start_each(&rig, numbered(&disks)).await;
    settle(&nodes).await;
    let leads = leader_of(&nodes).await;
    let follows: Vec<usize> = (0..3).filter(|at| *at != leads).collect();
    for at in &follows {
        nearly_fill(&disks[*at]);
    }
    // The first takes its followers below the mark, and one after it has none to take it.
    let client = nodes[leads].node.client().with_timeout(Duration::from_secs(2));
    let mut taken = 0;
    let error = loop {
        match client.add("long".repeat(50 << 10), 1).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 200, "it was never refused");
    };
    assert!(!error.is_definite(), "the leader has it in its log: {error}");
    for running in nodes {
        running.stop_hard().await;
    }
    nearly_fill(&disks[leads]);
    // Of these two only the one with the longer log can lead.
    let up = [leads, follows[0]];
    let nodes = start_each(&rig, up.map(|at| (at as u64 + 1, &disks[at]))).await;
    for running in &nodes {
        until_low(running).await;
    }
    for running in &nodes {
        let client = running.node.client().with_timeout(LIMIT);
        let found = client.commands().await.expect("a majority is up, and reads need no room");
        assert_eq!(found, taken + 1, "what was left is committed by the next leader");
    }
    let error = nodes[0].node.client().add("more".to_owned(), 1).await.expect_err("no room");
    assert!(matches!(error, WriteError::NotApplied(NotApplied::DiskFull)), "{error}");
}

/// Tries something that shows nothing when another node was elected meanwhile, whose followers take more:
/// `attempt` says whether it did show it.
async fn under_one_leader(attempt: impl AsyncFn() -> bool) {
    for _ in 0..5 {
        if attempt().await {
            return;
        }
    }
    panic!("each time another node was elected");
}

/// Whether `follower`, which is short of room, took all up to `last` and nothing behind it from a leader
/// of `term`; `false` when that one leads no more.
async fn takes_all_up_to(follower: &Running, last: Option<LogIndex>, term: Term) -> bool {
    let status = follower.until("it has what is no command", |status| status.last_log >= last).await;
    assert_eq!(status.health, Health::Low);
    if status.term > term {
        return false;
    }
    assert_eq!(status.last_log, last, "and no more than that");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_a_leader_sends_all_before_its_first_command_is_taken() {
    under_one_leader(sends_what_begins_without_commands).await;
}

async fn sends_what_begins_without_commands() -> bool {
    let rig = Rig::new("low part", 3);
    let disks: Vec<Disk> = (0..3).map(|_| Disk::default()).collect();
    let nodes = start_each(&rig, numbered(&disks)).await;
    settle(&nodes).await;
    // A follower is away when another is elected, and while that one writes: what it lacks comes in one
    // append.
    let leads = leader_of(&nodes).await;
    let follows = (leads + 1) % 3;
    let mut nodes: Vec<Option<Running>> = nodes.into_iter().map(Some).collect();
    for at in [follows, leads] {
        nodes[at].take().expect("it is up").node.shutdown().await.expect("in good order");
    }
    nodes[leads] = Some(start(&rig, leads as u64 + 1, &disks[leads]).await);
    let nodes: Vec<Running> = nodes.into_iter().flatten().collect();
    settle(&nodes).await;
    let term = nodes[0].node.status().get().term;
    nodes[0].add("one", 16).await;
    let first = nodes[0].node.client().with_timeout(LIMIT).position().await.expect("a majority");
    let before = LogIndex(first.expect("it was applied") - 1);
    for name in ["two", "three"] {
        nodes[0].add(name, 16).await;
    }
    nearly_fill(&disks[follows]);
    let away = start(&rig, follows as u64 + 1, &disks[follows]).await;
    let shown = takes_all_up_to(&away, Some(before), term).await;
    disks[follows].set_capacity(disks[follows].used() + 2 * MARK);
    settle(&[away]).await;
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_of_an_append_comes_when_there_is_room_with_no_write_after_it() {
    under_one_leader(sends_a_tick_and_a_command).await;
}

async fn sends_a_tick_and_a_command() -> bool {
    let rig = Rig::new("low rest", 3);
    let disks: Vec<Disk> = (0..3).map(|_| Disk::default()).collect();
    let nodes = start_each(&rig, numbered(&disks)).await;
    let leads = leader_of(&nodes).await;
    let client = nodes[leads].node.client().with_timeout(LIMIT);
    client.lease("ada".to_owned(), 1_000_000).await.expect("a majority");
    settle(&nodes).await;
    // A follower misses a tick, which it is to take, and a command.
    let follows = (leads + 1) % 3;
    let mut nodes: Vec<Option<Running>> = nodes.into_iter().map(Some).collect();
    nodes[follows].take().expect("it is up").node.shutdown().await.expect("in good order");
    nearly_fill(&disks[follows]);
    let leader = nodes[leads].as_ref().expect("it is up");
    let term = leader.node.status().get().term;
    let ended = async {
        let mut status = leader.node.status();
        while client.leased().await.expect("a majority") != [""; 0] {
            status.changed().await.expect("the node lives");
        }
    };
    within("the lease ends", ended).await;
    let tick = client.position().await.expect("a majority").map(LogIndex);
    leader.add("refused", 16).await;
    let follower = start(&rig, follows as u64 + 1, &disks[follows]).await;
    let shown = takes_all_up_to(&follower, tick, term).await;
    disks[follows].set_capacity(disks[follows].used() + 2 * MARK);
    settle(&[follower]).await;
    shown
}
