//! The framework's kits for state machines and for what is on a disk, run for a machine in tables.

use quorate::testing::Seeded;
use quorate::testing::durable_machine::DurableHarness;
use quorate::testing::state_machine::{Durably, MachineHarness};

use crate::common::*;
use crate::disk::{Crash, Disk};

struct Harness;

fn command(rng: &mut Seeded) -> TotalsCommand {
    let name = format!("name {}", rng.draw(0..8));
    match rng.draw(0..8) {
        0 => TotalsCommand::Remove { name },
        1 => TotalsCommand::Lease { name, micros: rng.draw(1..3_000_000) },
        2 => TotalsCommand::Burst { panic: false },
        _ => TotalsCommand::Add { name, count: rng.draw(0..1000) },
    }
}

fn query(rng: &mut Seeded) -> TotalsQuery {
    match rng.draw(0..4) {
        0 => TotalsQuery::Commands,
        1 => TotalsQuery::Leased,
        _ => TotalsQuery::Total { name: format!("name {}", rng.draw(0..8)) },
    }
}

impl MachineHarness for Harness {
    type Machine = Durably<Machine>;

    const COMMANDS: usize = 150;

    fn machine() -> Self::Machine {
        let (dir, machine) = temporary();
        Durably::new(machine, dir)
    }

    fn command(rng: &mut Seeded) -> TotalsCommand {
        command(rng)
    }

    fn query(rng: &mut Seeded) -> Option<TotalsQuery> {
        Some(query(rng))
    }
}

quorate::state_machine_conformance!(Harness);

/// On a disk whose power a case can cut, with what was flushed and sectors of what was not.
mod on_a_disk {
    use super::{
        Crash, Disk, DurableHarness, Machine, Seeded, TotalsCommand, TotalsQuery, command, open_on, query,
    };

    struct Harness;

    impl DurableHarness for Harness {
        type Machine = Machine;
        type Place = Disk;

        fn place() -> Disk {
            Disk::default()
        }

        fn open(disk: &Disk) -> Machine {
            open_on(disk).expect("a file of ours")
        }

        fn crash(disk: &mut Disk, machine: Machine) {
            disk.cut_power_after(0);
            drop(machine);
            disk.crash(Crash::Tear(disk.ops()));
        }

        fn kill(disk: &mut Disk, machine: Machine) -> bool {
            disk.cut_power_after(0);
            drop(machine);
            disk.kill();
            true
        }

        fn cut_power_after(disk: &Disk, points: u64) -> bool {
            disk.cut_power_after(points);
            true
        }

        fn command(rng: &mut Seeded) -> TotalsCommand {
            command(rng)
        }

        fn query(rng: &mut Seeded) -> Option<TotalsQuery> {
            Some(query(rng))
        }
    }

    quorate::durable_machine_conformance!(Harness);
}
