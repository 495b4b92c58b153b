//! Cases about views, and what else is asked of the state.

use super::history::History;
use super::life::{Life, told, view};
use super::{DurableHarness, run};
use crate::state_machine::DurableStateMachine;
use crate::testing::Seeded;

/// A view, its record and its answers stay as they were, whatever is applied, flushed and restored
/// meanwhile.
pub fn view_stays_as_it_was<H: DurableHarness>() {
    run::<H>("view_stays_as_it_was", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 50), History::<H>::drawn(&mut rng, 20));
        let mut life = Life::new(&history);
        for round in 0..4 {
            life.apply(3);
            let at = life.at.clone();
            let (frozen, second) = (view(&life.machine), view(&life.machine));
            let seed = rng.next_u64();
            let answers = |machine: &H::Machine, frozen: &<H::Machine as DurableStateMachine>::View| {
                let answers = at.answers(machine, frozen, seed);
                answers.unwrap_or_else(|error| panic!("a view that is open: {error}"))
            };
            let before = answers(&life.machine, &frozen);
            life.apply(5);
            life.flush();
            life.apply(2);
            if round == 3 {
                life.restore(&other.point(9));
                life.apply(1);
            }
            let checked = at.check_record(&second, "in a view of what was");
            checked.unwrap_or_else(|error| panic!("a view that is open cannot be read: {error}"));
            assert!(
                answers(&life.machine, &frozen) == before,
                "queries of a view are answered from what came later"
            );
            let checked = at.check_view(&life.machine, second, "in a view of what was");
            checked.unwrap_or_else(|error| panic!("a view that is open cannot be read: {error}"));
        }
    });
}

/// A machine that was closed opens again while there are views of it, which show what they did or end
/// with an error, and leave it alone.
pub fn machine_opens_again_beside_a_view<H: DurableHarness>() {
    run::<H>("machine_opens_again_beside_a_view", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 40), History::<H>::drawn(&mut rng, 20));
        let mut life = Life::new(&history);
        for round in 0..4 {
            life.apply(3);
            let at = life.at.clone();
            let (frozen, second) = (view(&life.machine), view(&life.machine));
            life.apply(2);
            if round == 3 {
                life.restore(&other.point(9));
            }
            life.flush();
            life = life.reopen();
            life.check(&format!("round {round}, opened beside views"));
            let record = H::Machine::applied(&frozen);
            // It may have ended with the machine.
            let when = "in a view of what was closed";
            drop((record.map_err(told)).and_then(|_| at.check_view_alone(frozen, when)));
            life.check_now("a view of what was closed has ended");
            life.apply(3);
            drop(second);
            life.check_now("the last view of what was closed has ended");
            life.flush();
            life = life.crash();
            life.check(&format!("round {round}, after a power cut"));
        }
    });
}

/// The next deadline is that of the state, whichever way the machine came to it.
pub fn deadline_is_that_of_the_state<H: DurableHarness>() {
    run::<H>("deadline_is_that_of_the_state", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 80), History::<H>::drawn(&mut rng, 80));
        let mut life = Life::new(&history);
        for round in 0..12 {
            life.apply(rng.draw(1..6));
            life.check_deadline("after a batch");
            life.flush();
            life = if round % 2 == 0 { life.reopen() } else { life.crash() };
            life.check(&format!("round {round}"));
            life.check_deadline("opened again");
            if round == 5 {
                life.restore(&other.point(12));
                life.check_deadline("restored");
            }
        }
    });
}
