//! Cases about states that cannot be restored.

use std::io::{self, Read};

use super::history::{History, Point};
use super::life::{Life, told, view};
use super::{DurableHarness, rows, run};
use crate::state_machine::{DurableStateMachine, RestoreError};
use crate::testing::Seeded;
use crate::testing::run::doing;

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

fn try_restore<H: DurableHarness>(
    life: &Life<H>,
    new: &Point<H>,
    mut input: impl Read,
    what: &str,
) -> Result<(), RestoreError> {
    doing(format!("restore from {what}"));
    life.machine.restore(new.kept(), &mut input)
}

/// A restore whose input fails is an error, and leaves state and record as they were, also when the power
/// fails next.
pub fn failed_restore_keeps_the_old_state<H: DurableHarness>() {
    run::<H>("failed_restore_keeps_the_old_state", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 40), History::<H>::drawn(&mut rng, 12));
        let (mut life, new) = (Life::new(&history), other.point(12));
        life.apply(5);
        let whole = new.state().len();
        for flushes in [false, true] {
            for len in [0, 1, whole / 2, whole - 1] {
                let what = format!("an input that fails after {len} of {whole} bytes");
                let restored = try_restore(&life, &new, Failing(&new.state()[..len]), &what);
                assert!(restored.is_err(), "{what} was restored");
                life.check_now(&what);
                if flushes {
                    life.apply(2);
                    life.flush();
                }
                life = life.crash();
                life.check(&format!("{what}, and the power failed"));
                life.apply(2);
            }
        }
    });
}

/// An input that is no state is an error, and leaves state and record as they were. One that is cut off
/// may be a smaller state, as with rows that just end: then it is restored as that.
pub fn what_is_no_state_is_not_restored<H: DurableHarness>() {
    run::<H>("what_is_no_state_is_not_restored", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 20), History::<H>::drawn(&mut rng, 12));
        let (mut life, new) = (Life::new(&history), other.point(12));
        life.apply(5);
        life.flush();
        life.apply(2);
        let (whole, old) = (new.state(), life.at.clone());
        let mut inputs: Vec<(String, Vec<u8>, bool)> = Vec::new();
        for len in [0, 1, whole.len() / 2, whole.len() - 1, rng.draw(0..whole.len() as u64) as usize] {
            inputs.push((format!("the first {len} of {} bytes", whole.len()), whole[..len].to_vec(), true));
        }
        for _ in 0..4 {
            let at = rng.draw(0..whole.len() as u64) as usize;
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << rng.draw(0..8);
            inputs.push((format!("a state with a bit of byte {at} flipped"), flipped, false));
        }
        inputs.push(("a state with more behind it".to_owned(), [&whole[..], &[0; 3]].concat(), false));
        inputs.push(("bytes that are all ones".to_owned(), vec![0xff; whole.len() + 16], false));
        inputs.push(("bytes at random".to_owned(), rng.bytes(1..200).to_vec(), false));
        for (what, input, cut_off) in inputs {
            if try_restore(&life, &new, &input[..], &what).is_err() {
                life.check_now(&what);
                life = life.crash();
                life.check(&format!("{what}, and the power failed"));
            } else {
                let view = view(&life.machine);
                let record = H::Machine::applied(&view).unwrap_or_else(|error| panic!("{}", told(error)));
                assert!(new.has_record(record.as_ref()), "{what}: restored, and the record is another one");
                let rows = rows::read::<H::Machine>(&view).unwrap_or_else(|error| panic!("{what}: {error}"));
                new.check_rows(&rows, &format!("{what}: restored"));
                let mut bytes = Vec::new();
                H::Machine::write(view, &mut bytes).unwrap_or_else(|error| panic!("{what}: {}", told(error)));
                assert!(
                    !H::SAME_STATES || !cut_off || bytes == input,
                    "{what}: restored, as a state that writes other bytes"
                );
            }
            life.check_health(&what);
            // As far as it was, if that was lost.
            life.restore(&old);
        }
    });
}
