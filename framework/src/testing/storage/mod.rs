//! The kit for storage plugins.
//!
//! A harness says what a place is (a directory, most often) and how to open the storage in it:
//!
//! ```
//! use quorate::error::StorageError;
//! use quorate::storage::MemoryStorage;
//! use quorate::testing::storage::StorageHarness;
//!
//! struct MyHarness;
//!
//! impl StorageHarness for MyHarness {
//!     type Storage = MemoryStorage;
//!     /// With a plugin for disks: `tempfile::TempDir`.
//!     type Place = MemoryStorage;
//!
//!     fn place() -> Self::Place {
//!         MemoryStorage::new()
//!     }
//!
//!     async fn open(place: &Self::Place) -> Result<Self::Storage, StorageError> {
//!         Ok(place.clone())
//!     }
//! }
//!
//! quorate::storage_conformance!(MyHarness);
//!
//! // Each case is a function too.
//! quorate::testing::storage::vote_survives_reopen::<MyHarness>();
//! quorate::testing::storage::random_operations_match_a_model::<MyHarness>();
//! ```
//!
//! Opening again is closing the storage, dropping it, and opening it in the same place. As a node
//! does, the kit records an identity before anything else, and opens a group once before it uses it.
//!
//! # Power cuts
//!
//! Whether what was acknowledged survives a power cut is what matters most in a storage, and it cannot
//! be seen on real files: what a process wrote is there after its death, flushed or not. So a plugin
//! that takes the kit seriously has its files behind a small trait, and in tests a disk in memory that
//! keeps two images of each file, the live one and the durable one, which a flush makes equal. A power
//! cut is then: everything is what it was at its last flush, perhaps with some of the unflushed
//! writes in it, torn. [`CrashHarness`] tells the kit how to do that; `storage_conformance!(MyHarness,
//! crash)` runs the cases that need it. Without it they show as ignored, with the reason, so that a
//! report never counts a case that did not run.
//!
//! Such a disk can also count the operations on it, and refuse all from a given one on. With
//! [`CrashHarness::cut_power_after`] the power then fails once at every single operation of a long
//! life, not only between two calls of the kit.
//!
//! # A disk that fails
//!
//! [`FaultHarness`] and `storage_conformance!(MyHarness, faults)`, or both with
//! `storage_conformance!(MyHarness, crash, faults)`, are about flushes that fail. Here is a harness
//! that can do everything:
//!
//! ```
//! use quorate::error::StorageError;
//! use quorate::storage::{MemoryStorage, StorageOperation};
//! use quorate::testing::storage::{CrashHarness, FaultHarness, StorageHarness};
//!
//! struct MyHarness;
//!
//! # impl StorageHarness for MyHarness {
//! #     type Storage = MemoryStorage;
//! #     type Place = MemoryStorage;
//! #     fn place() -> Self::Place { MemoryStorage::new() }
//! #     async fn open(place: &Self::Place) -> Result<Self::Storage, StorageError> { Ok(place.clone()) }
//! # }
//! impl CrashHarness for MyHarness {
//!     async fn crash(place: &mut MemoryStorage, storage: Option<MemoryStorage>) {
//!         *place = storage.as_ref().unwrap_or(place).crash();
//!     }
//! }
//!
//! impl FaultHarness for MyHarness {
//!     fn fail_flushes(_: &MemoryStorage, storage: &MemoryStorage, fail: bool) {
//!         if fail {
//!             storage.fail_next(StorageOperation::Write);
//!         }
//!     }
//! }
//!
//! quorate::storage_conformance!(MyHarness, crash, faults);
//!
//! for (name, case) in quorate::testing::storage::functions::<MyHarness>() {
//!     println!("{name}");
//!     case();
//! }
//! ```
//!
//! # Random sequences
//!
//! Two cases play random sequences of writes, reads, snapshots, restarts and power cuts to the storage
//! and to a model. When the two part, the sequence is shrunk, and the message tells the fewest steps
//! that show the mistake, here of a storage that forgets the marker of some purges:
//!
//! ```text
//! g0: after it was opened again, the purge marker is Some(b"purged in step 1"), expected Some(b"purged in step 3")
//!
//! The fewest steps found that show it (sequence 15 of 32 had 56):
//!    1. g0: purge up to #0, marker b"purged in step 1"
//!    2. g0: truncate from #1
//!    3. g0: purge up to #1, marker b"purged in step 3"
//!    4. at the end: close and open again
//!
//! seed 20: replay with QUORATE_SEED=20
//! ```
//!
//! Bytes name the step that they come from. [`StorageHarness::SEQUENCES`] says how many sequences
//! there are: raise it for a night's run.
//!
//! # What the kit cannot see
//!
//! Damaged files, a full disk, two processes on one directory, the use of memory, and speed: they need
//! to know how a plugin keeps its bytes, and are for its own tests.

mod crash;
mod expected;
mod faults;
mod groups;
mod identity;
mod log;
mod markers;
mod model;
mod played;
mod points;
mod queue;
mod random;
mod read;
mod receipts;
mod removal;
mod resume;
mod snapshots;
mod steps;
mod store;

use std::time::Duration;

pub use self::crash::*;
pub use self::faults::*;
pub use self::groups::*;
pub use self::identity::*;
pub use self::log::*;
pub use self::markers::*;
pub use self::points::*;
pub use self::queue::*;
pub use self::random::*;
pub use self::read::*;
pub use self::receipts::*;
pub use self::removal::*;
pub use self::resume::*;
pub use self::snapshots::*;
use crate::error::StorageError;
use crate::storage::Storage;

/// How the kit gets at the storage under test.
pub trait StorageHarness: 'static {
    /// The storage under test.
    type Storage: Storage;
    /// Where one lives: a directory, a file, a handle. Dropped at the end of a case.
    type Place: Send + 'static;

    /// How long one case may take before it counts as hanging, and four times as long as one step of
    /// it may.
    const LIMIT: Duration = Duration::from_mins(2);
    /// How many sequences each random case draws. More find more, in more time.
    const SEQUENCES: u32 = 32;

    /// A new, empty place.
    fn place() -> Self::Place;

    /// Opens the storage in `place`: a fresh one, or the one that was closed there before.
    fn open(place: &Self::Place) -> impl Future<Output = Result<Self::Storage, StorageError>>;

    /// Runs a case. To be overridden by a plugin that needs a runtime. The kit calls
    /// [`Storage::write`] from other threads too.
    fn block_on<F: Future>(future: F) -> F::Output {
        futures::executor::block_on(future)
    }
}

/// A harness that can cut the power.
pub trait CrashHarness: StorageHarness {
    /// Cuts the power under `storage`: what was not flushed by now is lost or torn, and no receipt
    /// is used with success afterwards. The place is then opened again.
    ///
    /// `None` when the power that [`Self::cut_power_after`] takes away failed while the storage was
    /// being opened: then only the place comes back to life.
    fn crash(place: &mut Self::Place, storage: Option<Self::Storage>) -> impl Future<Output = ()>;

    /// Lets the power last for `points` more operations that change the disk of `place` (writes,
    /// flushes, new lengths and names). Those after them fail and reach nothing, until
    /// [`Self::crash`] brings the place back. The kit goes through all numbers from 0, so that the
    /// power fails once between any two operations.
    ///
    /// Returns whether this harness can do that, which needs a disk of its own under the storage.
    /// The default cannot; then the kit cuts the power between any two calls.
    fn cut_power_after(place: &Self::Place, points: u64) -> bool {
        let _ = (place, points);
        false
    }
}

/// A harness that can make a disk fail.
pub trait FaultHarness: StorageHarness {
    /// From now on flushes fail, or no longer: what is written meanwhile must not be acknowledged.
    fn fail_flushes(place: &Self::Place, storage: &Self::Storage, fail: bool);
}

fn run<H: StorageHarness, F: Future<Output = ()> + 'static>(case: &'static str, body: fn() -> F) {
    super::run::run(case, H::LIMIT, move || H::block_on(body()));
}

crate::__storage_cases!(__conformance_names);

/// The names of every case, those of [`CrashHarness`] and [`FaultHarness`] included.
pub fn cases() -> impl Iterator<Item = &'static str> {
    CASES.iter().chain(CRASH_CASES).chain(FAULT_CASES).copied()
}

/// Every case with its name, for those who test the kit itself.
pub fn functions<H: CrashHarness + FaultHarness>() -> Vec<(&'static str, fn())> {
    crate::__storage_cases!(__conformance_functions[H])
}

/// Makes a `#[test]` of every case that a storage plugin must pass; see
/// [`testing::storage`](crate::testing::storage).
///
/// `storage_conformance!(MyHarness)` runs the cases that every harness can run, and shows the others
/// as ignored. `storage_conformance!(MyHarness, crash)` runs those of
/// [`CrashHarness`](crate::testing::storage::CrashHarness) too, `faults` those of
/// [`FaultHarness`](crate::testing::storage::FaultHarness), and
/// `storage_conformance!(MyHarness, crash, faults)` all of them.
#[macro_export]
macro_rules! storage_conformance {
    ($harness:ty) => { $crate::__storage_cases!(__storage_tests [$harness] ignored ignored); };
    ($harness:ty, crash) => { $crate::__storage_cases!(__storage_tests [$harness] run ignored); };
    ($harness:ty, faults) => { $crate::__storage_cases!(__storage_tests [$harness] ignored run); };
    ($harness:ty, crash, faults) => { $crate::__storage_cases!(__storage_tests [$harness] run run); };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __storage_tests {
    (
        [$harness:ty] $with_crash:ident $with_faults:ident
        [CASES: $($case:ident)*] [CRASH_CASES: $($crash:ident)*] [FAULT_CASES: $($fault:ident)*]
    ) => {
        $crate::__storage_tests!(@run [$harness] $($case)*);
        $crate::__storage_tests!(@$with_crash [$harness]
            "not run: this harness cannot cut the power (see CrashHarness)" $($crash)*);
        $crate::__storage_tests!(@$with_faults [$harness]
            "not run: this harness cannot fail a flush (see FaultHarness)" $($fault)*);
    };
    (@run [$harness:ty] $($reason:literal)? $($case:ident)*) => {
        $(#[test] fn $case() { $crate::testing::storage::$case::<$harness>(); })*
    };
    (@ignored [$harness:ty] $reason:literal $($case:ident)*) => {
        $(
            #[test]
            #[ignore = $reason]
            fn $case() {
                ::core::panic!($reason);
            }
        )*
    };
}

/// Calls a macro with the names of every case.
#[doc(hidden)]
#[macro_export]
macro_rules! __storage_cases {
    ($then:ident $($args:tt)*) => {
        $crate::$then! {
            $($args)*
            [CASES:
                identity_is_absent_at_first
                identity_survives_reopen
                identity_is_written_once
                fresh_group_is_empty
                groups_do_not_mix
                many_groups_interleave
                reopen_shows_what_was_flushed
                append_then_read
                append_goes_on_after_reopen
                truncate_removes_the_tail
                truncate_past_the_end_does_nothing
                truncate_of_everything_empties_the_log
                append_after_truncate_replaces_the_tail
                purge_removes_the_head_and_keeps_the_marker
                purge_past_the_end_empties_the_log
                purge_of_a_fresh_group_moves_its_start
                vote_survives_reopen
                vote_is_replaced
                committed_is_replaced
                committed_rides_with_the_next_write
                read_is_bounded_and_never_empty
                read_stops_at_the_end
                read_beside_writes_shows_no_hole
                large_entries_come_back
                receipts_are_in_order
                receipts_are_in_order_under_concurrency
                receipt_is_used_once
                write_only_queues
                many_threads_read_beside_writes
                making_room_loses_nothing
                close_completes_what_is_queued
                snapshot_is_invisible_before_commit
                snapshot_dropped_uncommitted_leaves_nothing
                snapshot_replaces_the_older
                snapshot_never_replaces_a_newer
                snapshot_of_the_same_log_id_replaces
                snapshot_survives_reopen
                snapshot_stays_readable_when_replaced
                snapshots_of_groups_do_not_mix
                removed_snapshot_is_gone_or_whole
                removing_a_snapshot_spares_a_newer
                removing_a_snapshot_spares_other_groups
                snapshot_stays_readable_when_removed
                large_snapshot_comes_back
                room_for_a_snapshot_is_what_one_may_take
                resumed_snapshot_goes_on_with_a_prefix
                resumed_snapshot_is_invisible_before_commit
                resumed_snapshot_discarded_leaves_nothing
                resumed_snapshot_of_another_id_begins_anew
                resumed_snapshot_is_not_disturbed_by_an_earlier_writer
                resumed_snapshot_never_replaces_a_newer
                resumed_snapshots_of_groups_do_not_mix
                room_for_a_snapshot_includes_what_is_held_of_it
                snapshots_have_fingerprints_of_their_own
                every_operation_survives_reopen
                random_operations_match_a_model
            ]
            [CRASH_CASES:
                append_survives_crash_after_flush
                vote_survives_crash_after_flush
                truncate_and_purge_survive_crash_after_flush
                identity_survives_crash
                snapshot_survives_crash_after_commit
                snapshot_not_committed_is_absent_after_crash
                unflushed_is_absent_or_whole_after_crash
                snapshot_commit_is_atomic
                removed_snapshot_is_gone_or_whole_after_crash
                resumed_snapshot_survives_crash
                every_write_point_survives_a_power_cut
                random_operations_and_crashes_match_a_model
            ]
            [FAULT_CASES:
                after_a_failed_write_every_later_one_fails
            ]
        }
    };
}
