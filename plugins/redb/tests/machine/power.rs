//! The power fails before every single operation.

use std::collections::BTreeSet;

use quorate::state_machine::DurableStateMachine;

use crate::common::*;
use crate::disk::{Crash, Disk};

const BATCH: u64 = 7;

/// How far a run got: entries applied, entries flushed, and whether the other state was installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Reached {
    applied: u64,
    flushed: u64,
    installing: bool,
    installed: bool,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn batches(machine: &Machine, reached: &mut Reached, count: u64) -> Outcome {
    for _ in 0..count {
        let from = reached.applied;
        add(machine, "a", from..from + BATCH)?;
        reached.applied += BATCH;
    }
    Ok(())
}

/// The life of a machine in short. Ends where the power does.
fn live(disk: &Disk, snapshot: &[u8], reached: &mut Reached) -> Outcome {
    let machine = open_on(disk)?;
    batches(&machine, reached, 3)?;
    machine.flush()?;
    reached.flushed = reached.applied;
    batches(&machine, reached, 2)?;
    machine.flush()?;
    reached.flushed = reached.applied;
    batches(&machine, reached, 1)?;
    reached.installing = true;
    restore(&machine, 1000, snapshot)?;
    reached.installed = true;
    (reached.applied, reached.flushed) = (1000, 1000);
    batches(&machine, reached, 2)?;
    machine.flush()?;
    reached.flushed = reached.applied;
    Ok(())
}

/// The state is that after some batch at or after the last flush, and its record says which.
fn check(disk: &Disk, reached: Reached, what: &str) {
    let machine = open_on(disk).unwrap_or_else(|error| panic!("{what}, {reached:?}: {error:?}"));
    let found = record(&machine);
    let (of_a, of_b) = (total(&machine, "a").unwrap_or(0), total(&machine, "b").unwrap_or(0));
    let swapped = found >= 1000;
    assert!(swapped || !reached.installed, "{what}, {reached:?}: what was installed is gone");
    assert!(!swapped || reached.installing, "{what}: nothing was installed");
    let base = if swapped { 1000 } else { 0 };
    assert_eq!((of_a, of_b), (found - base, if swapped { 60 } else { 0 }), "{what}: effects and record part");
    assert_eq!(commands(&machine), found - base + of_b, "{what}: the tables part");
    assert_eq!((found - base) % BATCH, 0, "{what}: half a batch");
    if swapped == reached.installed {
        // The batch whose outcome nobody heard of may be there.
        let known = reached.flushed..=reached.applied + BATCH;
        assert!(known.contains(&found), "{what}, {reached:?}: it is at {found}");
    }
    add(&machine, "a", found..found + 1).unwrap_or_else(|error| panic!("{what}: {error}"));
    machine.flush().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(total(&machine, "a"), Some(of_a + 1), "{what}: it does not go on");
}

fn snapshot() -> Vec<u8> {
    let disk = Disk::default();
    let machine = open_on(&disk).expect("a sound disk");
    add(&machine, "b", 0..60).expect("applied");
    written(view(&machine))
}

#[test]
fn a_power_cut_before_any_operation_leaves_state_and_record_together() {
    let snapshot = snapshot();
    let whole = Disk::default();
    let mut furthest = Reached::default();
    live(&whole, &snapshot, &mut furthest).expect("a sound disk");
    let ops = whole.ops();
    assert!(furthest.installed && ops > 60, "{ops} operations are too few to be all of them");
    let mut seen = BTreeSet::new();
    for at in 0..ops {
        for crash in [Crash::LoseAll, Crash::KeepAll, Crash::Tear(at), Crash::Tear(at + 10_000)] {
            let disk = Disk::default();
            disk.cut_power_after(at);
            let mut reached = Reached::default();
            // The last operations are of the close, which says nothing of its failure.
            drop(live(&disk, &snapshot, &mut reached));
            disk.crash(crash);
            seen.insert(reached);
            check(&disk, reached, &format!("power cut before operation {at}, {crash:?}"));
        }
    }
    assert!(seen.len() > 5, "too few places were interrupted: {seen:?}");
    assert!(seen.iter().any(|reached| reached.installing && !reached.installed), "{seen:?}");
}

#[test]
fn what_was_found_at_a_start_survives_a_power_cut() {
    // A node builds on what it finds: it lets go of the snapshot, and of the log, that led to it.
    let snapshot = snapshot();
    let whole = Disk::default();
    live(&whole, &snapshot, &mut Reached::default()).expect("a sound disk");
    let mut installed = 0;
    for killed in 0..whole.ops() {
        for flushes in [false, true] {
            let (disk, mut reached) = (Disk::default(), Reached::default());
            disk.cut_power_after(killed);
            drop(live(&disk, &snapshot, &mut reached));
            disk.kill();
            let machine = open_on(&disk).unwrap_or_else(|error| panic!("killed at {killed}: {error:?}"));
            let mut found = record(&machine);
            installed += u32::from(found >= 1000 && !reached.installed);
            if flushes {
                add(&machine, "a", found..found + BATCH).expect("a sound disk");
                found += BATCH;
            }
            machine.flush().expect("a sound disk");
            disk.cut_power_after(0);
            drop(machine);
            disk.crash(Crash::LoseAll);
            let machine = open_on(&disk).unwrap_or_else(|error| panic!("killed at {killed}: {error:?}"));
            assert_eq!(record(&machine), found, "killed at {killed}");
        }
    }
    assert!(installed > 0, "no restored state was found of which nobody had heard");
}

#[test]
fn what_was_not_flushed_is_lost_whole_and_applied_again() {
    let disk = Disk::default();
    let machine = open_on(&disk).expect("a sound disk");
    add(&machine, "a", 0..10).expect("applied");
    machine.flush().expect("flushed");
    add(&machine, "a", 10..20).expect("applied");
    assert_eq!((total(&machine, "a"), record(&machine)), (Some(20), 20), "it is seen before it is flushed");
    let syncs = disk.syncs();
    add(&machine, "a", 20..30).expect("applied");
    assert_eq!(disk.syncs(), syncs, "a batch costs no flush");
    disk.cut_power_after(0);
    drop(machine);
    disk.crash(Crash::LoseAll);
    let machine = open_on(&disk).expect("it opens");
    assert_eq!((total(&machine, "a"), record(&machine)), (Some(10), 10));
    assert_eq!(add(&machine, "a", 10..12).expect("applied"), [11, 12]);
}
