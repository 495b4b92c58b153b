//! Cases about what a machine says of its disk.

use super::history::History;
use super::life::{Life, told};
use super::{DurableHarness, run};
use crate::state_machine::{DurableStateMachine, RestoreError};
use crate::testing::Seeded;

/// A machine that works, on a disk with power and room, never says that it has failed.
pub fn working_machine_has_not_failed<H: DurableHarness>() {
    run::<H>("working_machine_has_not_failed", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 60), History::<H>::drawn(&mut rng, 60));
        let mut life = Life::new(&history);
        life.check_health("opened in an empty place");
        for round in 0..3 {
            // Each of these looks at what it says.
            life.apply_in_batches(&mut rng, 5, 3);
            life.flush();
            life.restore(&other.point(10 + 15 * round));
            life.apply(1);
            life = life.reopen();
            life.check("opened again");
            life.apply(1);
            life = life.kill();
            life.check("opened after the process ended");
            life.apply(1);
            life = life.crash();
            life.check("opened after a power cut");
        }
    });
}

/// What is restored was not refused for want of room before, neither whole nor while it arrived.
pub fn what_is_restored_had_room<H: DurableHarness>() {
    run::<H>("what_is_restored_had_room", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 20), History::<H>::drawn(&mut rng, 60));
        let mut life = Life::new(&history);
        for upto in [1, 20, 60, 20] {
            let point = other.point(upto);
            let whole = point.state().len() as u64;
            let refused: Vec<(u64, RestoreError)> = [0, 1, whole / 2, whole]
                .into_iter()
                .filter_map(|arrived| Some((arrived, life.machine.room_for(arrived).err()?)))
                .collect();
            life.restore(&point);
            if let Some((arrived, error)) = refused.into_iter().next() {
                panic!(
                    "{arrived} bytes of a snapshot of {whole} were refused, and all of them were restored then: {}",
                    told(error)
                );
            }
            // More than any disk has; it need not be known how much there is.
            match life.machine.room_for(u64::MAX) {
                Ok(()) | Err(RestoreError::NoRoom { .. }) => {}
                Err(error) => panic!("for want of room something else was said: {}", told(error)),
            }
        }
    });
}
