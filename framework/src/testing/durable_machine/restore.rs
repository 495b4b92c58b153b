//! Cases about states that are restored.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::history::{History, Point, told_record};
use super::life::{Life, told, view};
use super::points::at_every_point;
use super::{DurableHarness, run};
use crate::state_machine::DurableStateMachine;
use crate::testing::Seeded;
use crate::testing::run::doing;

/// A power cut while a state is restored leaves the old one or the new one, with its record; and the new
/// one once the call has returned.
pub fn restore_is_whole_or_not_at_all_after_crash<H: DurableHarness>() {
    run::<H>("restore_is_whole_or_not_at_all_after_crash", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 20), History::<H>::drawn(&mut rng, 40));
        let fresh = || Life::new(&history);
        let used = || {
            let mut life = Life::new(&history);
            life.apply(5);
            life.flush();
            life.apply(2);
            life
        };
        for (place, begun) in [("a fresh place", &fresh as &dyn Fn() -> Life<H>), ("a used place", &used)] {
            let mut life = begun();
            life.restore(&other.point(30));
            life = life.crash();
            life.check(&format!("the power failed once a state was restored into {place}"));
            at_every_point::<H>(&mut rng, |points| {
                let mut life = begun();
                H::cut_power_after(&life.place, points);
                let restored = life.try_restore(&other.point(30));
                life = life.crash();
                life.check(&format!("the power failed after {points} operations of a restore into {place}"));
                life.apply(3);
                restored.map_err(told)
            });
        }
    });
}

/// What is applied, flushed and lost after a restore goes on from the restored state.
pub fn restored_state_goes_on<H: DurableHarness>() {
    run::<H>("restored_state_goes_on", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 80), History::<H>::drawn(&mut rng, 80));
        let mut life = Life::new(&history);
        life.apply_in_batches(&mut rng, 8, 4);
        // Another log, and then the same one farther on.
        for (ahead, flushes) in [(15, true), (30, false), (45, true)] {
            life.restore(&other.point(ahead));
            life.apply_in_batches(&mut rng, 7, 3);
            if flushes {
                life.flush();
            }
            life = life.crash();
            life.check(&format!("restored at {ahead}, gone on, and the power failed"));
            life.apply(2);
            life.flush();
            life = life.reopen();
            life.check(&format!("restored at {ahead}, gone on, and opened again"));
            life.apply(1);
        }
    });
}

/// An input that waits in its middle until it is told to go on.
struct Waiting<'a> {
    left: &'a [u8],
    /// How much is left in its middle.
    middle: usize,
    waits: Option<(Sender<()>, Receiver<()>)>,
}

impl Read for Waiting<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left.len() <= self.middle
            && let Some((reached, go_on)) = self.waits.take()
        {
            let _ = reached.send(());
            // Told so by the end of the sender.
            let _ = go_on.recv();
        }
        let first_half = self.left.len().saturating_sub(self.middle);
        let most = if first_half > 0 { first_half } else { self.left.len() };
        let len = out.len().min(most);
        self.left.read(&mut out[..len])
    }
}

/// Fails unless what the machine shows is the old state or the new one; says whether it is the new.
fn look<H: DurableHarness>(machine: &H::Machine, known: [&Point<H>; 2], when: &str) -> bool {
    let view = view(machine);
    let record = H::Machine::applied(&view).unwrap_or_else(|error| panic!("no record: {}", told(error)));
    let new = known.iter().position(|point| point.has_record(record.as_ref()));
    let new = new.unwrap_or_else(|| panic!("{when}: the record is {}", told_record(record.as_deref())));
    let checked = known[new].check_state(machine, view, when);
    checked.unwrap_or_else(|error| panic!("{when}: the state cannot be read: {error}"));
    new == 1
}

/// Views are opened, and queries answered, while a state is restored: from the old one, and once from
/// the new one, from that.
pub fn queries_are_answered_beside_a_restore<H: DurableHarness>() {
    run::<H>("queries_are_answered_beside_a_restore", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 20), History::<H>::drawn(&mut rng, 30));
        let mut life = Life::new(&history);
        life.apply(8);
        life.flush();
        let new = other.point(25);
        let (machine, known) = (&life.machine, [&life.at, &new]);
        let (kept, state) = (new.kept(), &new.state()[..]);
        doing("query beside a restore");
        thread::scope(|scope| {
            let ((reached, middle), (go_on, told_to)) = (channel(), channel());
            let mut input =
                Waiting { left: state, middle: state.len().div_ceil(2), waits: Some((reached, told_to)) };
            let restoring = scope.spawn(move || machine.restore(kept, &mut input).map_err(told));
            if middle.recv().is_ok() {
                let new = look(machine, known, "half of a state was read");
                assert!(!new, "half of a state was read, and its record is there");
            }
            drop(go_on);
            let mut was_new = false;
            while !restoring.is_finished() {
                let new = look(machine, known, "the rest of a state was read");
                assert!(new || !was_new, "the old state came back");
                was_new = new;
                thread::yield_now();
            }
            let restored = restoring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            restored.unwrap_or_else(|error| panic!("a state of this machine: {error}"));
        });
        assert!(look(machine, known, "restored"), "restored, and the old state is there");
    });
}
