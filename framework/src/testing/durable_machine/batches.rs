//! Cases about what is applied.

use super::history::History;
use super::life::Life;
use super::{DurableHarness, run};
use crate::testing::Seeded;

/// The same commands make the same state, and are answered the same, whatever was flushed, and wherever
/// the machine lives.
pub fn two_machines_come_to_the_same<H: DurableHarness>() {
    run::<H>("two_machines_come_to_the_same", || {
        let history = History::<H>::drawn(&mut Seeded::announced(), 40);
        let mut life = Life::new(&history);
        for _ in 0..40 {
            life.apply(1);
            life.flush();
            life.check_now("after a flush");
        }
    });
}

/// Where one batch ends and the next begins is no part of the state, nor of the responses.
pub fn batches_of_any_size_come_to_the_same<H: DurableHarness>() {
    run::<H>("batches_of_any_size_come_to_the_same", || {
        let mut rng = Seeded::announced();
        let history = History::<H>::drawn(&mut rng, 60);
        for most in [1, 3, 9, 30] {
            Life::new(&history).apply_in_batches(&mut rng, 60, most);
        }
        Life::new(&history).apply(60);
    });
}

/// A batch of entries that have no commands moves the record, which a flush makes durable as ever.
pub fn batch_without_commands_moves_the_record<H: DurableHarness>() {
    run::<H>("batch_without_commands_moves_the_record", || {
        let history = History::<H>::drawn(&mut Seeded::announced(), 30);
        let mut life = Life::new(&history);
        let none = |mut life: Life<H>, entries| {
            let state = life.at.state().clone();
            life.apply(entries);
            assert!(
                !H::SAME_STATES || *life.at.state() == state,
                "a batch without commands has changed the state"
            );
            life.flush();
            life = life.crash();
            life.check("flushed after a batch without commands");
            life
        };
        // The first of a log has none.
        life = none(life, 1);
        for _ in 0..2 {
            life.apply(3);
            life.flush();
            life = none(life, 2);
            life.apply(4);
            life = none(life, 1);
        }
    });
}
