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
//!     fn kill(disk: &mut Disk, machine: Self::Machine) -> bool { .. }
//!     fn cut_power_after(disk: &Disk, points: u64) -> bool { .. }
//!     fn command(rng: &mut Seeded) -> LedgerCommand { .. }
//!     fn query(rng: &mut Seeded) -> Option<LedgerQuery> { .. }
//! }
//!
//! quorate::durable_machine_conformance!(MyHarness);
//! ```
//!
//! # What a machine is compared with
//!
//! Each case draws a log: entries of several commands, of one, and of none, as those about elections and
//! members are. One machine applies it straight through, entry by entry, and is never closed. Whatever a
//! case then does to another, with batches of other sizes, restores, deaths and power cuts, that one must
//! give the same responses, and be at the state that its record tells. States are compared by what they
//! write: a machine writes the same bytes of the same state.
//!
//! # Every point
//!
//! With [`DurableHarness::cut_power_after`] the power fails, and the process dies, before every single
//! operation of a short life. When that has more operations than a case has time for, as many are drawn
//! evenly from all of them, and how many there were is printed beside the seed.
//!
//! # What the kit cannot see
//!
//! A full disk, damaged files, two processes on one place, a power cut while the machine is being opened,
//! and what [`DurableStateMachine::health`] and [`DurableStateMachine::room_for`] tell: they are for the
//! machine's own tests.

mod batches;
mod crash;
mod history;
mod life;
mod points;
mod restore;
mod views;

use std::time::Duration;

pub use self::batches::*;
pub use self::crash::*;
pub use self::restore::*;
pub use self::views::*;
use super::Seeded;
use crate::state_machine::{DurableStateMachine, Replicated};

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

    /// Ends the process of `machine`, which gets no time to flush or close anything, and gives the place
    /// its power back. What was written and not flushed is in the memory of the operating system: who
    /// opens the place finds it, and a later [`Self::crash`] may take it. Returns whether this harness can
    /// do that, which needs a disk of its own under the machine; the default cannot, and then the kit
    /// closes the machine without a flush.
    fn kill(place: &mut Self::Place, machine: Self::Machine) -> bool {
        let _ = place;
        machine.close();
        false
    }

    /// Lets the power last for `points` more operations that change the disk of `place`; those after them
    /// fail and reach nothing, until [`Self::crash`] or [`Self::kill`] brings the place back. Returns
    /// whether this harness can do that; the default cannot, and then the power fails only between two
    /// calls.
    fn cut_power_after(place: &Self::Place, points: u64) -> bool {
        let _ = (place, points);
        false
    }

    /// A command, the same for the same draws. Most must change the state.
    fn command(rng: &mut Seeded) -> <Self::Machine as Replicated>::Command;

    /// A query, the same for the same draws; `None` when the machine has no queries.
    fn query(rng: &mut Seeded) -> Option<<Self::Machine as Replicated>::Query>;
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
                batches_of_any_size_come_to_the_same
                batch_without_commands_moves_the_record
                state_and_record_are_of_one_batch_after_crash
                flushed_batches_survive_crash
                batches_applied_again_answer_the_same
                what_was_found_is_flushed_too
                view_stays_as_it_was
                machine_opens_again_beside_a_view
                deadline_is_that_of_the_state
                restore_is_whole_or_not_at_all_after_crash
                failed_restore_keeps_the_old_state
                restored_state_goes_on
                queries_are_answered_beside_a_restore
            ]
        }
    };
}
