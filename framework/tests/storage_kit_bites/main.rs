//! The storage kit fails stores that are broken on purpose, each in the case that is named for it.
//!
//! A kit that never caught anything proves nothing.

#![allow(clippy::disallowed_methods, reason = "tests run on tokio and real threads")]

mod broken;

use std::cell::RefCell;
use std::panic::catch_unwind;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::executor::block_on;
use quorate::storage::{Flushed, GroupState, Identity, MemoryStorage, Storage, Write};
use quorate::testing::storage as kit;
use quorate::types::{GroupId, LogIndex};

use self::broken::{Break, Broken};

/// Whether `case` fails, by finding something wrong and not by hanging.
fn bites(case: fn()) -> bool {
    let Err(panic) = catch_unwind(case) else { return false };
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
    assert!(!text.contains("did not end within"), "it hung: {text}");
    true
}

/// Nothing is broken: what the other tests compare with.
struct Whole;

impl Break for Whole {}

/// Nothing is broken, and a power cut loses whatever the case did not wait for.
struct WholeAndLate;

impl Break for WholeAndLate {
    const HOLDS: bool = true;
}

#[test]
fn a_store_that_is_late_and_not_broken_passes() {
    type Store = Broken<WholeAndLate>;
    let cases: &[fn()] = &[
        kit::append_survives_crash_after_flush::<Store>,
        kit::vote_survives_crash_after_flush::<Store>,
        kit::truncate_and_purge_survive_crash_after_flush::<Store>,
        kit::snapshot_survives_crash_after_commit::<Store>,
        kit::snapshot_not_committed_is_absent_after_crash::<Store>,
        kit::unflushed_is_absent_or_whole_after_crash::<Store>,
        kit::close_completes_what_is_queued::<Store>,
        kit::receipts_are_in_order::<Store>,
        kit::random_operations_match_a_model::<Store>,
    ];
    for case in cases {
        assert!(!bites(*case));
    }
}

#[test]
fn a_store_that_is_not_broken_passes() {
    type Store = Broken<Whole>;
    let cases: &[fn()] = &[
        kit::append_survives_crash_after_flush::<Store>,
        kit::unflushed_is_absent_or_whole_after_crash::<Store>,
        kit::vote_survives_reopen::<Store>,
        kit::receipt_is_used_once::<Store>,
        kit::receipts_are_in_order::<Store>,
        kit::truncate_removes_the_tail::<Store>,
        kit::read_is_bounded_and_never_empty::<Store>,
        kit::close_completes_what_is_queued::<Store>,
        kit::snapshot_is_invisible_before_commit::<Store>,
        kit::snapshot_never_replaces_a_newer::<Store>,
    ];
    for case in cases {
        assert!(!bites(*case));
    }
}

struct AcknowledgesBeforeFlush;

impl Break for AcknowledgesBeforeFlush {
    const HOLDS: bool = true;

    fn write(
        disk: &MemoryStorage,
        _: &Mutex<Option<Flushed>>,
        group: GroupId,
        write: Write,
        flushed: Flushed,
    ) {
        disk.write(group, write, Flushed::ignored());
        flushed.durable();
    }
}

#[test]
fn a_receipt_used_before_the_flush_is_found_by_a_crash() {
    assert!(bites(kit::append_survives_crash_after_flush::<Broken<AcknowledgesBeforeFlush>>));
    assert!(bites(kit::vote_survives_crash_after_flush::<Broken<AcknowledgesBeforeFlush>>));
    assert!(bites(kit::truncate_and_purge_survive_crash_after_flush::<Broken<AcknowledgesBeforeFlush>>));
    assert!(bites(kit::unflushed_is_absent_or_whole_after_crash::<Broken<AcknowledgesBeforeFlush>>));
}

struct TearsAnAppend;

impl Break for TearsAnAppend {
    fn crash(disk: &MemoryStorage) -> MemoryStorage {
        let after = disk.crash();
        for group in [1, 7].map(GroupId) {
            let end = block_on(after.open(group)).expect("opens").log.end;
            let torn = Write::Append { first: LogIndex(end), entries: vec!["half an ent".into()] };
            after.write(group, torn, Flushed::ignored());
        }
        after
    }
}

#[test]
fn a_torn_entry_is_found() {
    assert!(bites(kit::unflushed_is_absent_or_whole_after_crash::<Broken<TearsAnAppend>>));
}

struct UsesReceiptsOutOfOrder;

impl Break for UsesReceiptsOutOfOrder {
    /// The receipt of a vote waits for that of the write behind it.
    fn write(
        disk: &MemoryStorage,
        late: &Mutex<Option<Flushed>>,
        group: GroupId,
        write: Write,
        flushed: Flushed,
    ) {
        let mut late = late.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(write, Write::Vote(_)) && late.is_none() {
            disk.write(group, write, Flushed::ignored());
            *late = Some(flushed);
        } else {
            disk.write(group, write, flushed);
            if let Some(vote) = late.take() {
                vote.durable();
            }
        }
    }
}

#[test]
fn receipts_out_of_order_are_found() {
    assert!(bites(kit::receipts_are_in_order::<Broken<UsesReceiptsOutOfOrder>>));
}

struct LetsTheVoteOvertake;

thread_local! {
    static LAST_VOTE: RefCell<Option<(GroupId, Write)>> = const { RefCell::new(None) };
}

impl Break for LetsTheVoteOvertake {
    const HOLDS: bool = true;

    fn write(
        disk: &MemoryStorage,
        _: &Mutex<Option<Flushed>>,
        group: GroupId,
        write: Write,
        flushed: Flushed,
    ) {
        if matches!(write, Write::Vote(_)) {
            LAST_VOTE.set(Some((group, write.clone())));
        }
        disk.write(group, write, flushed);
    }

    /// The last vote has reached the disk, the writes queued before it have not.
    fn crash(disk: &MemoryStorage) -> MemoryStorage {
        let after = disk.crash();
        if let Some((group, vote)) = LAST_VOTE.take() {
            after.write(group, vote, Flushed::ignored());
        }
        after
    }
}

#[test]
fn a_vote_that_overtakes_an_append_is_found() {
    // The case draws when to cut the power, and may miss it once in a long while.
    let case = kit::unflushed_is_absent_or_whole_after_crash::<Broken<LetsTheVoteOvertake>>;
    assert!((0..5).any(|_| bites(case)));
}

struct ForgetsTheVote;

impl Break for ForgetsTheVote {
    fn opened(state: GroupState) -> GroupState {
        GroupState { vote: None, ..state }
    }
}

#[test]
fn a_vote_lost_on_reopen_is_found() {
    assert!(bites(kit::vote_survives_reopen::<Broken<ForgetsTheVote>>));
    assert!(bites(kit::vote_survives_crash_after_flush::<Broken<ForgetsTheVote>>));
    assert!(bites(kit::random_operations_match_a_model::<Broken<ForgetsTheVote>>));
}

struct DropsAReceipt;

impl Break for DropsAReceipt {
    fn write(
        disk: &MemoryStorage,
        _: &Mutex<Option<Flushed>>,
        group: GroupId,
        write: Write,
        flushed: Flushed,
    ) {
        let forgets = matches!(write, Write::Truncate { from } if from.0 > 50);
        disk.write(group, write, if forgets { Flushed::ignored() } else { flushed });
    }
}

#[test]
fn a_dropped_receipt_is_found() {
    assert!(bites(kit::receipt_is_used_once::<Broken<DropsAReceipt>>));
}

struct TruncatesOneTooFew;

impl Break for TruncatesOneTooFew {
    fn write(
        disk: &MemoryStorage,
        _: &Mutex<Option<Flushed>>,
        group: GroupId,
        write: Write,
        flushed: Flushed,
    ) {
        let write = match write {
            Write::Truncate { from } => Write::Truncate { from: from.next() },
            other => other,
        };
        disk.write(group, write, flushed);
    }
}

#[test]
fn an_entry_left_behind_by_a_truncation_is_found() {
    assert!(bites(kit::truncate_removes_the_tail::<Broken<TruncatesOneTooFew>>));
    assert!(bites(kit::append_after_truncate_replaces_the_tail::<Broken<TruncatesOneTooFew>>));
}

struct PurgesOneTooFew;

impl Break for PurgesOneTooFew {
    fn opened(mut state: GroupState) -> GroupState {
        if state.purged.is_some() && !state.log.is_empty() {
            state.log.start -= 1;
        }
        state
    }
}

struct ForgetsTheMarker;

impl Break for ForgetsTheMarker {
    fn opened(state: GroupState) -> GroupState {
        GroupState { purged: None, committed: None, ..state }
    }
}

#[test]
fn a_wrong_purge_and_a_lost_marker_are_found() {
    assert!(bites(kit::purge_removes_the_head_and_keeps_the_marker::<Broken<PurgesOneTooFew>>));
    assert!(bites(kit::purge_removes_the_head_and_keeps_the_marker::<Broken<ForgetsTheMarker>>));
    assert!(bites(kit::committed_is_replaced::<Broken<ForgetsTheMarker>>));
    assert!(bites(kit::reopen_shows_what_was_flushed::<Broken<ForgetsTheMarker>>));
}

struct ForgetsTheIdentity;

impl Break for ForgetsTheIdentity {
    fn identity(_: Option<Identity>) -> Option<Identity> {
        None
    }
}

#[test]
fn a_lost_identity_is_found() {
    assert!(bites(kit::identity_survives_reopen::<Broken<ForgetsTheIdentity>>));
    assert!(bites(kit::identity_survives_crash::<Broken<ForgetsTheIdentity>>));
}

struct MixesGroups;

impl Break for MixesGroups {
    fn group(group: GroupId) -> GroupId {
        GroupId(group.0 & 0xff)
    }
}

#[test]
fn groups_that_share_a_key_are_found() {
    assert!(bites(kit::groups_do_not_mix::<Broken<MixesGroups>>));
}

struct ReadsTooMuch;

impl Break for ReadsTooMuch {
    fn max_bytes(_: usize) -> usize {
        usize::MAX
    }
}

struct ReadsNothingTooLarge;

impl Break for ReadsNothingTooLarge {
    fn read(read: Vec<Bytes>, max_bytes: usize) -> Vec<Bytes> {
        read.into_iter().filter(|entry| entry.len() <= max_bytes).collect()
    }
}

struct ReadsWithAHole;

impl Break for ReadsWithAHole {
    fn read(mut read: Vec<Bytes>, _: usize) -> Vec<Bytes> {
        if read.len() > 2 {
            read.remove(1);
        }
        read
    }
}

#[test]
fn a_read_with_a_hole_is_found() {
    assert!(bites(kit::append_then_read::<Broken<ReadsWithAHole>>));
    assert!(bites(kit::read_beside_writes_shows_no_hole::<Broken<ReadsWithAHole>>));
    assert!(bites(kit::read_stops_at_the_end::<Broken<ReadsWithAHole>>));
}

#[test]
fn a_read_without_a_bound_and_one_without_an_entry_are_found() {
    assert!(bites(kit::read_is_bounded_and_never_empty::<Broken<ReadsTooMuch>>));
    assert!(bites(kit::read_is_bounded_and_never_empty::<Broken<ReadsNothingTooLarge>>));
}

struct LosesTheQueueOnClose;

impl Break for LosesTheQueueOnClose {
    const HOLDS: bool = true;
    const CLOSE_LOSES: bool = true;
}

#[test]
fn a_close_that_drops_the_queue_is_found() {
    assert!(bites(kit::close_completes_what_is_queued::<Broken<LosesTheQueueOnClose>>));
}

struct ShowsASnapshotEarly;

impl Break for ShowsASnapshotEarly {
    const SNAPSHOT_SHOWS_EARLY: bool = true;
}

struct ReplacesANewerSnapshot;

impl Break for ReplacesANewerSnapshot {
    const OLDER_SNAPSHOT_REPLACES: bool = true;
}

#[test]
fn wrong_snapshots_are_found() {
    assert!(bites(kit::snapshot_is_invisible_before_commit::<Broken<ShowsASnapshotEarly>>));
    assert!(bites(kit::snapshot_dropped_uncommitted_leaves_nothing::<Broken<ShowsASnapshotEarly>>));
    assert!(bites(kit::snapshot_not_committed_is_absent_after_crash::<Broken<ShowsASnapshotEarly>>));
    assert!(bites(kit::snapshot_never_replaces_a_newer::<Broken<ReplacesANewerSnapshot>>));
}
