//! Machines that are broken in the rows that they store beside the state.

use quorate::testing::durable_machine::functions;

use super::Break;
use super::harness::Harness;
use crate::verdict::assert_fails;

broken!(RowsAreEarly: const ROWS_ARE_EARLY: bool = true;);

#[test]
fn stores_the_rows_before_the_effects() {
    assert_fails(
        functions::<Harness<RowsAreEarly>>(),
        &[("state_and_record_are_of_one_batch_after_crash", "and the rows are not: ")],
    );
}

broken!(SkipsRowless: const SKIPS_ROWLESS: bool = true;);

#[test]
fn stores_nothing_when_no_row_comes() {
    assert_fails(
        functions::<Harness<SkipsRowless>>(),
        &[("batches_of_any_size_come_to_the_same", "the record is ")],
    );
}

broken!(RemovedRowsStay: const REMOVED_ROWS_STAY: bool = true;);

#[test]
fn removes_no_row() {
    assert_fails(
        functions::<Harness<RemovedRowsStay>>(),
        &[("removed_rows_are_gone", "and the rows are not: there is a row of key 01")],
    );
}

broken!(RemovalNeedsARow: const REMOVAL_NEEDS_A_ROW: bool = true;);

#[test]
fn fails_when_a_row_that_is_to_go_is_not_there() {
    assert_fails(
        functions::<Harness<RemovalNeedsARow>>(),
        &[("removed_rows_are_gone", "not applied: there is no such row")],
    );
}

broken!(RowsIgnoreTheView: const ROWS_IGNORE_THE_VIEW: bool = true;);

#[test]
fn shows_the_last_rows_in_every_view() {
    assert_fails(
        functions::<Harness<RowsIgnoreTheView>>(),
        &[("view_stays_as_it_was", "in a view of what was: the record is that of entry 3")],
    );
}

broken!(RowsAreUnordered: const ROWS_ARE_UNORDERED: bool = true;);

#[test]
fn shows_rows_in_another_order_than_that_of_their_keys() {
    assert_fails(
        functions::<Harness<RowsAreUnordered>>(),
        &[("rows_survive_a_flush_and_another_opening", "the rows are not in the order of their keys")],
    );
}

broken!(RowsAreNotFlushed: const ROWS_ARE_NOT_FLUSHED: bool = true;);

#[test]
fn flushes_no_rows() {
    assert_fails(
        functions::<Harness<RowsAreNotFlushed>>(),
        &[("rows_survive_a_flush_and_another_opening", "and the rows are not: the row of key 01")],
    );
}

broken!(RestoreKeepsRows: const RESTORE_KEEPS_ROWS: bool = true;);

#[test]
fn keeps_its_rows_beside_those_of_what_it_restores() {
    assert_fails(
        functions::<Harness<RestoreKeepsRows>>(),
        &[("restore_replaces_the_rows", "restored: the record is that of entry 30")],
    );
}
