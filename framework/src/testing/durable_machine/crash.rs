//! Cases about power cuts, and about the deaths of processes.

use super::history::{History, Point};
use super::life::{Life, open, told};
use super::points::at_every_point;
use super::{DurableHarness, run};
use crate::testing::Seeded;

/// After a power cut, at whatever point, state and record are those after one batch: one that was
/// applied, at least the last one that was flushed.
pub fn state_and_record_are_of_one_batch_after_crash<H: DurableHarness>() {
    run::<H>("state_and_record_are_of_one_batch_after_crash", || {
        let mut rng = Seeded::announced();
        let history = History::<H>::drawn(&mut rng, 180);
        let mut life = Life::new(&history);
        for round in 0..8 {
            for _ in 0..rng.draw(1..8) {
                life.apply(rng.draw(1..4));
                if rng.one_in(4) {
                    life.flush();
                }
            }
            life = life.crash();
            life.check(&format!("round {round}"));
        }
        let seed = rng.next_u64();
        at_every_point::<H>(&mut rng, |points| {
            let (mut rng, mut life) = (Seeded::new(seed), Life::new(&history));
            H::cut_power_after(&life.place, points);
            let lived = (0..6).try_for_each(|batch| {
                life.try_apply(rng.draw(1..4))?;
                if batch % 2 == 1 { life.try_flush() } else { Ok(()) }
            });
            life = life.crash();
            life.check(&format!("the power failed after {points} operations"));
            life.apply(2);
            lived
        });
    });
}

/// What was flushed is there after a power cut.
pub fn flushed_batches_survive_crash<H: DurableHarness>() {
    run::<H>("flushed_batches_survive_crash", || {
        let history = History::<H>::drawn(&mut Seeded::announced(), 30);
        let mut life = Life::new(&history);
        for round in 0..10 {
            for _ in 0..=round % 3 {
                life.apply(1);
            }
            life.flush();
            life = life.crash();
            life.check(&format!("round {round}"));
        }
    });
}

/// What a power cut took is applied again, in other batches, with the same responses.
pub fn batches_applied_again_answer_the_same<H: DurableHarness>() {
    run::<H>("batches_applied_again_answer_the_same", || {
        let mut rng = Seeded::announced();
        let history = History::<H>::drawn(&mut rng, 80);
        let mut life = Life::new(&history);
        for round in 1..=8 {
            life.apply_in_batches(&mut rng, 4, 4);
            life.flush();
            life.apply_in_batches(&mut rng, 6, 3);
            let end = life.at.upto;
            life = life.crash();
            life.check(&format!("round {round}"));
            let lost = end - life.at.upto;
            life.apply_in_batches(&mut rng, lost, 6);
        }
    });
}

/// Applies, flushes and restores, until that fails.
fn live<H: DurableHarness>(life: &mut Life<H>, rng: &mut Seeded, other: &Point<H>) -> Result<(), String> {
    life.try_apply(rng.draw(1..4))?;
    life.try_apply(rng.draw(1..4))?;
    life.try_flush()?;
    life.try_apply(rng.draw(1..4))?;
    life.try_restore(other).map_err(told)?;
    life.try_apply(rng.draw(1..4))?;
    life.try_flush()
}

/// Ends the process once or twice, applies more or not, flushes what was found, and cuts the power.
fn keep<H: DurableHarness>(mut life: Life<H>, twice: bool, more: bool, when: &str) {
    life = life.kill();
    if twice {
        life.check(when);
        life = life.kill();
    }
    life.check(&format!("{when}, opened"));
    if more {
        life.apply(1);
    }
    life.flush();
    life = life.crash();
    life.check(&format!("{when}, opened, flushed, and the power failed"));
    life.apply(1);
}

/// A process dies, at whatever point, and the machine is opened by the next: after a flush by that one a
/// power cut takes nothing of what it found.
pub fn what_was_found_is_flushed_too<H: DurableHarness>() {
    run::<H>("what_was_found_is_flushed_too", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 40), History::<H>::drawn(&mut rng, 40));
        for round in 0..8 {
            let mut life = Life::new(&history);
            life.apply_in_batches(&mut rng, 4, 3);
            life.flush();
            life.apply_in_batches(&mut rng, 5, 3);
            keep(life, round & 1 > 0, round & 2 > 0, "the process ended");
        }
        let (mut place, seed) = (H::place(), rng.next_u64());
        let machine = open::<H>(&place);
        if !H::kill(&mut place, Some(machine)) {
            return;
        }
        at_every_point::<H>(&mut rng, |points| {
            let (mut rng, mut life) = (Seeded::new(seed), Life::new(&history));
            H::cut_power_after(&life.place, points);
            let lived = live(&mut life, &mut rng, &other.point(20));
            // The life is the same for every number of points; what follows is not.
            let mut rng = Seeded::new(seed ^ points);
            let when = format!("the process ended after {points} operations");
            keep(life, rng.one_in(4), rng.one_in(2), &when);
            lived
        });
    });
}
