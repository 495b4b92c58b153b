//! Cases about states that are restored.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::history::{History, Point, told_record};
use super::life::{Life, told, view, written};
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
        let begun = || {
            let mut life = Life::new(&history);
            life.apply(5);
            life.flush();
            life.apply(2);
            life
        };
        let mut life = begun();
        life.restore(&other.point(30));
        life = life.crash();
        life.check("the power failed once the state was restored");
        at_every_point::<H>(&mut rng, |points| {
            let mut life = begun();
            H::cut_power_after(&life.place, points);
            let restored = life.try_restore(&other.point(30));
            life = life.crash();
            life.check(&format!("the power failed after {points} operations of a restore"));
            life.apply(3);
            restored.is_ok()
        });
    });
}

/// Gives so many bytes and then fails.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 if !out.is_empty() => Err(io::Error::other("the input fails here")),
            len => Ok(len),
        }
    }
}

/// A restore whose input fails is an error, and leaves state and record as they were.
pub fn failed_restore_keeps_the_old_state<H: DurableHarness>() {
    run::<H>("failed_restore_keeps_the_old_state", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 20), History::<H>::drawn(&mut rng, 12));
        let (mut life, new) = (Life::new(&history), other.point(12));
        life.apply(5);
        let whole = new.state().len();
        let record = new.record().expect("of an entry");
        for len in [0, 1, whole / 2, whole - 1] {
            doing(format!("restore from an input that fails after {len} bytes"));
            let restored = life.machine.restore(&record, &mut Failing(&new.state()[..len]));
            assert!(restored.is_err(), "an input that failed after {len} of {whole} bytes was restored");
            life.check_now(&format!("an input failed after {len} bytes"));
            life.apply(2);
        }
        life.flush();
        life = life.crash();
        life.check("after a crash");
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
fn look<H: DurableHarness>(
    machine: &H::Machine,
    known: &[(&Point<H>, &[Vec<u8>]); 2],
    seed: u64,
    when: &str,
) -> bool {
    let view = view(machine);
    let record = H::Machine::applied(&view).unwrap_or_else(|error| panic!("no record: {}", told(error)));
    let new = known.iter().position(|(point, _)| point.has_record(record.as_ref()));
    let new = new.unwrap_or_else(|| panic!("{when}: the record is {}", told_record(record.as_deref())));
    let (point, answers) = known[new];
    assert!(
        point.answers(machine, &view, seed) == answers,
        "{when}: the record is {point}, and a query has another answer"
    );
    assert!(
        written::<H::Machine>(view) == *point.state(),
        "{when}: the record is {point}, and the state is another one"
    );
    new == 1
}

/// Views are opened, and queries answered, while a state is restored: from the old one, and once from
/// the new one, from that.
pub fn queries_are_answered_beside_a_restore<H: DurableHarness>() {
    run::<H>("queries_are_answered_beside_a_restore", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 20), History::<H>::drawn(&mut rng, 30));
        let (mut life, mut twin) = (Life::new(&history), Life::new(&other));
        life.apply(8);
        life.flush();
        twin.apply(25);
        let seed = rng.next_u64();
        let answers = |life: &Life<H>| life.at.answers(&life.machine, &view(&life.machine), seed);
        let (old, new) = (answers(&life), answers(&twin));
        let known = [(&life.at, &old[..]), (&twin.at, &new[..])];
        let (machine, record) = (&life.machine, twin.at.record().expect("of an entry"));
        let state = &twin.at.state()[..];
        doing("query beside a restore");
        thread::scope(|scope| {
            let ((reached, middle), (go_on, told_to)) = (channel(), channel());
            let mut input =
                Waiting { left: state, middle: state.len().div_ceil(2), waits: Some((reached, told_to)) };
            let restoring = scope.spawn(move || machine.restore(&record, &mut input).map_err(told));
            if middle.recv().is_ok() {
                let new = look(machine, &known, seed, "half of a state was read");
                assert!(!new, "half of a state was read, and its record is there");
            }
            drop(go_on);
            let mut was_new = false;
            while !restoring.is_finished() {
                let new = look(machine, &known, seed, "the rest of a state was read");
                assert!(new || !was_new, "the old state came back");
                was_new = new;
                thread::yield_now();
            }
            let restored = restoring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            restored.unwrap_or_else(|error| panic!("a state of this machine: {error}"));
        });
        assert!(look(machine, &known, seed, "restored"), "restored, and the old state is there");
    });
}
