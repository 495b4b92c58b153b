//! Machines on a disk that are broken, each in one way.

mod broken;

use std::time::Duration;

use quorate::testing::durable_machine::functions;

use self::broken::{Break, Harness};
use crate::verdict::{assert_fails, assert_hangs};

/// Nothing is broken: what every other test compares with.
mod sound {
    use super::{Break, Harness};

    broken!(Sound:);
    quorate::durable_machine_conformance!(Harness<Sound>);
}

broken!(RecordIsEarly: const RECORD_IS_EARLY: bool = true;);

#[test]
fn stores_the_record_before_the_effects() {
    assert_fails(
        functions::<Harness<RecordIsEarly>>(),
        &[("state_and_record_are_of_one_batch_after_crash", "and the state is another one")],
    );
}

broken!(FlushLies: const FLUSH_LIES: bool = true;);

#[test]
fn flushes_nothing() {
    assert_fails(
        functions::<Harness<FlushLies>>(),
        &[
            ("flushed_batches_survive_crash", "round 0: the record is none, and what was flushed"),
            ("state_and_record_are_of_one_batch_after_crash", "the record is none, and what was flushed"),
        ],
    );
}

broken!(CountsFlushes: const COUNTS_FLUSHES: bool = true;);

#[test]
fn comes_to_something_else_when_it_is_flushed() {
    assert_fails(
        functions::<Harness<CountsFlushes>>(),
        &[("two_machines_come_to_the_same", "after a flush: the record is that of entry 1")],
    );
}

broken!(FlushTearsLate: const FLUSH_TEARS_LATE: bool = true;);

#[test]
fn tears_what_it_flushes_after_many_operations() {
    assert_fails(
        functions::<Harness<FlushTearsLate>>(),
        &[("state_and_record_are_of_one_batch_after_crash", "and the state is another one")],
    );
}

broken!(FlushSkipsWhatItFound: const FLUSH_SKIPS_WHAT_IT_FOUND: bool = true;);

#[test]
fn flushes_nothing_of_what_it_found_when_it_was_opened() {
    assert_fails(
        functions::<Harness<FlushSkipsWhatItFound>>(),
        &[("what_was_found_is_flushed_too", "the process ended, opened, flushed, and the power failed")],
    );
}

broken!(
    FlushSkipsWhatItFoundPlainly:
    const FLUSH_SKIPS_WHAT_IT_FOUND: bool = true;
    const HARNESS_IS_PLAIN: bool = true;
);

#[test]
fn flushes_nothing_of_what_it_found_and_its_harness_can_only_close_it() {
    assert_fails(
        functions::<Harness<FlushSkipsWhatItFoundPlainly>>(),
        &[("what_was_found_is_flushed_too", "the process ended, opened, flushed, and the power failed")],
    );
}

broken!(FlushSkipsEmpty: const FLUSH_SKIPS_EMPTY: bool = true;);

#[test]
fn flushes_no_record_of_entries_without_commands() {
    assert_fails(
        functions::<Harness<FlushSkipsEmpty>>(),
        &[("batch_without_commands_moves_the_record", "flushed after a batch without commands")],
    );
}

broken!(SkipsEmpty: const SKIPS_EMPTY: bool = true;);

#[test]
fn stores_no_record_of_entries_without_commands() {
    assert_fails(
        functions::<Harness<SkipsEmpty>>(),
        &[("batch_without_commands_moves_the_record", "the record is none, expected that of entry 1")],
    );
}

broken!(FlushStaysBehind: const FLUSH_STAYS_BEHIND: bool = true;);

#[test]
fn flushes_the_old_state_after_a_restore() {
    assert_fails(
        functions::<Harness<FlushStaysBehind>>(),
        &[("restored_state_goes_on", "the power failed: the record is that of entry 15")],
    );
}

broken!(CountsBatches: const COUNTS_BATCHES: bool = true;);

#[test]
fn comes_to_something_else_when_entries_are_batched_otherwise() {
    assert_fails(
        functions::<Harness<CountsBatches>>(),
        &[("batches_of_any_size_come_to_the_same", "entries ")],
    );
}

broken!(AnswersLate: const ANSWERS_LATE: bool = true;);

#[test]
fn answers_every_command_of_a_batch_as_the_last() {
    assert_fails(
        functions::<Harness<AnswersLate>>(),
        &[("batches_of_any_size_come_to_the_same", "has another response")],
    );
}

broken!(CountsSinceOpen: const COUNTS_SINCE_OPEN: bool = true;);

#[test]
fn answers_something_else_when_a_batch_is_applied_again() {
    assert_fails(
        functions::<Harness<CountsSinceOpen>>(),
        &[("batches_applied_again_answer_the_same", "has another response")],
    );
}

broken!(ViewThaws: const VIEW_THAWS: bool = true;);

#[test]
fn changes_a_view() {
    let cases = functions::<Harness<ViewThaws>>();
    assert_fails(
        cases,
        &[("view_stays_as_it_was", "in a view of what was: the record is that of entry 10 of log ")],
    );
}

broken!(QueryIgnoresTheView: const QUERY_IGNORES_THE_VIEW: bool = true;);

#[test]
fn answers_a_query_from_what_is_newer_than_its_view() {
    let cases = functions::<Harness<QueryIgnoresTheView>>();
    assert_fails(cases, &[("view_stays_as_it_was", "are answered from what came later")]);
}

broken!(ViewMovesAtClose: const VIEW_MOVES_AT_CLOSE: bool = true;);

#[test]
fn changes_a_view_when_it_is_closed() {
    assert_fails(
        functions::<Harness<ViewMovesAtClose>>(),
        &[(
            "machine_opens_again_beside_a_view",
            "in a view of what was closed: the record is that of entry 5",
        )],
    );
}

broken!(ViewLocks: const VIEW_LOCKS: bool = true;);

#[test]
fn does_not_open_while_there_is_a_view() {
    assert_fails(
        functions::<Harness<ViewLocks>>(),
        &[("machine_opens_again_beside_a_view", "the place is open: it has 2 views")],
    );
}

broken!(ViewPutsBack: const VIEW_PUTS_BACK: bool = true;);

#[test]
fn puts_an_old_state_back_when_a_view_ends_after_its_machine() {
    assert_fails(
        functions::<Harness<ViewPutsBack>>(),
        &[("machine_opens_again_beside_a_view", "the record is that of entry 3 of log ")],
    );
}

broken!(DeadlineIsForgotten: const DEADLINE_IS_FORGOTTEN: bool = true;);

#[test]
fn forgets_its_deadline_when_it_is_closed() {
    assert_fails(
        functions::<Harness<DeadlineIsForgotten>>(),
        &[("deadline_is_that_of_the_state", "opened again: the next deadline")],
    );
}

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
            ("failed_restore_keeps_the_old_state", "an input failed after 0 bytes: the record is none"),
            ("queries_are_answered_beside_a_restore", "half of a state was read: the record is none"),
        ],
    );
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
