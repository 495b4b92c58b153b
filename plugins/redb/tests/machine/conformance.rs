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

/// On a disk whose power a case can cut, with what was flushed and all, some sectors or nothing of what was
/// not.
mod on_a_disk {
    use std::cell::Cell;

    use quorate::error::BoxError;

    use super::{
        Crash, Disk, DurableHarness, Machine, Seeded, TotalsCommand, TotalsQuery, command, open_on, query,
    };

    struct Harness;

    #[derive(Default)]
    struct Place {
        disk: Disk,
        /// How many power cuts there were, and where the last one was asked for: what is lost differs.
        crashes: u64,
        points: Cell<u64>,
    }

    impl DurableHarness for Harness {
        type Machine = Machine;
        type Place = Place;

        fn place() -> Place {
            Place::default()
        }

        fn open(place: &Place) -> Result<Machine, BoxError> {
            Ok(open_on(&place.disk)?)
        }

        fn crash(place: &mut Place, machine: Option<Machine>) {
            let Place { disk, crashes, points } = place;
            // First the power: what the dead process still does reaches nothing.
            disk.cut_power_after(0);
            drop(machine);
            let mut rng = Seeded::new(*crashes << 40 ^ points.get() << 20 ^ disk.ops());
            *crashes += 1;
            disk.crash(match rng.draw(0..6) {
                0 => Crash::LoseAll,
                1 => Crash::KeepAll,
                _ => Crash::Tear(rng.next_u64()),
            });
        }

        fn kill(place: &mut Place, machine: Option<Machine>) -> bool {
            place.disk.cut_power_after(0);
            drop(machine);
            place.disk.kill();
            true
        }

        fn cut_power_after(place: &Place, points: u64) -> bool {
            place.points.set(points);
            place.disk.cut_power_after(points);
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
