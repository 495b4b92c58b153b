//! What crashes leave, and that the storage plugin keeps on it what it said it kept.

use std::path::Path;

use futures::FutureExt;
use quorate::runtime::AsyncRuntime;
use quorate::storage::{Flushed, Identity, Storage, Write};
use quorate::types::{ClusterId, DiskId, GroupId, LogIndex, NodeId};
use quorate_redb::RedbStorage;
use quorate_redb::hooks::Open;

use super::*;
use crate::runtime::SimRuntime;

const FILE: &str = "d/file";

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(Rng::new(seed))
}

/// A file whose name and first 4 KiB of ones are flushed.
fn with_file(disk: &SimDisk) -> Box<dyn quorate_redb::hooks::StorageBackend> {
    let hooks = disk.hooks();
    hooks.files.create_dir(Path::new("d")).expect("there is power");
    let file = (hooks.backend)(Path::new(FILE), Open::New).expect("there is power");
    file.write(0, &[1; 4096]).expect("there is power");
    file.sync_data().expect("there is power");
    hooks.files.sync_dir(Path::new("d")).expect("there is power");
    file
}

fn content(disk: &SimDisk) -> Vec<u8> {
    let file = (disk.hooks().backend)(Path::new(FILE), Open::Existing).expect("it was flushed");
    let mut bytes = vec![0; file.len().expect("there is power") as usize];
    file.read(0, &mut bytes).expect("there is power");
    bytes
}

#[test]
fn a_process_that_dies_loses_nothing_and_the_power_all_that_was_not_flushed() {
    for (crash, left) in [(Crash::Process, 2), (Crash::LoseAll, 1)] {
        let disk = disk(1);
        let file = with_file(&disk);
        file.write(0, &[2; 4096]).expect("there is power");
        disk.crash(crash);
        assert_eq!(content(&disk), [left; 4096], "{crash:?}");
        file.write(0, &[3; 4096]).expect_err("a handle of before the crash");
        assert_eq!(disk.events().losses, u64::from(crash == Crash::LoseAll));
    }
}

#[test]
fn what_a_dead_process_left_unflushed_goes_with_the_next_power_cut() {
    for flushed in [true, false] {
        let disk = disk(1);
        let file = with_file(&disk);
        file.write(0, &[2; 4096]).expect("there is power");
        let files = disk.hooks().files;
        files.rename(Path::new(FILE), Path::new("d/other")).expect("there is power");
        files.rename(Path::new("d/other"), Path::new(FILE)).expect("there is power");
        drop(files.create(Path::new("d/new")).expect("there is power"));
        disk.crash(Crash::Process);
        assert_eq!(content(&disk), [2; 4096], "the next process finds it");
        let hooks = disk.hooks();
        if flushed {
            let file = (hooks.backend)(Path::new(FILE), Open::Existing).expect("there is power");
            file.sync_data().expect("there is power");
            hooks.files.sync_dir(Path::new("d")).expect("there is power");
        }
        disk.crash(Crash::LoseAll);
        assert_eq!(content(&disk), [if flushed { 2 } else { 1 }; 4096]);
        assert_eq!(disk.hooks().files.open(Path::new("d/new")).is_ok(), flushed);
    }
}

#[test]
fn a_file_is_gone_on_with_after_its_first_bytes() {
    let disk = disk(1);
    with_file(&disk);
    let files = disk.hooks().files;
    let mut file = files.resume(Path::new(FILE), 100).expect("it is there");
    file.append(&[5; 10]).expect("there is power");
    assert_eq!(content(&disk), [[1; 100].as_slice(), &[5; 10]].concat());
    disk.crash(Crash::LoseAll);
    assert_eq!(content(&disk), [1; 4096], "nothing was flushed");
    assert!(disk.hooks().files.resume(Path::new("d/other"), 0).is_err());
}

#[test]
fn a_subset_keeps_or_loses_whole_writes_and_a_later_one_without_an_earlier() {
    let (mut first, mut second, mut only_second) = (0, 0, 0);
    for seed in 0..200 {
        let disk = disk(seed);
        let file = with_file(&disk);
        file.write(0, &[2; 2048]).expect("there is power");
        file.write(2048, &[3; 2048]).expect("there is power");
        disk.crash(Crash::Subset);
        let left = content(&disk);
        let kept = |range: std::ops::Range<usize>, byte| {
            let part = &left[range];
            assert!(part.iter().all(|b| *b == byte) || part.iter().all(|b| *b == 1), "whole or not at all");
            u32::from(part[0] == byte)
        };
        let (a, b) = (kept(0..2048, 2), kept(2048..4096, 3));
        (first, second, only_second) = (first + a, second + b, only_second + (1 - a) * b);
    }
    assert!((60..140).contains(&first) && (60..140).contains(&second) && only_second > 20);
}

#[test]
fn a_torn_write_is_torn_at_sectors_and_nowhere_else() {
    let mut torn = 0;
    for seed in 0..50 {
        let disk = disk(seed);
        with_file(&disk).write(100, &[2; 3000]).expect("there is power");
        disk.crash(Crash::Torn { sector: 512 });
        let left = content(&disk);
        for sector in left[..3072].chunks(512).skip(1) {
            assert!(sector.iter().all(|byte| *byte == sector[0]));
        }
        torn += disk.events().torn;
    }
    assert!(torn > 40, "{torn} of 50");
}

#[test]
fn a_fuse_that_replaces_one_of_a_folder_does_not_blow_there() {
    for replaced in [false, true] {
        let disk = disk(1);
        let file = with_file(&disk);
        disk.set_fuse_in("d", 5);
        let _other = disk.hooks().files.create(Path::new("d/other")).expect("there is power");
        if replaced {
            disk.set_fuse(0);
        }
        while file.write(0, &[2]).is_ok() {}
        let events = disk.events();
        assert_eq!((events.fuses_blown, events.blown_in_folder), (1, u64::from(!replaced)));
    }
}

#[test]
fn who_takes_out_a_fuse_leaves_every_other_in() {
    let disk = disk(1);
    let file = with_file(&disk);
    let before = disk.set_fuse(0);
    let after = disk.set_fuse(1);
    let waits = disk.set_fuse_in("d", 0);
    disk.take_out(before);
    file.write(0, &[2]).expect("the first");
    file.write(0, &[2]).expect_err("the power fails");
    assert_eq!((disk.blown(), disk.events().fuses_blown), (Some(after), 1));
    disk.crash(Crash::LoseAll);
    // The one that waits for a file is in still, and is taken out by its own number.
    disk.take_out(after);
    let files = disk.hooks().files;
    let lit = files.create(Path::new("d/lit")).and_then(|_| files.create(Path::new("d/next")).map(drop));
    assert!(lit.is_err() && disk.blown() == Some(waits));
    disk.crash(Crash::LoseAll);
    for own in [disk.set_fuse(0), disk.set_fuse_in("d", 0)] {
        disk.take_out(own);
    }
    let files = disk.hooks().files;
    for name in ["d/one", "d/two"] {
        let _file = files.create(Path::new(name)).expect("none is in");
    }
}

#[test]
fn a_fuse_cuts_the_power_before_the_change_it_names() {
    let disk = disk(1);
    let file = with_file(&disk);
    disk.set_fuse(2);
    file.write(0, &[2; 512]).expect("the first");
    file.write(512, &[2; 512]).expect("the second");
    file.sync_data().expect_err("the power fails");
    assert!(disk.is_dead());
    file.len().expect_err("nothing works without power");
    disk.crash(Crash::LoseAll);
    assert_eq!((content(&disk), disk.events().fuses_blown), (vec![1; 4096], 1));
}

#[test]
fn a_full_disk_a_failed_flush_a_lie_and_rot() {
    let disk = disk(1);
    let file = with_file(&disk);
    disk.set_capacity(Some(disk.used() + 4096));
    file.write(4096, &[2; 4096]).expect("there is room");
    let full = file.write(8192, &[2; 1]).expect_err("there is none");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    disk.fail_flushes(1);
    file.sync_data().expect_err("asked for");
    file.sync_data().expect("only one");
    disk.lie_about_flushes(true);
    file.write(0, &[3; 4096]).expect("over what is there");
    file.sync_data().expect("so it says");
    disk.crash(Crash::LoseAll);
    assert_eq!(content(&disk)[..4096], [1; 4096]);
    let bit = disk.rot(FILE).expect("the file is there");
    let left = content(&disk);
    let was = if bit < 4096 * 8 { 1 } else { 2 };
    assert_eq!(left[(bit / 8) as usize], was ^ (1 << (bit % 8)));
    assert_eq!(disk.rot("d/other"), None);
}

#[test]
fn names_are_lost_in_order_and_a_rename_is_whole() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed);
        with_file(&disk);
        let files = disk.hooks().files;
        drop(files.create(Path::new("d/a")).expect("there is power"));
        files.rename(Path::new("d/a"), Path::new("d/b")).expect("there is power");
        files.remove(Path::new(FILE)).expect("there is power");
        disk.crash(Crash::Subset);
        let mut names = disk.hooks().files.list(Path::new("d")).expect("there is power");
        names.sort();
        outcomes.insert(names.join(" "));
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), ["a file", "b", "b file", "file"]);
}

fn storage(disk: &SimDisk) -> RedbStorage {
    let builder = RedbStorage::builder("n1").preallocate_bytes(64 << 10).ballast_bytes(0);
    builder.low_water_bytes(0).hooks(disk.hooks()).open().expect("a crash leaves nothing that does not open")
}

/// Queues a few appends, of which the process sees some flushed before it dies; what it was told of is
/// there in the next process, and what that finds outlives the power cut that follows.
#[test]
fn the_storage_plugin_flushes_what_a_dead_process_left() {
    let mut unacknowledged = 0;
    for seed in 0..60 {
        unacknowledged += SimRuntime::seeded(seed).block_on(async move {
            let (disk, mut rng) = (disk(seed), Rng::stream(seed, "deaths"));
            let opened = storage(&disk);
            let identity =
                Identity { cluster_id: ClusterId([1; 32]), node_id: NodeId(1), disk_id: DiskId([2; 16]) };
            opened.set_identity_once(&identity).await.expect("there is power");
            opened.open(GroupId::MAIN).await.expect("readable");
            let queue = |first| {
                let (flushed, receipt) = Flushed::pair();
                let entries = vec![vec![first as u8; 600].into()];
                opened.write(GroupId::MAIN, Write::Append { first: LogIndex(first), entries }, flushed);
                receipt
            };
            let awaited = rng.within(1..4);
            for first in 0..awaited {
                queue(first).await.expect("there is power");
            }
            drop((awaited..awaited + 3).map(queue).collect::<Vec<_>>());
            SimSleep::exactly(Duration::from_micros(rng.below(6_000))).await;
            disk.crash(Crash::Process);
            let found = storage(&disk).open(GroupId::MAIN).await.expect("readable").log.end;
            assert!(found >= awaited, "seed {seed}: {awaited} were acknowledged, {found} are there");
            disk.crash(*rng.pick(&[Crash::LoseAll, Crash::Subset, Crash::Torn { sector: 512 }]));
            let left = storage(&disk).open(GroupId::MAIN).await.expect("readable").log.end;
            assert!(left >= found, "seed {seed}: {found} were found, {left} are left");
            found - awaited
        });
    }
    assert!(unacknowledged > 20, "{unacknowledged}");
}

/// Appends from `next`, crashes after a drawn number of changes, and returns how many were
/// acknowledged.
async fn append_until_the_fuse_blows(disk: &SimDisk, next: &mut u64, rng: &mut Rng) -> u64 {
    let storage = storage(disk);
    let identity = Identity { cluster_id: ClusterId([1; 32]), node_id: NodeId(1), disk_id: DiskId([2; 16]) };
    storage.set_identity_once(&identity).await.expect("there is power");
    let state = storage.open(GroupId::MAIN).await.expect("readable");
    assert!(state.log.end >= *next, "acknowledged up to {next}, found {:?}", state.log);
    *next = state.log.end;
    disk.set_fuse(rng.below(60));
    let mut acknowledged = 0;
    loop {
        let (flushed, receipt) = Flushed::pair();
        let entries = vec![vec![*next as u8; 1 + rng.below(900) as usize].into()];
        storage.write(GroupId::MAIN, Write::Append { first: LogIndex(*next), entries }, flushed);
        if receipt.await.is_err() {
            break;
        }
        *next += 1;
        acknowledged += 1;
    }
    assert!(disk.is_dead());
    acknowledged
}

#[test]
fn the_storage_plugin_keeps_what_it_acknowledged_whatever_the_crash() {
    let mut acknowledged = 0;
    let run = |seed: u64| {
        SimRuntime::seeded(seed).block_on(async move {
            let (disk, mut rng) = (disk(seed), Rng::stream(seed, "crashes"));
            let (mut next, mut acknowledged) = (0, 0);
            for _ in 0..8 {
                acknowledged += append_until_the_fuse_blows(&disk, &mut next, &mut rng).await;
                let sector = *rng.pick(&[512, 4096]);
                disk.crash(*rng.pick(&[Crash::LoseAll, Crash::Subset, Crash::Torn { sector }]));
            }
            assert!(storage(&disk).open(GroupId::MAIN).now_or_never().is_some());
            (acknowledged, disk.image_hash())
        })
    };
    for seed in 0..25 {
        let (count, hash) = run(seed);
        acknowledged += count;
        assert!(seed > 1 || run(seed).1 == hash, "the same seed leaves the same image");
    }
    assert!(acknowledged > 200, "{acknowledged}");
}
