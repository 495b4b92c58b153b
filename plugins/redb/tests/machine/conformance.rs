//! The framework's kit for state machines, run for a machine in tables.

use quorate::testing::Seeded;
use quorate::testing::state_machine::{Durably, MachineHarness};

use crate::common::*;

struct Harness;

impl MachineHarness for Harness {
    type Machine = Durably<Machine>;

    const COMMANDS: usize = 150;

    fn machine() -> Self::Machine {
        let (dir, machine) = temporary();
        Durably::new(machine, dir)
    }

    fn command(rng: &mut Seeded) -> TotalsCommand {
        let name = format!("name {}", rng.draw(0..8));
        match rng.draw(0..8) {
            0 => TotalsCommand::Remove { name },
            1 => TotalsCommand::Lease { name, micros: rng.draw(1..3_000_000) },
            2 => TotalsCommand::Burst { panic: false },
            _ => TotalsCommand::Add { name, count: rng.draw(0..1000) },
        }
    }

    fn query(rng: &mut Seeded) -> Option<TotalsQuery> {
        Some(match rng.draw(0..4) {
            0 => TotalsQuery::Commands,
            1 => TotalsQuery::Leased,
            _ => TotalsQuery::Total { name: format!("name {}", rng.draw(0..8)) },
        })
    }
}

quorate::state_machine_conformance!(Harness);
