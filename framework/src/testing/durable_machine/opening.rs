//! Cases about the opening of a machine.

use super::history::History;
use super::life::{Closed, End, Life, view};
use super::points::at_every_point;
use super::{DurableHarness, run};
use crate::testing::Seeded;

/// A machine that has applied nothing has no record, whatever else is done with it.
pub fn fresh_machine_has_no_record<H: DurableHarness>() {
    run::<H>("fresh_machine_has_no_record", || {
        let history = History::<H>::drawn(&mut Seeded::announced(), 20);
        let mut life = Life::new(&history);
        life.check_now("opened in an empty place");
        life.check_deadline("opened in an empty place");
        life.flush();
        life.check_now("flushed before anything was applied");
        life = life.reopen();
        life.check_now("nothing was applied, and it was opened again");
        life = life.kill();
        life.check_now("nothing was applied, and the process ended");
        life.flush();
        life = life.crash();
        life.check_now("nothing was applied, and the power failed");
        life.check_deadline("nothing was applied, and the power failed");
        let before = view(&life.machine);
        life.apply(3);
        let checked = history.point(0).check_view(&life.machine, before, "in a view of what was fresh");
        checked.unwrap_or_else(|error| panic!("a view that is open cannot be read: {error}"));
    });
}

/// Opens a machine with the power or the process at such an end on the way, and perhaps once more; then it
/// must be what it was, and go on. An error when it did not open the first time.
fn opened_at_last<H: DurableHarness>(
    closed: Closed<H>,
    points: Option<u64>,
    end: End,
    rng: &mut Seeded,
    when: &str,
) -> Result<(), String> {
    let (mut closed, opened) = closed.open_and_end(points, end);
    if rng.one_in(2) {
        let fewer = points.map(|points| rng.draw(0..points + 1));
        let (again, reopened) = closed.open_and_end(fewer, End::drawn(rng));
        if points.is_none() {
            reopened.unwrap_or_else(|error| panic!("{when}, and it does not open again: {error}"));
        }
        closed = again;
    }
    let mut life = closed.open();
    life.check(&format!("{when}, and it was opened"));
    life.apply(2);
    life.flush();
    life = life.crash();
    life.check(&format!("{when}, it was opened and flushed, and the power failed again"));
    opened
}

/// When the power fails, or the process dies, while a machine is opened, at whatever point, its place opens
/// again, and has what was flushed: an empty place, and one with batches, flushed and not.
pub fn opening_survives_a_power_cut<H: DurableHarness>() {
    run::<H>("opening_survives_a_power_cut", || {
        let mut rng = Seeded::announced();
        let history = History::<H>::drawn(&mut rng, 30);
        let used = |end| {
            let mut life = Life::new(&history);
            life.apply(4);
            life.flush();
            life.apply(2);
            life.apply(3);
            life.end(end)
        };
        let places: [(&str, &dyn Fn() -> Closed<H>); 3] = [
            ("an empty place", &|| Closed::empty(&history)),
            ("a place after a power cut", &|| used(End::Crash)),
            ("a place after the death of a process", &|| used(End::Kill)),
        ];
        for (place, begun) in places {
            for end in [End::Crash, End::Kill, End::Crash, End::Kill] {
                let when = format!("{end:?} once a machine was opened in {place}");
                let opened = opened_at_last(begun(), None, end, &mut rng, &when);
                opened.unwrap_or_else(|error| panic!("the machine does not open in {place}: {error}"));
            }
            let seed = rng.next_u64();
            at_every_point::<H>(&mut rng, |points| {
                let mut rng = Seeded::new(seed ^ points);
                let [crashed, killed] = [End::Crash, End::Kill].map(|end| {
                    let when = format!("{end:?} after {points} operations of an opening in {place}");
                    opened_at_last(begun(), Some(points), end, &mut rng, &when)
                });
                crashed.and(killed)
            });
        }
    });
}
