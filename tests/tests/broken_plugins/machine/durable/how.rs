//! The ways to be broken.

use std::time::Duration;

/// One way to be broken: everything that it does not override is right.
pub(super) trait Break: Send + Sync + 'static {
    /// Whether the record is on the disk before the effects are.
    const RECORD_IS_EARLY: bool = false;
    /// Whether the rows are on the disk before the effects are.
    const ROWS_ARE_EARLY: bool = false;
    /// Whether a batch is not applied with which no row comes.
    const SKIPS_ROWLESS: bool = false;
    /// Whether a row that is to be removed stays.
    const REMOVED_ROWS_STAY: bool = false;
    /// Whether the removal of a row that is not there is an error.
    const REMOVAL_NEEDS_A_ROW: bool = false;
    /// Whether the rows are read from the last state, and not from the view.
    const ROWS_IGNORE_THE_VIEW: bool = false;
    /// Whether rows are read in another order than that of their keys.
    const ROWS_ARE_UNORDERED: bool = false;
    /// Whether a flush leaves rows where they are.
    const ROWS_ARE_NOT_FLUSHED: bool = false;
    /// Whether rows stay beside those of a state that is restored.
    const RESTORE_KEEPS_ROWS: bool = false;
    /// Whether a flush does nothing.
    const FLUSH_LIES: bool = false;
    /// Whether what is flushed counts.
    const COUNTS_FLUSHES: bool = false;
    /// Whether a flush puts the record on the disk before the effects, after much else.
    const FLUSH_TEARS_LATE: bool = false;
    /// Whether a flush does nothing after the machine was opened, until something is applied.
    const FLUSH_SKIPS_WHAT_IT_FOUND: bool = false;
    /// Whether a flush does nothing until a command is applied.
    const FLUSH_SKIPS_EMPTY: bool = false;
    /// Whether a flush does nothing once a state was restored.
    const FLUSH_STAYS_BEHIND: bool = false;
    /// Whether a batch without commands is not applied.
    const SKIPS_EMPTY: bool = false;
    /// Whether every batch counts.
    const COUNTS_BATCHES: bool = false;
    /// Whether every command of a batch is answered with the sum after the last.
    const ANSWERS_LATE: bool = false;
    /// Whether a response says how many commands were applied since the machine was opened.
    const COUNTS_SINCE_OPEN: bool = false;
    /// Whether a view shows what comes later.
    const VIEW_THAWS: bool = false;
    /// Whether a view shows the last state once the machine is closed.
    const VIEW_MOVES_AT_CLOSE: bool = false;
    /// Whether the place cannot be opened while there is a view.
    const VIEW_LOCKS: bool = false;
    /// Whether a view that outlives its machine puts its state back.
    const VIEW_PUTS_BACK: bool = false;
    /// Whether a query is answered from the last state, and not from its view.
    const QUERY_IGNORES_THE_VIEW: bool = false;
    /// Whether nothing else is done while a batch is applied, which is no mistake.
    const APPLY_LOCKS: bool = false;
    /// Whether the effects of a batch are seen while it is applied, and its record is moved behind it.
    const RECORD_MOVES_LATER: bool = false;
    /// Whether a view beside an apply is of the batch before the last.
    const VIEW_GOES_BACK: bool = false;
    /// Whether a flush beside an apply has the effects of the batch so far.
    const FLUSH_TAKES_HALF_A_BATCH: bool = false;
    /// Whether a machine that has applied nothing has a record.
    const FRESH_HAS_A_RECORD: bool = false;
    /// Whether a flush before anything was applied is an error.
    const FLUSH_NEEDS_A_RECORD: bool = false;
    /// Whether an empty place is made in two steps, between which it does not open.
    const OPEN_MAKES_HALF: bool = false;
    /// Whether what is found is rewritten in two steps when it is opened.
    const OPEN_TEARS: bool = false;
    /// Whether equal states are written as other bytes each time.
    const WRITES_UNEVENLY: bool = false;
    /// What its harness says of that.
    const SAME_STATES: bool = true;
    /// Whether it says that it has failed once it was opened again.
    const FAILS_LATE: bool = false;
    /// Whether it says that it has no room for more than it has.
    const ROOM_IS_REFUSED: bool = false;
    /// Whether it says that a lack of room is something else.
    const ROOM_IS_DAMAGE: bool = false;
    /// Whether the deadline beside an apply is that behind the batch.
    const DEADLINE_RUNS_AHEAD: bool = false;
    /// Whether the deadline is kept in memory alone.
    const DEADLINE_IS_FORGOTTEN: bool = false;
    /// Whether the record of a restored state is on the disk before the state is.
    const RESTORE_TEARS: bool = false;
    /// The same, after much else.
    const RESTORE_TEARS_LATE: bool = false;
    /// Whether the old state goes before the new one is read.
    const RESTORE_CLEARS: bool = false;
    /// Whether a state is restored into a fresh machine without a flush.
    const RESTORE_OF_FRESH_IS_LAZY: bool = false;
    /// Whether a restore that fails has put the new record on the disk, until the next flush.
    const FAILED_RESTORE_TEARS: bool = false;
    /// Whether what is missing of a state that is restored is taken for zeros.
    const RESTORE_PADS: bool = false;
    /// Whether the old state goes when the new one cannot be decoded.
    const BAD_STATE_CLEARS: bool = false;
    /// Whether it panics when a state cannot be decoded.
    const BAD_STATE_PANICS: bool = false;
    /// Whether what is applied after a restore goes on from the state before it.
    const RESTORE_KEEPS_A_CACHE: bool = false;
    /// Whether nothing is answered while a state is restored.
    const RESTORE_LOCKS: bool = false;
    /// Whether the new record is seen while the new state is read.
    const RESTORE_SHOWS: bool = false;
    /// Whether its harness can cut the power between two calls, and nothing else.
    const HARNESS_IS_PLAIN: bool = false;
    /// How long a case may take.
    const LIMIT: Duration = Duration::from_mins(2);
}
