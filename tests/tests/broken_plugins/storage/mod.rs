//! Stores that are broken, each in one way.

mod broken;
mod receipts;
mod resumed;
mod snapshots;

use std::process::Command;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::executor::block_on;
use quorate::storage::{Flushed, GroupState, Identity, MemoryStorage, Storage, Write};
use quorate::testing::storage::functions;
use quorate::types::{GroupId, LogIndex};

use self::broken::{Break, Broken, Inner, lock};
use crate::verdict::assert_fails;

/// Nothing is broken: what every other test compares with.
mod sound {
    use super::{Break, Broken};

    broken!(Sound:);
    quorate::storage_conformance!(Broken<Sound>, crash, faults);
}

/// Nothing is broken, and a power cut loses whatever the case did not wait for.
mod sound_and_late {
    use super::{Break, Broken};

    broken!(Late: const HOLDS: bool = true;);
    quorate::storage_conformance!(Broken<Late>, crash, faults);
}

/// Nothing is broken, and a thread writes.
mod sound_with_a_thread {
    use super::{Break, Broken};

    broken!(Threaded: const QUEUE: Option<usize> = Some(100_000););
    quorate::storage_conformance!(Broken<Threaded>);
}

broken!(MakesRoomInTheLog: const ROOM_TRUNCATES: bool = true;);

#[test]
fn makes_room_by_what_is_needed() {
    let cases = functions::<Broken<MakesRoomInTheLog>>();
    assert_fails(cases, &[("making_room_loses_nothing", "while room is made: ")]);
}

// Order and loss.

broken!(LetsTheVoteOvertake:
    const HOLDS: bool = true;

    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        if matches!(write, Write::Vote(_)) {
            *lock(&inner.last_vote) = Some((group, write.clone()));
        }
        inner.disk.write(group, write, flushed);
    }

    /// The last vote has reached the disk, the writes queued before it have not.
    fn crash(inner: &Inner) -> MemoryStorage {
        let after = inner.disk.crash();
        if let Some((group, vote)) = lock(&inner.last_vote).take() {
            after.write(group, vote, Flushed::ignored());
        }
        after
    }
);

#[test]
fn lets_a_vote_overtake_an_append() {
    let cases = functions::<Broken<LetsTheVoteOvertake>>();
    let said =
        "with the power cut after 9 calls: g1: 0 of the last 3 writes were flushed, and no number of them";
    assert_fails(cases, &[("every_write_point_survives_a_power_cut", said)]);
}

broken!(LosesTheVote:
    fn opened(state: GroupState) -> GroupState {
        GroupState { vote: None, ..state }
    }
);

#[test]
fn loses_the_vote() {
    assert_fails(
        functions::<Broken<LosesTheVote>>(),
        &[
            ("vote_survives_reopen", "the vote after a reopen"),
            ("vote_is_replaced", "short"),
            ("vote_survives_crash_after_flush", "the vote after a crash"),
        ],
    );
}

broken!(ForgetsThePurgeMarker:
    fn opened(state: GroupState) -> GroupState {
        GroupState { purged: None, ..state }
    }
);

#[test]
fn forgets_the_purge_marker() {
    let cases = functions::<Broken<ForgetsThePurgeMarker>>();
    let said = "left: None\n right: Some(b\"purged 0\")";
    assert_fails(cases, &[("purge_removes_the_head_and_keeps_the_marker", said)]);
}

broken!(ForgetsTheCommittedMarker:
    fn opened(state: GroupState) -> GroupState {
        GroupState { committed: None, ..state }
    }
);

#[test]
fn forgets_the_committed_marker() {
    assert_fails(
        functions::<Broken<ForgetsTheCommittedMarker>>(),
        &[
            ("committed_is_replaced", "left: None\n right: Some(b\"c\")"),
            ("committed_rides_with_the_next_write", "left: None\n right: Some(b\"committed 0\")"),
        ],
    );
}

broken!(LosesTheQueueOnClose:
    const HOLDS: bool = true;
    const CLOSE_LOSES: bool = true;
);

#[test]
fn loses_the_queue_on_close() {
    let cases = functions::<Broken<LosesTheQueueOnClose>>();
    assert_fails(
        cases,
        &[("close_completes_what_is_queued", "the write was flushed by the close: ReceiptDropped")],
    );
}

broken!(TearsAnAppend:
    fn crash(inner: &Inner) -> MemoryStorage {
        let after = inner.disk.crash();
        for group in [1, 7].map(GroupId) {
            let end = block_on(after.open(group)).expect("opens").log.end;
            let torn = Write::Append { first: LogIndex(end), entries: vec!["half an ent".into()] };
            after.write(group, torn, Flushed::ignored());
        }
        after
    }
);

#[test]
fn leaves_half_an_entry_after_a_power_cut() {
    assert_fails(
        functions::<Broken<TearsAnAppend>>(),
        &[
            ("unflushed_is_absent_or_whole_after_crash", "after a power cut: g1: "),
            (
                "every_write_point_survives_a_power_cut",
                "after it was opened again, the log is 0..1, expected 0..0",
            ),
        ],
    );
}

broken!(VotesInTwoSteps:
    const HOLDS: bool = true;

    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        if matches!(write, Write::Vote(_)) {
            inner.disk.write(group, Write::Vote("half".into()), Flushed::ignored());
        }
        inner.disk.write(group, write, flushed);
    }
);

#[test]
fn writes_a_vote_in_two_steps() {
    // Only a power cut between the two shows it, and no call of the kit lies there.
    let said = "with the power cut after 1 write points: g1: 0 of the last 1 writes were flushed";
    let cases = functions::<Broken<VotesInTwoSteps>>();
    assert_fails(cases, &[("every_write_point_survives_a_power_cut", said)]);
}

// The log.

broken!(TruncatesOneTooFew:
    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        let write = match write {
            Write::Truncate { from } => Write::Truncate { from: from.next() },
            other => other,
        };
        inner.disk.write(group, write, flushed);
    }
);

#[test]
fn truncates_one_too_few() {
    assert_fails(
        functions::<Broken<TruncatesOneTooFew>>(),
        &[("truncate_removes_the_tail", "truncated from 9: 10 entries were found, expected 9")],
    );
}

broken!(TruncatesOneTooMany:
    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        let write = match write {
            Write::Truncate { from } => Write::Truncate { from: LogIndex(from.0.saturating_sub(1)) },
            other => other,
        };
        inner.disk.write(group, write, flushed);
    }
);

#[test]
fn truncates_one_too_many() {
    assert_fails(
        functions::<Broken<TruncatesOneTooMany>>(),
        &[("truncate_removes_the_tail", "truncated from 9: 8 entries were found, expected 9")],
    );
}

broken!(PurgesOneTooFew:
    fn opened(mut state: GroupState) -> GroupState {
        if state.purged.is_some() && !state.log.is_empty() {
            state.log.start -= 1;
        }
        state
    }
);

#[test]
fn purges_one_too_few() {
    assert_fails(
        functions::<Broken<PurgesOneTooFew>>(),
        &[("purge_removes_the_head_and_keeps_the_marker", "left: 0..10\n right: 1..10")],
    );
}

broken!(MixesGroups:
    fn group(group: GroupId) -> GroupId {
        GroupId(group.0 & 0xff)
    }
);

#[test]
fn mixes_groups() {
    assert_fails(functions::<Broken<MixesGroups>>(), &[("groups_do_not_mix", "was appended where")]);
}

broken!(ReturnsAHole:
    fn read(_: &Inner, mut read: Vec<Bytes>, _: usize) -> Vec<Bytes> {
        if read.len() > 2 {
            read.remove(1);
        }
        read
    }
);

#[test]
fn returns_a_hole() {
    assert_fails(
        functions::<Broken<ReturnsAHole>>(),
        &[
            (
                "append_then_read",
                "entry 1 of 9 is another one: 7 bytes b\"entry 2\".., expected 7 bytes b\"entry 1\"..",
            ),
            ("read_stops_at_the_end", "a read without an end: entry 1 of 4 is another one"),
            ("read_beside_writes_shows_no_hole", "a read beside writes: entry 1 of"),
        ],
    );
}

broken!(ReadsTooMuch:
    fn max_bytes(_: usize) -> usize {
        usize::MAX
    }
);

#[test]
fn ignores_the_limit_of_a_read() {
    let cases = functions::<Broken<ReadsTooMuch>>();
    assert_fails(cases, &[("read_is_bounded_and_never_empty", "a read of at most 0 bytes returned 2048000")]);
}

broken!(ReadsNothingTooLarge:
    fn read(_: &Inner, read: Vec<Bytes>, max_bytes: usize) -> Vec<Bytes> {
        read.into_iter().filter(|entry| entry.len() <= max_bytes).collect()
    }
);

#[test]
fn returns_nothing_when_an_entry_is_over_the_limit() {
    let cases = functions::<Broken<ReadsNothingTooLarge>>();
    assert_fails(cases, &[("read_is_bounded_and_never_empty", "a read of 0 bytes returned nothing")]);
}

broken!(ReadsNothingNowAndThen:
    fn read(inner: &Inner, read: Vec<Bytes>, _: usize) -> Vec<Bytes> {
        if inner.reads.fetch_add(1, Ordering::Relaxed) % 50 == 49 { Vec::new() } else { read }
    }
);

#[test]
fn returns_nothing_now_and_then() {
    let cases = functions::<Broken<ReadsNothingNowAndThen>>();
    assert_fails(cases, &[("many_threads_read_beside_writes", "returned nothing, and all of it is flushed")]);
}

// Identity.

broken!(ForgetsTheIdentity:
    fn identity(_: Option<Identity>) -> Option<Identity> {
        None
    }
);

#[test]
fn forgets_the_identity() {
    assert_fails(
        functions::<Broken<ForgetsTheIdentity>>(),
        &[("identity_survives_reopen", "left: None"), ("identity_survives_crash", "after a crash")],
    );
}

broken!(ReplacesTheIdentity: const IDENTITY_IS_REPLACED: bool = true;);

#[test]
fn replaces_the_identity() {
    let cases = functions::<Broken<ReplacesTheIdentity>>();
    assert_fails(cases, &[("identity_is_written_once", "before a reopen: Identity { cluster_id: ")]);
}

// What only a sequence shows.

broken!(ForgetsAMarkerInACorner:
    /// About one in ten sequences shows it.
    const SEQUENCES: u32 = 500;

    /// The marker of a purge is lost when it follows a truncation that left nothing of a log whose
    /// head was purged before.
    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        let before = block_on(inner.disk.open(group)).expect("opens");
        let mut emptied = lock(&inner.emptied);
        let write = match write {
            Write::Truncate { from } if from.0 <= before.log.start && before.purged.is_some() => {
                *emptied = Some(group);
                Write::Truncate { from }
            }
            Write::Purge { upto, marker } => {
                let lost = emptied.take() == Some(group);
                Write::Purge { upto, marker: before.purged.filter(|_| lost).unwrap_or(marker) }
            }
            Write::Append { first, entries } => {
                *emptied = None;
                Write::Append { first, entries }
            }
            other => other,
        };
        inner.disk.write(group, write, flushed);
    }
);

/// What [`forgets_a_marker_in_a_corner`] prints in front of a report.
const REPORT: &str = "the report:";

#[test]
fn forgets_a_marker_in_a_corner() {
    let cases = functions::<Broken<ForgetsAMarkerInACorner>>();
    let said = assert_fails(
        cases,
        &[("random_operations_match_a_model", "the purge marker is Some(b\"purged in step 1\")")],
    );
    // Two purges with a truncation between them show it, and nothing shorter does.
    assert!(said.contains("  4. at the end: close and open again\n\nseed "), "not shrunk: {said}");
    println!("{REPORT} {}", said.replace('\n', "|"));
}

#[test]
fn a_seed_replays_the_same_failure() {
    let report = || {
        let test = "storage::forgets_a_marker_in_a_corner";
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture"])
            .env("QUORATE_SEED", "20")
            .output()
            .expect("this program runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|line| line.split_once(REPORT)).map(|(_, report)| report.to_owned());
        line.unwrap_or_else(|| panic!("no report in {text}, {}", String::from_utf8_lossy(&output.stderr)))
    };
    let first = report();
    assert!(first.contains("seed 20: replay with QUORATE_SEED=20"), "{first}");
    assert_eq!(first, report());
}
