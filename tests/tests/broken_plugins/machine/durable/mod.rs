//! Machines on a disk that are broken, each in one way.

mod broken;
mod harness;
mod how;
mod restore;
mod rows;

use quorate::testing::durable_machine::{cases, functions};

use self::harness::Harness;
use self::how::Break;
use crate::verdict::assert_fails;

/// Nothing is broken: what every other test compares with.
mod sound {
    use super::{Break, Harness};

    broken!(Sound:);
    quorate::durable_machine_conformance!(Harness<Sound>);
}

/// Nothing is broken, and equal states are written as they come.
mod sound_and_uneven {
    use super::{Break, Harness};

    broken!(
        Uneven:
        const WRITES_UNEVENLY: bool = true;
        const SAME_STATES: bool = false;
    );
    quorate::durable_machine_conformance!(Harness<Uneven>);
}

/// Nothing is broken, and one thing is done at a time.
mod sound_and_slow {
    use super::{Break, Harness};

    broken!(Slow: const APPLY_LOCKS: bool = true;);
    quorate::durable_machine_conformance!(Harness<Slow>);
}

/// A case is named in quotes where it is seen to fail.
#[test]
fn every_case_fails_some_machine() {
    let source = [include_str!("mod.rs"), include_str!("restore.rs"), include_str!("rows.rs")].concat();
    let unseen: Vec<&str> = cases().filter(|case| !source.contains(&format!("(\"{case}\""))).collect();
    assert!(unseen.is_empty(), "no machine is broken in a way that these find: {unseen:?}");
}

broken!(WritesUnevenly: const WRITES_UNEVENLY: bool = true;);

#[test]
fn writes_equal_states_otherwise_and_its_harness_does_not_say_so() {
    assert_fails(
        functions::<Harness<WritesUnevenly>>(),
        &[(
            "two_machines_come_to_the_same",
            "written as other bytes, as from a `HashMap`, for which there is `SAME_STATES`",
        )],
    );
}

broken!(
    CountsFlushesUnevenly:
    const COUNTS_FLUSHES: bool = true;
    const WRITES_UNEVENLY: bool = true;
    const SAME_STATES: bool = false;
);

#[test]
fn comes_to_something_else_that_only_its_answers_show() {
    assert_fails(
        functions::<Harness<CountsFlushesUnevenly>>(),
        &[("two_machines_come_to_the_same", "after a flush: the record is that of entry 1")],
    );
}

broken!(FreshHasARecord: const FRESH_HAS_A_RECORD: bool = true;);

#[test]
fn has_a_record_before_anything_was_applied() {
    assert_fails(
        functions::<Harness<FreshHasARecord>>(),
        &[("fresh_machine_has_no_record", "opened in an empty place: the record is []")],
    );
}

broken!(FlushNeedsARecord: const FLUSH_NEEDS_A_RECORD: bool = true;);

#[test]
fn flushes_only_once_something_was_applied() {
    assert_fails(
        functions::<Harness<FlushNeedsARecord>>(),
        &[("fresh_machine_has_no_record", "not flushed: there is nothing to flush")],
    );
}

broken!(OpenMakesHalf: const OPEN_MAKES_HALF: bool = true;);

#[test]
fn does_not_open_where_the_power_failed_while_it_was_made() {
    assert_fails(
        functions::<Harness<OpenMakesHalf>>(),
        &[("opening_survives_a_power_cut", "the machine does not open: the place is half made")],
    );
}

broken!(OpenTears: const OPEN_TEARS: bool = true;);

#[test]
fn tears_what_it_finds_when_it_is_opened() {
    assert_fails(
        functions::<Harness<OpenTears>>(),
        &[("opening_survives_a_power_cut", "and the state is another one")],
    );
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

broken!(RecordMovesLater: const RECORD_MOVES_LATER: bool = true;);

#[test]
fn moves_the_record_of_a_batch_behind_its_effects() {
    assert_fails(
        functions::<Harness<RecordMovesLater>>(),
        &[("views_are_whole_beside_apply", "and the state is another one")],
    );
}

broken!(ViewGoesBack: const VIEW_GOES_BACK: bool = true;);

#[test]
fn shows_an_older_state_beside_an_apply() {
    let cases = functions::<Harness<ViewGoesBack>>();
    assert_fails(cases, &[("views_are_whole_beside_apply", "beside an apply")]);
}

broken!(DeadlineRunsAhead: const DEADLINE_RUNS_AHEAD: bool = true;);

#[test]
fn tells_the_deadline_of_a_batch_that_is_not_there() {
    assert_fails(
        functions::<Harness<DeadlineRunsAhead>>(),
        &[("views_are_whole_beside_apply", "beside an apply: the next deadline")],
    );
}

broken!(FlushTakesHalfABatch: const FLUSH_TAKES_HALF_A_BATCH: bool = true;);

#[test]
fn flushes_half_a_batch() {
    assert_fails(
        functions::<Harness<FlushTakesHalfABatch>>(),
        &[("flush_beside_apply_is_of_whole_batches", "and the state is another one")],
    );
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
