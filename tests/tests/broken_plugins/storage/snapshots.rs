//! Stores that are broken in what they do with snapshots.

use quorate::testing::storage::functions;
use quorate::types::GroupId;

use super::broken::{Break, Broken, Remove};
use super::resumed::{Fingerprint, Resume};
use crate::verdict::assert_fails;

broken!(ShowsEarly: const SNAPSHOT_SHOWS_EARLY: bool = true;);

#[test]
fn shows_a_snapshot_before_its_commit() {
    assert_fails(
        functions::<Broken<ShowsEarly>>(),
        &[
            ("snapshot_is_invisible_before_commit", "written"),
            ("snapshot_dropped_uncommitted_leaves_nothing", "abandoned"),
            ("snapshot_not_committed_is_absent_after_crash", "abandoned"),
        ],
    );
}

broken!(ReturnsEarly:
    const HOLDS: bool = true;
    const SNAPSHOT_RETURNS_EARLY: bool = true;
);

#[test]
fn commits_a_snapshot_before_its_flush() {
    assert_fails(
        functions::<Broken<ReturnsEarly>>(),
        &[
            ("snapshot_survives_crash_after_commit", "snapshot 1 after a crash"),
            ("snapshot_commit_is_atomic", "neither the old nor the new snapshot is there"),
        ],
    );
}

broken!(Tears:
    const HOLDS: bool = true;
    const SNAPSHOT_TEARS: bool = true;
);

#[test]
fn tears_a_snapshot() {
    assert_fails(
        functions::<Broken<Tears>>(),
        &[(
            "snapshot_commit_is_atomic",
            "a commit cut off after 1 polls: the snapshot that covers T2-9 is not whole: 30000 bytes, expected 70000",
        )],
    );
}

broken!(ReplacesANewer: const OLDER_SNAPSHOT_REPLACES: bool = true;);

#[test]
fn replaces_a_newer_snapshot() {
    assert_fails(
        functions::<Broken<ReplacesANewer>>(),
        &[("snapshot_never_replaces_a_newer", "older, slower")],
    );
}

broken!(CutsOffReaders: const READER_IS_CUT_OFF: bool = true;);

#[test]
fn cuts_off_a_reader_when_its_snapshot_is_replaced() {
    assert_fails(
        functions::<Broken<CutsOffReaders>>(),
        &[(
            "snapshot_stays_readable_when_replaced",
            "the bytes of the old snapshot changed under its reader",
        )],
    );
}

broken!(KeepsOneForAll:
    fn snapshot_group(_: GroupId) -> GroupId {
        GroupId(0)
    }
);

#[test]
fn keeps_one_snapshot_for_all_groups() {
    assert_fails(functions::<Broken<KeepsOneForAll>>(), &[("snapshots_of_groups_do_not_mix", "of one")]);
}

broken!(SaysThatThereIsNoRoom: const SNAPSHOT_ROOM: Option<u64> = Some(0););

#[test]
fn says_that_no_snapshot_has_room() {
    assert_fails(
        functions::<Broken<SaysThatThereIsNoRoom>>(),
        &[(
            "room_for_a_snapshot_is_what_one_may_take",
            "with no snapshot before: there was room for 0 bytes of a snapshot, and it took 2097152 more",
        )],
    );
}

broken!(LetsAPartTakeAllRoom: const A_PART_TAKES_ALL_ROOM: bool = true;);

#[test]
fn says_that_what_is_held_of_a_snapshot_leaves_no_room() {
    assert_fails(
        functions::<Broken<LetsAPartTakeAllRoom>>(),
        &[("room_for_a_snapshot_includes_what_is_held_of_it", "once it broke off: room for Some(0) bytes")],
    );
}

broken!(LetsAWriterTakeAllRoom: const A_WRITER_TAKES_ALL_ROOM: bool = true;);

#[test]
fn says_that_what_is_being_written_of_a_snapshot_leaves_no_room() {
    assert_fails(
        functions::<Broken<LetsAWriterTakeAllRoom>>(),
        &[(
            "room_for_a_snapshot_includes_what_is_held_of_it",
            "at first, while it is written: room for Some(0) bytes, and 20000 are there",
        )],
    );
}

broken!(HoldsAHole: const RESUME: Resume = Resume::HoldsAHole;);

#[test]
fn goes_on_with_a_hole() {
    assert_fails(
        functions::<Broken<HoldsAHole>>(),
        &[("resumed_snapshot_goes_on_with_a_prefix", "and they are not the first ones of what was written")],
    );
}

broken!(ForgetsAPart: const RESUME: Resume = Resume::Forgets;);

#[test]
fn holds_less_than_it_told() {
    assert_fails(
        functions::<Broken<ForgetsAPart>>(),
        &[("resumed_snapshot_goes_on_with_a_prefix", ": 0 bytes are held, and ")],
    );
}

broken!(ShowsAPart: const RESUME: Resume = Resume::ShowsEarly;);

#[test]
fn shows_what_has_arrived_of_a_snapshot() {
    assert_fails(
        functions::<Broken<ShowsAPart>>(),
        &[("resumed_snapshot_is_invisible_before_commit", "after it broke off")],
    );
}

broken!(KeepsWhatIsDiscarded: const RESUME: Resume = Resume::KeepsWhatIsDiscarded;);

#[test]
fn goes_on_with_what_was_discarded() {
    assert_fails(
        functions::<Broken<KeepsWhatIsDiscarded>>(),
        &[("resumed_snapshot_discarded_leaves_nothing", "bytes held after a discard")],
    );
}

broken!(IgnoresTheFingerprint: const RESUME: Resume = Resume::IgnoresTheFingerprint;);

#[test]
fn goes_on_with_the_bytes_of_another_snapshot() {
    assert_fails(
        functions::<Broken<IgnoresTheFingerprint>>(),
        &[("resumed_snapshot_of_another_id_begins_anew", "of other bytes: 20000 bytes are held")],
    );
}

broken!(LetsTheEarlierWrite: const RESUME: Resume = Resume::LetsTheEarlierWrite;);

#[test]
fn lets_two_transfers_write_one_snapshot() {
    assert_fails(
        functions::<Broken<LetsTheEarlierWrite>>(),
        &[("resumed_snapshot_is_not_disturbed_by_an_earlier_writer", "the earlier writer writes on: ")],
    );
}

broken!(CommitsWithoutALook: const RESUME: Resume = Resume::ReplacesANewer;);

#[test]
fn replaces_a_newer_snapshot_with_one_that_broke_off() {
    assert_fails(
        functions::<Broken<CommitsWithoutALook>>(),
        &[("resumed_snapshot_never_replaces_a_newer", "the snapshot")],
    );
}

broken!(KeepsOnePartForAll: const RESUME: Resume = Resume::MixesGroups;);

#[test]
fn goes_on_with_the_snapshot_of_another_group() {
    assert_fails(
        functions::<Broken<KeepsOnePartForAll>>(),
        &[("resumed_snapshots_of_groups_do_not_mix", "the other group: 20000 bytes are held")],
    );
}

broken!(TellsEarly: const RESUME: Resume = Resume::TellsEarly;);

#[test]
fn holds_what_is_not_flushed() {
    assert_fails(
        functions::<Broken<TellsEarly>>(),
        &[("resumed_snapshot_survives_crash", "0 bytes are held, and ")],
    );
}

broken!(TearsAPart: const RESUME: Resume = Resume::Tears;);

#[test]
fn goes_on_behind_torn_bytes() {
    assert_fails(
        functions::<Broken<TearsAPart>>(),
        &[("resumed_snapshot_survives_crash", "and they are not the first ones of what was written")],
    );
}

broken!(KnowsThemByTheirChecksum: const FINGERPRINT: Fingerprint = Fingerprint::Checksum;);

#[test]
fn tells_snapshots_apart_by_a_checksum_that_all_of_them_have() {
    assert_fails(
        functions::<Broken<KnowsThemByTheirChecksum>>(),
        &[(
            "snapshots_have_fingerprints_of_their_own",
            "snapshots of other bytes have the fingerprint 48674bc7",
        )],
    );
}

/// Nothing is broken, and no snapshot is ever removed.
mod sound_and_kept {
    use super::{Break, Broken, Remove};

    broken!(Kept: const REMOVE: Remove = Remove::Keeps;);
    quorate::storage_conformance!(Broken<Kept>, crash, faults);
}

broken!(RemovesANewer: const REMOVE: Remove = Remove::TakesANewer;);

#[test]
fn removes_a_newer_snapshot() {
    assert_fails(
        functions::<Broken<RemovesANewer>>(),
        &[("removing_a_snapshot_spares_a_newer", "removed up to T1-5")],
    );
}

broken!(RemovesAll: const REMOVE: Remove = Remove::TakesAll;);

#[test]
fn removes_the_snapshots_of_other_groups() {
    assert_fails(
        functions::<Broken<RemovesAll>>(),
        &[("removing_a_snapshot_spares_other_groups", "the snapshot of g0")],
    );
}

broken!(RemovesHalf: const REMOVE: Remove = Remove::Tears;);

#[test]
fn removes_half_of_a_snapshot() {
    assert_fails(
        functions::<Broken<RemovesHalf>>(),
        &[
            ("removed_snapshot_is_gone_or_whole", "removed: 9 bytes are there that cover T1-5"),
            ("removed_snapshot_is_gone_or_whole_after_crash", "after a crash: "),
        ],
    );
}

broken!(CutsOffWhenRemoved: const READER_IS_CUT_OFF: bool = true;);

#[test]
fn cuts_off_a_reader_when_its_snapshot_is_removed() {
    assert_fails(
        functions::<Broken<CutsOffWhenRemoved>>(),
        &[(
            "snapshot_stays_readable_when_removed",
            "the bytes of the removed snapshot changed under its reader",
        )],
    );
}
