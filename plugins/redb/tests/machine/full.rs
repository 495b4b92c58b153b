//! A machine whose disk is full.

use std::error::Error;
use std::path::Path;

use quorate::state_machine::DurableStateMachine;
use quorate::storage::Health;
use quorate_redb::{MachineBuilder, TableError};

use crate::common::*;
use crate::disk::{Crash, Disk};

const MIB: u64 = 1 << 20;
const BATCH: u64 = 10;

fn builder(disk: &Disk) -> MachineBuilder {
    Machine::builder("/n1/totals.redb").cache_bytes(1 << 20).hooks(disk.hooks())
}

fn open(builder: MachineBuilder) -> Machine {
    builder.open(Totals::default()).expect("a file of ours")
}

fn name(batch: u64) -> String {
    format!("{batch} {}", "long ".repeat(1000))
}

/// Applies batch number `batch`, of about 100 KiB.
fn batch(machine: &Machine, batch: u64) -> Result<(), TableError> {
    add(machine, &name(batch), batch * BATCH..(batch + 1) * BATCH).map(drop)
}

#[test]
fn low_is_told_before_the_space_is_gone() {
    let disk = Disk::default();
    disk.set_capacity(32 * MIB);
    let machine = open(builder(&disk).low_water_bytes(8 * MIB));
    assert_eq!(machine.health(), Health::Ok);
    let mut at = 0;
    while machine.health() == Health::Ok {
        batch(&machine, at).expect("there is room");
        at += 1;
    }
    assert_eq!(machine.health(), Health::Low);
    // What is queued by then is still applied.
    for at in at..at + 20 {
        batch(&machine, at).expect("that is what the mark is for");
    }
    machine.flush().expect("it fits");
    disk.set_capacity(disk.used() + 10 * MIB);
    assert_eq!(machine.health(), Health::Low, "not at once, or it would flap");
    disk.set_capacity(disk.used() + 12 * MIB);
    assert_eq!(machine.health(), Health::Ok);
}

#[test]
fn a_machine_that_finds_no_room_says_so_and_has_lost_nothing_that_was_flushed() {
    for (flush_every, crash) in [(1, Crash::LoseAll), (7, Crash::KeepAll), (30, Crash::Tear(3))] {
        let disk = Disk::default();
        disk.set_capacity(20 * MIB);
        let machine = open(builder(&disk).low_water_bytes(0));
        let (mut at, mut flushed) = (0, 0);
        let error = loop {
            if let Err(error) = batch(&machine, at) {
                break error;
            }
            at += 1;
            if at % flush_every == 0 {
                match machine.flush() {
                    Ok(()) => flushed = at,
                    Err(error) => break error,
                }
            }
            assert!(at < 1000, "it never happened");
        };
        assert!(matches!(error, TableError::Full { .. }), "{error:?}");
        assert_eq!(machine.health(), Health::Ok, "it was told not to look");
        drop(machine);
        disk.crash(crash);
        disk.set_capacity(200 * MIB);
        let machine = open(builder(&disk));
        let found = record(&machine) / BATCH;
        assert!((flushed..=at + 1).contains(&found), "at {found}: {flushed} flushed, {at} applied");
        assert_eq!(commands(&machine), found * BATCH);
        for at in 0..found {
            assert_eq!(total(&machine, &name(at)), Some(BATCH), "batch {at} of {found}");
        }
        batch(&machine, found).expect("it goes on");
        machine.flush().expect("there is room");
    }
}

#[test]
fn a_snapshot_for_which_there_is_no_room_leaves_the_old_state() {
    let (_dir, other) = temporary();
    for at in 0..60 {
        batch(&other, at).expect("there is room");
    }
    let snapshot = written(view(&other));
    let disk = Disk::default();
    let machine = open(builder(&disk));
    batch(&machine, 0).expect("there is room");
    machine.flush().expect("there is room");
    for room in [0, 64 << 10, MIB, 2 * MIB] {
        disk.set_capacity(disk.used() + room);
        let error = restore(&machine, 600, &snapshot).expect_err("there is no room");
        let reason = std::iter::successors(Some(&error as &dyn Error), |error| (*error).source());
        let reason: Vec<_> = reason.map(ToString::to_string).collect();
        assert!(reason.iter().any(|text| text.contains("no space")), "{reason:?}");
        assert!(!disk.exists(Path::new("/n1/totals.redb.tmp")));
        assert_eq!((record(&machine), total(&machine, &name(0))), (BATCH, Some(BATCH)));
    }
    disk.set_capacity(200 * MIB);
    batch(&machine, 1).expect("the old file is in order");
    restore(&machine, 600, &snapshot).expect("there is room");
    assert!(written(view(&machine)) == snapshot);
}
