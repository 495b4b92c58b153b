//! The kit for machines on a disk.
//!
//! What such a machine does with commands and queries is for the kit of [state
//! machines](super::state_machine), which drives it through
//! [`Durably`](super::state_machine::Durably). This one is about its disk: a harness says where a machine
//! lives, how to open it there, and how to cut the power under it, as
//! [`CrashHarness`](super::storage::CrashHarness) does for a storage.
//!
//! ```text
//! impl DurableHarness for MyHarness {
//!     type Machine = RedbMachine<Ledger>;
//!     type Place = Disk;
//!
//!     fn place() -> Disk { Disk::default() }
//!     fn open(disk: &Disk) -> Self::Machine { .. }
//!     fn crash(disk: &mut Disk, machine: Self::Machine) { .. }
//!     fn command(rng: &mut Seeded) -> LedgerCommand { .. }
//! }
//!
//! quorate::durable_machine_conformance!(MyHarness);
//! ```
//!
//! States are compared by what they write: a machine writes the same bytes of the same state.

use std::io::{self, Read};
use std::time::Duration;

use super::Seeded;
use super::run::doing;
use crate::error::BoxError;
use crate::state_machine::{ApplyContext, DurableStateMachine, Replicated, RestoreError};
use crate::types::{ClusterId, GroupId, LogIndex, LogTime, Position, Term};

/// How the kit gets at the machine under test.
pub trait DurableHarness: 'static {
    /// The machine under test.
    type Machine: DurableStateMachine;
    /// Where one lives. Dropped at the end of a case.
    type Place: Send + 'static;

    /// How long one case may take before it counts as hanging, and four times as long as one step of it
    /// may.
    const LIMIT: Duration = Duration::from_mins(2);

    /// A new, empty place.
    fn place() -> Self::Place;

    /// Opens the machine in `place`: a fresh one, or the one that was there before.
    fn open(place: &Self::Place) -> Self::Machine;

    /// Cuts the power under `machine`: what was not flushed by now is lost or torn. The place is then
    /// opened again.
    fn crash(place: &mut Self::Place, machine: Self::Machine);

    /// Lets the power last for `points` more operations that change the disk of `place`; those after them
    /// fail and reach nothing, until [`Self::crash`] brings the place back. Returns whether this harness
    /// can do that; the default cannot, and then the power fails only between two calls.
    fn cut_power_after(place: &Self::Place, points: u64) -> bool {
        let _ = (place, points);
        false
    }

    /// A command, the same for the same draws.
    fn command(rng: &mut Seeded) -> <Self::Machine as Replicated>::Command;
}

fn run<H: DurableHarness>(case: &str, body: fn()) {
    super::run::run(case, H::LIMIT, body);
}

crate::__durable_machine_cases!(__conformance_names);

/// The names of every case.
pub fn cases() -> impl Iterator<Item = &'static str> {
    CASES.iter().copied()
}

/// Every case with its name, for those who test the kit itself.
pub fn functions<H: DurableHarness>() -> Vec<(&'static str, fn())> {
    crate::__durable_machine_cases!(__conformance_functions[H])
}

/// Makes a `#[test]` of every case that a machine on a disk must pass; see
/// [`testing::durable_machine`](crate::testing::durable_machine).
#[macro_export]
macro_rules! durable_machine_conformance {
    ($harness:ty) => {
        $crate::__durable_machine_cases!(__durable_machine_tests[$harness]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __durable_machine_tests {
    ([$harness:ty] [CASES: $($case:ident)*]) => {
        $(#[test] fn $case() { $crate::testing::durable_machine::$case::<$harness>(); })*
    };
}

/// Calls a macro with the names of every case.
#[doc(hidden)]
#[macro_export]
macro_rules! __durable_machine_cases {
    ($then:ident $($args:tt)*) => {
        $crate::$then! {
            $($args)*
            [CASES:
                two_machines_come_to_the_same
                state_and_record_are_of_one_batch_after_crash
                flushed_batches_survive_crash
                view_stays_as_it_was
                restore_is_whole_or_not_at_all_after_crash
                failed_restore_keeps_the_old_state
            ]
        }
    };
}

/// The most write points that a case goes through.
const POINTS: u64 = 400;

/// A machine, and what it was after each number of batches.
struct Life<H: DurableHarness> {
    place: H::Place,
    machine: H::Machine,
    written: Vec<Vec<u8>>,
}

fn told(error: impl Into<BoxError>) -> String {
    error.into().to_string()
}

fn view<M: DurableStateMachine>(machine: &M) -> M::View {
    machine.view().unwrap_or_else(|error| panic!("no view: {}", told(error)))
}

fn written<M: DurableStateMachine>(view: M::View) -> Vec<u8> {
    let mut bytes = Vec::new();
    M::write(view, &mut bytes).expect("a state can be written to memory");
    bytes
}

/// The number in the record; 0 without one.
fn record<M: DurableStateMachine>(view: &M::View) -> u64 {
    let record = M::applied(view).unwrap_or_else(|error| panic!("no record: {}", told(error)));
    let number =
        |record: &[u8]| record.try_into().map(u64::from_le_bytes).expect("the record as it was given");
    record.map_or(0, |record| number(&record))
}

impl<H: DurableHarness> Life<H> {
    fn new() -> Self {
        let place = H::place();
        let machine = H::open(&place);
        let first = written::<H::Machine>(view(&machine));
        Self { place, machine, written: vec![first] }
    }

    /// How many batches were applied.
    fn applied(&self) -> u64 {
        self.written.len() as u64 - 1
    }

    fn try_apply(&mut self, rng: &mut Seeded) -> Result<(), String> {
        let number = self.applied() + 1;
        doing(format!("apply batch {number}"));
        let count = rng.draw(1..8);
        let mut commands = (0..count).map(|ordinal| {
            let position = Position { index: LogIndex(number), ordinal: ordinal as u32 };
            let time = LogTime::from_micros(number * 100_000);
            let ctx = ApplyContext::new(ClusterId([7; 32]), GroupId::MAIN, Term(1), position, time);
            (ctx, H::command(rng))
        });
        let responses = self.machine.apply(&mut commands, &number.to_le_bytes()).map_err(told)?;
        assert_eq!(responses.len() as u64, count, "the responses to batch {number}");
        // The power may have failed meanwhile.
        let (view, mut bytes) = (self.machine.view().map_err(told)?, Vec::new());
        H::Machine::write(view, &mut bytes).map_err(told)?;
        self.written.push(bytes);
        Ok(())
    }

    fn apply(&mut self, rng: &mut Seeded, batches: u64) {
        for _ in 0..batches {
            self.try_apply(rng).unwrap_or_else(|error| panic!("a batch was not applied: {error}"));
        }
    }

    fn flush(&self) {
        doing("flush");
        self.machine.flush().unwrap_or_else(|error| panic!("not flushed: {}", told(error)));
    }

    fn crash(self) -> Self {
        let Self { mut place, machine, written } = self;
        doing("cut the power");
        H::crash(&mut place, machine);
        doing("open the machine");
        let machine = H::open(&place);
        Self { place, machine, written }
    }

    /// Fails unless the machine is as some batch left it, which is in its record, at least batch number
    /// `flushed`; goes on from there.
    fn check(&mut self, flushed: u64, tried: u64, when: &str) {
        let view = view(&self.machine);
        let found = record::<H::Machine>(&view);
        assert!(
            (flushed..=tried).contains(&found),
            "{when}: the record is of batch {found}, and {flushed} were flushed of {tried}"
        );
        // What was being applied when the power failed may be there, and nothing is known of it.
        if let Some(expected) = self.written.get(found as usize) {
            assert!(
                written::<H::Machine>(view) == *expected,
                "{when}: the record is of batch {found}, and the state is another one"
            );
        }
        self.written.truncate(found as usize + 1);
    }
}

/// The same commands make the same state, whatever was flushed, and wherever the machine lives.
pub fn two_machines_come_to_the_same<H: DurableHarness>() {
    run::<H>("two_machines_come_to_the_same", || {
        let seed = Seeded::announced().next_u64();
        let (mut one, mut other) = (Life::<H>::new(), Life::<H>::new());
        one.apply(&mut Seeded::new(seed), 30);
        let mut rng = Seeded::new(seed);
        for _ in 0..30 {
            other.apply(&mut rng, 1);
            other.flush();
        }
        let differs = one.written.iter().zip(&other.written).position(|(one, other)| one != other);
        assert_eq!(differs, None, "the number of batches after which the states differ");
    });
}

/// After a power cut the state is that after the batch in the record: one that was applied, at least the
/// last one that was flushed.
pub fn state_and_record_are_of_one_batch_after_crash<H: DurableHarness>() {
    run::<H>("state_and_record_are_of_one_batch_after_crash", || {
        let mut rng = Seeded::announced();
        let mut life = Life::<H>::new();
        for round in 0..8 {
            let mut flushed = life.applied();
            for _ in 0..rng.draw(1..12) {
                life.apply(&mut rng, 1);
                if rng.one_in(4) {
                    life.flush();
                    flushed = life.applied();
                }
            }
            let tried = life.applied();
            life = life.crash();
            life.check(flushed, tried, &format!("round {round}"));
            // Where it goes on from is on the disk: what is found at a start is not applied again.
            life.flush();
        }
        let seed = rng.next_u64();
        for points in 0..POINTS {
            let (mut rng, mut life) = (Seeded::new(seed), Life::<H>::new());
            if !H::cut_power_after(&life.place, points) {
                return;
            }
            let (mut flushed, mut failed) = (0, false);
            for number in 1..=6 {
                failed = life.try_apply(&mut rng).is_err();
                if !failed && number % 2 == 0 {
                    failed = life.machine.flush().is_err();
                    flushed = if failed { flushed } else { life.applied() };
                }
                if failed {
                    break;
                }
            }
            let tried = life.applied() + u64::from(failed);
            life = life.crash();
            life.check(flushed, tried, &format!("the power failed after {points} operations"));
            if !failed {
                return;
            }
        }
    });
}

/// What was flushed is there after a power cut.
pub fn flushed_batches_survive_crash<H: DurableHarness>() {
    run::<H>("flushed_batches_survive_crash", || {
        let mut rng = Seeded::announced();
        let mut life = Life::<H>::new();
        for round in 0..10 {
            life.apply(&mut rng, 1 + round % 3);
            life.flush();
            let applied = life.applied();
            life = life.crash();
            life.check(applied, applied, &format!("round {round}"));
        }
    });
}

/// A view and its record stay as they were, whatever is applied, flushed and restored meanwhile.
pub fn view_stays_as_it_was<H: DurableHarness>() {
    run::<H>("view_stays_as_it_was", || {
        let mut rng = Seeded::announced();
        let (mut life, mut other) = (Life::<H>::new(), Life::<H>::new());
        other.apply(&mut rng, 9);
        let another = written::<H::Machine>(view(&other.machine));
        for round in 0..4 {
            life.apply(&mut rng, 3);
            let (at, frozen, second) = (life.applied(), view(&life.machine), view(&life.machine));
            life.apply(&mut rng, 5);
            life.flush();
            life.apply(&mut rng, 2);
            if round == 3 {
                let restored = life.machine.restore(&99_u64.to_le_bytes(), &mut &another[..]);
                restored.expect("a state of this machine");
                assert!(written::<H::Machine>(view(&life.machine)) == another, "the restored state");
            }
            assert_eq!(record::<H::Machine>(&frozen), at, "the record in a view of batch {at}");
            assert!(
                written::<H::Machine>(frozen) == life.written[at as usize],
                "a view of batch {at} shows what came later"
            );
            drop(second);
        }
    });
}

/// A power cut while a state is restored leaves the old one or the new one, with its record; and the new
/// one once the call has returned.
pub fn restore_is_whole_or_not_at_all_after_crash<H: DurableHarness>() {
    run::<H>("restore_is_whole_or_not_at_all_after_crash", || {
        let mut rng = Seeded::announced();
        let mut other = Life::<H>::new();
        other.apply(&mut rng, 12);
        let new = written::<H::Machine>(view(&other.machine));
        let seed = rng.next_u64();
        for points in 0..POINTS {
            let mut life = Life::<H>::new();
            life.apply(&mut Seeded::new(seed), 5);
            life.flush();
            let cuts = H::cut_power_after(&life.place, points);
            doing(format!("restore, and cut the power after {points} operations"));
            let restored = life.machine.restore(&99_u64.to_le_bytes(), &mut &new[..]).is_ok();
            let old = life.written[5].clone();
            life = life.crash();
            let view = view(&life.machine);
            let (record, state) = (record::<H::Machine>(&view), written::<H::Machine>(view));
            let expected = match record {
                99 => &new,
                5 if !restored => &old,
                _ => panic!("after {points} operations the record is {record}; restored: {restored}"),
            };
            assert!(state == *expected, "after {points} operations the state is not that of record {record}");
            if restored || !cuts {
                assert!(restored, "a state of this machine is restored");
                return;
            }
        }
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
        let (mut life, mut other) = (Life::<H>::new(), Life::<H>::new());
        life.apply(&mut rng, 5);
        other.apply(&mut rng, 12);
        let new = written::<H::Machine>(view(&other.machine));
        for len in [0, 1, new.len() / 2, new.len() - 1] {
            let restored: Result<(), RestoreError> =
                life.machine.restore(&99_u64.to_le_bytes(), &mut Failing(&new[..len]));
            assert!(
                restored.is_err(),
                "an input that failed after {len} of {} bytes was restored",
                new.len()
            );
            let applied = life.applied();
            life.check(applied, applied, &format!("an input failed after {len} bytes"));
            life.apply(&mut rng, 1);
        }
        life.flush();
        let applied = life.applied();
        life = life.crash();
        life.check(applied, applied, "after a crash");
    });
}
