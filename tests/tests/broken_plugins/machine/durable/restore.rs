//! Machines that are broken in what they restore, and in what they say of their disk.

use std::time::Duration;

use quorate::testing::durable_machine::functions;

use super::harness::Harness;
use super::how::Break;
use crate::verdict::{assert_fails, assert_hangs};

broken!(RestoreTears: const RESTORE_TEARS: bool = true;);

#[test]
fn restores_the_record_before_the_state() {
    assert_fails(
        functions::<Harness<RestoreTears>>(),
        &[("restore_is_whole_or_not_at_all_after_crash", "and the state is another one")],
    );
}

broken!(RestoreTearsLate: const RESTORE_TEARS_LATE: bool = true;);

#[test]
fn tears_what_it_restores_after_many_operations() {
    assert_fails(
        functions::<Harness<RestoreTearsLate>>(),
        &[("restore_is_whole_or_not_at_all_after_crash", "and the state is another one")],
    );
}

broken!(RestoreClears: const RESTORE_CLEARS: bool = true;);

#[test]
fn clears_the_old_state_before_it_has_read_the_new_one() {
    assert_fails(
        functions::<Harness<RestoreClears>>(),
        &[
            ("failed_restore_keeps_the_old_state", "an input that fails after 0 of"),
            ("queries_are_answered_beside_a_restore", "half of a state was read: the record is none"),
        ],
    );
}

broken!(RestoreOfFreshIsLazy: const RESTORE_OF_FRESH_IS_LAZY: bool = true;);

#[test]
fn flushes_nothing_of_what_it_restores_into_a_fresh_place() {
    assert_fails(
        functions::<Harness<RestoreOfFreshIsLazy>>(),
        &[("restore_is_whole_or_not_at_all_after_crash", "restored into a fresh place: the record is none")],
    );
}

broken!(FailedRestoreTears: const FAILED_RESTORE_TEARS: bool = true;);

#[test]
fn puts_the_new_record_on_the_disk_before_a_restore_fails() {
    assert_fails(
        functions::<Harness<FailedRestoreTears>>(),
        &[
            (
                "failed_restore_keeps_the_old_state",
                "bytes, and the power failed: the record is that of entry 12",
            ),
            (
                "what_is_no_state_is_not_restored",
                "bytes, and the power failed: the record is that of entry 12",
            ),
        ],
    );
}

broken!(RestorePads: const RESTORE_PADS: bool = true;);

#[test]
fn restores_what_is_cut_off_as_another_state() {
    let cases = functions::<Harness<RestorePads>>();
    assert_fails(
        cases,
        &[("what_is_no_state_is_not_restored", "bytes: restored, as a state that writes other bytes")],
    );
}

broken!(BadStateClears: const BAD_STATE_CLEARS: bool = true;);

#[test]
fn clears_the_old_state_when_the_new_one_is_none() {
    let cases = functions::<Harness<BadStateClears>>();
    assert_fails(cases, &[("what_is_no_state_is_not_restored", "bytes: the record is none")]);
}

broken!(BadStatePanics: const BAD_STATE_PANICS: bool = true;);

#[test]
fn panics_when_what_it_restores_is_no_state() {
    let cases = functions::<Harness<BadStatePanics>>();
    assert_fails(cases, &[("what_is_no_state_is_not_restored", "a state cannot be decoded")]);
}

broken!(FailsLate: const FAILS_LATE: bool = true;);

#[test]
fn says_that_it_has_failed_when_it_was_opened_again() {
    assert_fails(
        functions::<Harness<FailsLate>>(),
        &[("working_machine_has_not_failed", "opened again: the machine works, and says that it has failed")],
    );
}

broken!(RoomIsRefused: const ROOM_IS_REFUSED: bool = true;);

#[test]
fn refuses_a_snapshot_that_fits() {
    assert_fails(
        functions::<Harness<RoomIsRefused>>(),
        &[(
            "what_is_restored_had_room",
            "were refused, and all of them were restored then: the snapshot needs about",
        )],
    );
}

broken!(RoomIsDamage: const ROOM_IS_DAMAGE: bool = true;);

#[test]
fn takes_a_lack_of_room_for_damage() {
    let cases = functions::<Harness<RoomIsDamage>>();
    assert_fails(cases, &[("what_is_restored_had_room", "for want of room something else was said")]);
}

broken!(RestoreKeepsACache: const RESTORE_KEEPS_A_CACHE: bool = true;);

#[test]
fn goes_on_from_the_old_state_after_a_restore() {
    assert_fails(functions::<Harness<RestoreKeepsACache>>(), &[("restored_state_goes_on", "entries 16..=")]);
}

broken!(RestoreShows: const RESTORE_SHOWS: bool = true;);

#[test]
fn shows_the_new_record_while_it_reads_the_new_state() {
    assert_fails(
        functions::<Harness<RestoreShows>>(),
        &[(
            "queries_are_answered_beside_a_restore",
            "half of a state was read: the record is that of entry 25",
        )],
    );
}

broken!(
    RestoreLocks:
    const RESTORE_LOCKS: bool = true;
    const LIMIT: Duration = Duration::from_secs(4);
);

#[test]
fn answers_nothing_while_it_restores() {
    let cases = functions::<Harness<RestoreLocks>>();
    assert_hangs(cases, "queries_are_answered_beside_a_restore", "to query beside a restore");
}
