//! The kit for machines on a disk.
//!
//! What such a machine does with commands and queries is for the kit of [state
//! machines](super::state_machine), which drives it through
//! [`Durably`](super::state_machine::Durably). This one is about its disk: a harness says where a machine
//! lives, how to open it there, and how to cut the power under it, as
//! [`CrashHarness`](super::storage::CrashHarness) does for a storage.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! # use bytes::Bytes;
//! use quorate::error::BoxError;
//! use quorate::testing::Seeded;
//! use quorate::testing::durable_machine::DurableHarness;
//!
//! # use std::collections::BTreeMap;
//! # use std::io::{Read, Write};
//! # use quorate::error::{DecodeError, EncodeError, RestoreError};
//! # use quorate::state_machine::{
//! #     AnyMachine, ApplyContext, ArgumentReader, ArgumentWriter, DurableStateMachine, Keep, Kept, QueryContext,
//! #     Replicated, Row, Wire, read_postcard, write_postcard,
//! # };
//! # struct Number(u64);
//! # impl Wire for Number {
//! #     fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
//! #         ArgumentWriter::new(out, 1, "number").argument("n", &self.0)
//! #     }
//! #     fn decode(input: &[u8]) -> Result<Self, DecodeError> {
//! #         let mut reader = ArgumentReader::new(input)?.item("number");
//! #         let number = Self(reader.argument("n")?);
//! #         reader.finish()?;
//! #         Ok(number)
//! #     }
//! #     fn label(&self) -> &'static str { "number" }
//! # }
//! # #[derive(Clone, Default)]
//! # struct State { sum: u64, record: Option<Bytes>, rows: BTreeMap<Bytes, Bytes> }
//! # impl State {
//! #     fn keep(&mut self, kept: Kept) {
//! #         self.record = Some(kept.record);
//! #         for Row { key, value } in kept.rows {
//! #             match value {
//! #                 Some(value) => self.rows.insert(key, value),
//! #                 None => self.rows.remove(&key),
//! #             };
//! #         }
//! #     }
//! # }
//! # #[derive(Default)]
//! # struct Files { seen: State, flushed: State }
//! # struct Sum(Arc<Mutex<Files>>);
//! # impl Replicated for Sum {
//! #     const NAME: &'static str = "sum";
//! #     const VERSION: u32 = 1;
//! #     type Command = Number;
//! #     type Response = Number;
//! #     type Query = Number;
//! #     type Answer = Number;
//! #     fn into_machine(self) -> AnyMachine { AnyMachine::on_disk(self) }
//! # }
//! # impl DurableStateMachine for Sum {
//! #     type View = State;
//! #     type Error = BoxError;
//! #     fn apply(
//! #         &self,
//! #         commands: &mut dyn Iterator<Item = (ApplyContext, Number)>,
//! #         keep: Keep<'_, Number>,
//! #     ) -> Result<(), BoxError> {
//! #         let mut state = self.view()?;
//! #         let responses = commands.map(|(_, Number(n))| { state.sum += n; Number(state.sum) }).collect();
//! #         state.keep(keep(responses));
//! #         self.0.lock().unwrap().seen = state;
//! #         Ok(())
//! #     }
//! #     fn flush(&self) -> Result<(), BoxError> {
//! #         let mut files = self.0.lock().unwrap();
//! #         files.flushed = files.seen.clone();
//! #         Ok(())
//! #     }
//! #     fn view(&self) -> Result<State, BoxError> { Ok(self.0.lock().unwrap().seen.clone()) }
//! #     fn applied(view: &State) -> Result<Option<Bytes>, BoxError> { Ok(view.record.clone()) }
//! #     fn rows(view: &State, row: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), BoxError> {
//! #         view.rows.iter().for_each(|(key, value)| row(key, value));
//! #         Ok(())
//! #     }
//! #     fn query(&self, view: &State, _: &QueryContext, Number(n): Number) -> Result<Number, BoxError> {
//! #         Ok(Number(view.sum + n))
//! #     }
//! #     fn write(view: State, out: &mut dyn Write) -> std::io::Result<()> { write_postcard(&view.sum, out) }
//! #     fn restore(&self, kept: Kept, input: &mut dyn Read) -> Result<(), RestoreError> {
//! #         let mut state = State { sum: read_postcard(input)?, ..State::default() };
//! #         state.keep(kept);
//! #         *self.0.lock().unwrap() = Files { seen: state.clone(), flushed: state };
//! #         Ok(())
//! #     }
//! # }
//! struct MyHarness;
//!
//! impl DurableHarness for MyHarness {
//!     type Machine = Sum;
//!     /// Of a machine on real files: a disk in memory that is under them in tests.
//!     type Place = Arc<Mutex<Files>>;
//!
//!     fn place() -> Self::Place {
//!         Self::Place::default()
//!     }
//!
//!     fn open(place: &Self::Place) -> Result<Sum, BoxError> {
//!         Ok(Sum(place.clone()))
//!     }
//!
//!     fn crash(place: &mut Self::Place, machine: Option<Sum>) {
//!         drop(machine);
//!         let mut files = place.lock().unwrap();
//!         files.seen = files.flushed.clone();
//!     }
//!
//!     fn command(rng: &mut Seeded) -> Number {
//!         Number(rng.draw(1..1000))
//!     }
//!
//!     fn query(rng: &mut Seeded) -> Option<Number> {
//!         Some(Number(rng.draw(0..10)))
//!     }
//! }
//!
//! quorate::durable_machine_conformance!(MyHarness);
//!
//! // Each case is a function too.
//! for (name, case) in quorate::testing::durable_machine::functions::<MyHarness>() {
//!     println!("{name}");
//!     case();
//! }
//! ```
//!
//! The disk of a place has room for all that the kit does.
//!
//! # What a machine is compared with
//!
//! Each case draws a log: entries of several commands, of one, and of none, as those about elections and
//! members are. One machine applies it straight through, entry by entry, and is never closed. Whatever a
//! case then does to another, with batches of other sizes, restores, deaths and power cuts, that one must
//! give the same responses, and be at the state that its record tells. States are compared by the answers
//! to queries, and by what they write, unless [`DurableHarness::SAME_STATES`] says otherwise. So are the rows
//! that every batch stores beside them, in every case: some of them change often, and most come and go.
//!
//! # Every point
//!
//! With [`DurableHarness::cut_power_after`] the power fails, and the process dies, before every single
//! operation of a short life: of the first 400, and of up to 400 more that are drawn from those behind
//! them, one from each part of the rest. How many operations there are is printed beside the seed. The
//! kit looks at no clock for this: how long a case takes is how long so many lives take.
//!
//! # Threads
//!
//! Two cases look, and flush, in the midst of a batch: the commands of that come one by one, and before
//! each the others have their turn. How long that is waited for is bounded, as a machine may keep them
//! waiting for the end of the batch: on a busy computer a mistake may be missed now and then. What happens between two operations of the machine itself is seen by chance alone.
//!
//! # What the kit cannot see
//!
//! A full disk and what a machine says of it, damaged files, and two processes on one place: they are for
//! the machine's own tests.

mod batches;
mod beside;
mod crash;
mod failing;
mod history;
mod life;
mod opening;
mod points;
mod restore;
mod room;
mod rows;
mod views;

use std::time::Duration;

pub use self::batches::*;
pub use self::beside::*;
pub use self::crash::*;
pub use self::failing::*;
pub use self::opening::*;
pub use self::restore::*;
pub use self::room::*;
pub use self::rows::*;
pub use self::views::*;
use super::Seeded;
use crate::error::BoxError;
use crate::state_machine::{DurableStateMachine, Replicated};

/// How the kit gets at the machine under test.
pub trait DurableHarness: 'static {
    /// The machine under test.
    type Machine: DurableStateMachine;
    /// Where one lives. Dropped at the end of a case.
    type Place: Send + 'static;

    /// Whether equal states write equal bytes. A machine that keeps a `HashMap` and writes it as it
    /// comes says `false`; then only the answers to queries are compared, which may miss a difference
    /// that none of them shows.
    const SAME_STATES: bool = true;
    /// How long one case may take before it counts as hanging, and four times as long as one step of it
    /// may.
    const LIMIT: Duration = Duration::from_mins(2);

    /// A new, empty place.
    fn place() -> Self::Place;

    /// Opens the machine in `place`: a fresh one, or the one that was there before.
    fn open(place: &Self::Place) -> Result<Self::Machine, BoxError>;

    /// Cuts the power under `machine`: what was not flushed by now is lost or torn. The place is then
    /// opened again.
    ///
    /// `None` when there is no machine any more: it did not open, as when the power that
    /// [`Self::cut_power_after`] takes away failed meanwhile, or [`Self::kill`] could only close it. Then
    /// only the place comes back to life.
    fn crash(place: &mut Self::Place, machine: Option<Self::Machine>);

    /// Ends the process of `machine`, which gets no time to flush or close anything, and gives the place
    /// its power back. What was written and not flushed is in the memory of the operating system: who
    /// opens the place finds it, and a later [`Self::crash`] may take it. Returns whether this harness can
    /// do that, which needs a disk of its own under the machine; the default cannot, and then the kit
    /// closes the machine without a flush. `None` as with [`Self::crash`].
    fn kill(place: &mut Self::Place, machine: Option<Self::Machine>) -> bool {
        let _ = place;
        if let Some(machine) = machine {
            machine.close();
        }
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
                fresh_machine_has_no_record
                state_and_record_are_of_one_batch_after_crash
                flushed_batches_survive_crash
                batches_applied_again_answer_the_same
                what_was_found_is_flushed_too
                opening_survives_a_power_cut
                view_stays_as_it_was
                views_are_whole_beside_apply
                flush_beside_apply_is_of_whole_batches
                machine_opens_again_beside_a_view
                deadline_is_that_of_the_state
                restore_is_whole_or_not_at_all_after_crash
                failed_restore_keeps_the_old_state
                what_is_no_state_is_not_restored
                restored_state_goes_on
                removed_rows_are_gone
                rows_survive_a_flush_and_another_opening
                restore_replaces_the_rows
                queries_are_answered_beside_a_restore
                working_machine_has_not_failed
                what_is_restored_had_room
            ]
        }
    };
}
