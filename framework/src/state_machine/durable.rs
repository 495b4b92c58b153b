//! The contract of a machine whose state is on a disk.

use std::io::{Read, Write};

use bytes::Bytes;

use super::{ApplyContext, Keep, Kept, QueryContext, Replicated, RestoreError};
use crate::error::BoxError;
use crate::storage::Health;
use crate::types::LogTime;

/// A state machine whose state is on a disk, for a state larger than memory, or one that is not to be
/// rebuilt at every start.
///
/// Applications use a layer over it, such as the tables of `quorate-redb`; this is the trait that
/// such a layer implements, beside [`Replicated`], which says what its commands are.
///
/// The framework has two things stored in the transaction of a batch's effects ([`Kept`]), so that every
/// command is applied once, whatever crashes: a *record*, a few bytes that say how far the machine has come,
/// from where a start goes on; and *rows*, what is known of [sessions](crate::sessions), in which a command
/// that is sent again is known again. Both are its own, and no part of the state.
///
/// After an error, or a panic, of `apply`, `flush`, `view`, `applied`, `rows`, `query` or `deadline` the node
/// stops and the machine is used no more.
///
/// # Contract
/// - What [`apply`](Self::apply) does depends on nothing but the state, the contexts and the
///   commands, as with a [`StateMachine`](super::StateMachine) (`two_machines_come_to_the_same`).
/// - Where one batch ends and the next begins is not seen in the state, nor in the responses
///   (`batches_of_any_size_come_to_the_same`).
/// - What a crash has taken is applied again, perhaps in other batches, and has the same effects and
///   responses (`batches_applied_again_answer_the_same`).
/// - Effects, record and rows of a batch are stored together or not at all
///   (`state_and_record_are_of_one_batch_after_crash`).
/// - After a crash the state is that after some batch, at least the last one before the last
///   [`flush`](Self::flush) that returned (`flushed_batches_survive_crash`). Batches need not be flushed
///   one by one.
/// - A view stays as it was, with its record, its rows and the answers from it, whatever is applied, restored
///   or flushed meanwhile (`view_stays_as_it_was`).
/// - Beside an apply, views, queries and deadlines are of a whole batch, with the record and the rows of that:
///   the one before it or the one that is applied, and never one before what was shown already
///   (`views_are_whole_beside_apply`).
/// - A crash while a machine is opened, at any point, is as any other: what was flushed is there, and the
///   place can be opened again, also when it was empty (`opening_survives_a_power_cut`).
///
/// # Conformance
/// `quorate::durable_machine_conformance!` runs the kit; the bullets above and
/// the methods below name its cases. What a machine does with its commands and queries is for
/// `quorate::state_machine_conformance!`, with `quorate::testing::state_machine::Durably`.
///
/// # Called by
/// the framework, from many threads. `apply` and `restore` are called one at a time; the rest beside
/// them. Every method may block.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state machine on a disk",
    label = "the machine",
    note = "implement `quorate::state_machine::DurableStateMachine`, or describe it to a layer such as `quorate_redb::TableMachine`"
)]
pub trait DurableStateMachine: Replicated + Send + Sync {
    /// A frozen view of the state, such as a read transaction.
    type View: Send + 'static;
    /// Why the disk did not do as it was told. Never a business error: those are values in responses.
    type Error: Into<BoxError>;

    /// Applies committed commands in order, and stores what `keep` says with their effects.
    ///
    /// `keep` is called behind the last command, with the responses, one for each command and in their
    /// order.
    ///
    /// # Contract
    /// - There may be no commands, as in entries about elections and members: then what `keep` says is
    ///   stored alone, also as the first of all (`batch_without_commands_moves_the_record`).
    /// - A row that is put takes the place of the one with its key. One that is removed is gone, also after a
    ///   flush, a crash and another opening; that there is none is no error (`removed_rows_are_gone`).
    fn apply(
        &self,
        commands: &mut dyn Iterator<Item = (ApplyContext, Self::Command)>,
        keep: Keep<'_, Self::Response>,
    ) -> Result<(), Self::Error>;

    /// Makes everything that the machine shows survive a power cut.
    ///
    /// # Contract
    /// - That is what was applied so far (`flushed_batches_survive_crash`), and what it found when it was
    ///   opened, which may be in the memory of the operating system alone after a process died
    ///   (`what_was_found_is_flushed_too`).
    /// - Beside an apply it is of whole batches, too: all of the one that is applied, or nothing
    ///   (`flush_beside_apply_is_of_whole_batches`).
    /// - Nothing may have been applied (`fresh_machine_has_no_record`).
    ///
    /// # Called by
    /// the framework: when it starts with a machine that has applied something, before it purges the
    /// log, when much was applied since the last time, and before the machine is closed.
    fn flush(&self) -> Result<(), Self::Error>;

    /// Opens a view of the state after the last batch, quickly.
    fn view(&self) -> Result<Self::View, Self::Error>;

    /// The record in a view; `None` when nothing was ever applied.
    ///
    /// # Contract
    /// - Nor does a flush, a close or a crash make one (`fresh_machine_has_no_record`).
    fn applied(view: &Self::View) -> Result<Option<Bytes>, Self::Error>;

    /// Gives the key and the value of every row in a view to `row`.
    ///
    /// # Contract
    /// - They are what was put and not removed, byte for byte, in the order of the bytes of their keys; and
    ///   what was flushed of them is there when the machine is opened again
    ///   (`rows_survive_a_flush_and_another_opening`).
    ///
    /// What was stored before there were rows has none, which is no error.
    ///
    /// # Called by
    /// the framework, at a start. There are at most
    /// [`MAX_KEPT`](crate::sessions::MAX_KEPT) rows and one more.
    fn rows(view: &Self::View, row: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Self::Error>;

    /// Answers a query from a view.
    fn query(
        &self,
        view: &Self::View,
        ctx: &QueryContext,
        query: Self::Query,
    ) -> Result<Self::Answer, Self::Error>;

    /// Writes out the state in a view, piece by piece, while the machine goes on: neither its record nor its
    /// rows.
    ///
    /// # Contract
    /// - Equal states are written as equal bytes (`two_machines_come_to_the_same`). The framework does not
    ///   need that, the kit compares states so: a machine that writes them as they come says so in its
    ///   harness, `DurableHarness::SAME_STATES`.
    fn write(view: Self::View, out: &mut dyn Write) -> std::io::Result<()>;

    /// Replaces state, record and rows, durably, before returning.
    ///
    /// # Contract
    /// - No row of before is there afterwards (`restore_replaces_the_rows`).
    /// - Views are opened and queries answered meanwhile, from the old state, and from the new one once
    ///   that has taken its place (`queries_are_answered_beside_a_restore`).
    /// - After a crash at any point the old ones are there or the new ones
    ///   (`restore_is_whole_or_not_at_all_after_crash`).
    /// - After an error the old ones are kept, also if the power fails next
    ///   (`failed_restore_keeps_the_old_state`).
    /// - What cannot be read as a state is an error, no panic, and so is the beginning of one, unless that
    ///   is a smaller state by itself (`what_is_no_state_is_not_restored`).
    /// - What is applied and flushed next goes on from the new ones (`restored_state_goes_on`).
    ///
    /// # Errors
    /// When `input` fails or is not such a state.
    fn restore(&self, kept: Kept, input: &mut dyn Read) -> Result<(), RestoreError>;

    /// As [`StateMachine::deadline`](super::StateMachine::deadline), of the state after the last
    /// batch. The default is never.
    ///
    /// # Contract
    /// - It is the same whether that batch was applied, found when the machine was opened, or restored
    ///   (`deadline_is_that_of_the_state`).
    fn deadline(&self, now: LogTime) -> Result<Option<LogTime>, Self::Error> {
        let _ = now;
        Ok(None)
    }

    /// Whether its disk has room for what is still to be applied.
    ///
    /// What is committed must be applied, so that an apply that finds no room stops the node. At
    /// [`Health::Low`] the node refuses new writes as *not applied* instead, as it does when its
    /// storage says so. What is under way by then must fit: commands of as many bytes as the node's
    /// `limits.queue_bytes` and an eighth more, which may take twice as much as tables, as may the rows, which
    /// are at most [`MAX_KEPT`](crate::sessions::MAX_KEPT) of little more than
    /// [`MAX_KEPT_ANSWER_BYTES`](crate::sessions::MAX_KEPT_ANSWER_BYTES); and what is not written to the disk
    /// before a flush. At [`Health::Failed`] the node stops, and does not start. The default is
    /// always [`Health::Ok`].
    ///
    /// # Contract
    /// - A machine that works does not say [`Health::Failed`] (`working_machine_has_not_failed`).
    ///
    /// # Called by
    /// the framework: at the start, after every batch, flush and restore, and once a second while it is
    /// not [`Health::Ok`].
    fn health(&self) -> Health {
        Health::Ok
    }

    /// Whether a snapshot of so many bytes could be restored now, as far as can be told, beside the state
    /// that is there. One that does not fit is not taken from another node, which tries again later; a
    /// [`restore`](Self::restore) that finds no room stops the node. The default is always `Ok`.
    ///
    /// # Contract
    /// - It does not refuse what can be restored, where there is ample room (`what_is_restored_had_room`).
    ///
    /// # Errors
    /// [`RestoreError::NoRoom`].
    ///
    /// # Called by
    /// the framework, while a snapshot arrives, with the bytes there are so far, and before it is restored.
    fn room_for(&self, snapshot_bytes: u64) -> Result<(), RestoreError> {
        let _ = snapshot_bytes;
        Ok(())
    }

    /// Closes its files, so that they can be opened again.
    ///
    /// # Contract
    /// - They can be while views are still open. Those go on as they were or end with an error, and change
    ///   nothing (`machine_opens_again_beside_a_view`).
    ///
    /// # Called by
    /// the node, last of all. The default does nothing: dropping the machine is all.
    fn close(&self) {}
}
