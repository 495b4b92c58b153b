//! The kit for storage plugins.
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
//!     /// With a plugin for disks: a temporary directory.
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
//! ```
//!
//! A harness that can also cut the power implements [`CrashHarness`] and says
//! `storage_conformance!(MyHarness, crash)`. Without it the crash cases show as ignored, with the
//! reason, so that a report never counts a case that did not run.

mod crash;
mod groups;
mod identity;
mod log;
mod markers;
mod model;
mod random;
mod read;
mod receipts;
mod snapshots;
mod store;

use std::time::Duration;

pub use self::crash::*;
pub use self::groups::*;
pub use self::identity::*;
pub use self::log::*;
pub use self::markers::*;
pub use self::random::*;
pub use self::read::*;
pub use self::receipts::*;
pub use self::snapshots::*;
use crate::error::StorageError;
use crate::storage::Storage;

/// How the kit gets at the storage under test.
pub trait StorageHarness: 'static {
    /// The storage under test.
    type Storage: Storage;
    /// Where one lives: a directory, a file, a handle. Dropped at the end of a case.
    type Place: Send + 'static;

    /// How long one case may take before it counts as hanging.
    const LIMIT: Duration = Duration::from_mins(2);

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
    fn crash(place: &mut Self::Place, storage: Self::Storage) -> impl Future<Output = ()>;
}

fn run<H: StorageHarness, F: Future<Output = ()> + 'static>(case: &'static str, body: fn() -> F) {
    super::run::run(case, H::LIMIT, move || H::block_on(body()));
}

crate::__storage_cases!(__conformance_names);

/// The names of every case, crash cases included.
pub fn cases() -> impl Iterator<Item = &'static str> {
    CASES.iter().chain(CRASH_CASES).copied()
}

/// Makes a `#[test]` of every case that a storage plugin must pass; see
/// [`testing::storage`](crate::testing::storage).
///
/// `storage_conformance!(MyHarness)` runs the cases that need no crash, and shows the others as
/// ignored. `storage_conformance!(MyHarness, crash)` runs them all.
#[macro_export]
macro_rules! storage_conformance {
    ($harness:ty) => { $crate::__storage_cases!(__storage_tests [$harness] ignored); };
    ($harness:ty, crash) => { $crate::__storage_cases!(__storage_tests [$harness] run); };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __storage_tests {
    ([$harness:ty] run [CASES: $($case:ident)*] [CRASH_CASES: $($crash:ident)*]) => {
        $(#[test] fn $case() { $crate::testing::storage::$case::<$harness>(); })*
        $(#[test] fn $crash() { $crate::testing::storage::$crash::<$harness>(); })*
    };
    ([$harness:ty] ignored [CASES: $($case:ident)*] [CRASH_CASES: $($crash:ident)*]) => {
        $(#[test] fn $case() { $crate::testing::storage::$case::<$harness>(); })*
        $(
            #[test]
            #[ignore = "not run: this harness cannot cut the power (see CrashHarness)"]
            fn $crash() {
                ::core::panic!("cannot be run: this harness cannot cut the power (see CrashHarness)");
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
                close_completes_what_is_queued
                snapshot_is_invisible_before_commit
                snapshot_dropped_uncommitted_leaves_nothing
                snapshot_replaces_the_older
                snapshot_never_replaces_a_newer
                snapshot_of_the_same_log_id_replaces
                snapshot_survives_reopen
                snapshot_stays_readable_when_replaced
                snapshots_of_groups_do_not_mix
                large_snapshot_comes_back
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
            ]
        }
    };
}
