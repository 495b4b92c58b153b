//! Stores that are broken in what they do with snapshots.

use quorate::testing::storage::functions;
use quorate::types::GroupId;

use super::broken::{Break, Broken};
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
