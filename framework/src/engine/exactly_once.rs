//! Step 7 of a write, of a command of a session: applied the first time, and known again after that.
//!
//! What is in memory here is what decides. Of a machine on a disk it is read from its rows at a start, and
//! every batch stores what changes of it; so it is there after a crash as it was behind the last batch whose
//! effects are.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::error::MachineError;
use crate::sessions::{Numbered, Settling, Table};
use crate::state_machine::erased::{Applied, Committed, ErasedMachine, Replied};

/// The sessions as of the last batch.
pub(super) struct ExactlyOnce {
    table: Mutex<Table>,
    /// Whether a command that is sent again is known again: always, but in a simulated run that is asked for
    /// the bug.
    dedupe: bool,
    /// Whether the machine stores what changes.
    stores: bool,
}

impl ExactlyOnce {
    /// What a machine has that was found at a start; `None` for one that has applied nothing.
    pub(super) fn new(found: Option<&Applied>, dedupe: bool, stores: bool) -> Result<Self, MachineError> {
        let this = Self { table: Mutex::default(), dedupe, stores };
        this.replace(found.map(sessions_of).transpose()?.unwrap_or_default());
        Ok(this)
    }

    /// Takes the sessions that came with a state that was restored.
    pub(super) fn replace(&self, table: Table) {
        let table = if self.stores { table.noting() } else { table };
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = table;
    }

    /// The bytes of all sessions.
    pub(super) fn encode(&self) -> Bytes {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).encode()
    }

    /// Applies a batch up to `applied`; gives what became of its commands, in order.
    ///
    /// # Errors
    /// Why the machine can go on no more.
    pub(super) fn apply(
        &self,
        machine: &dyn ErasedMachine,
        commands: Vec<(Option<Numbered>, Committed)>,
        applied: &Applied,
    ) -> Result<Vec<Replied>, String> {
        let table = &mut *self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut settling = Settling::default();
        let mut first = Vec::with_capacity(commands.len());
        for (numbered, command) in commands {
            let position = command.ctx.position();
            let numbered = numbered.filter(|numbered| self.dedupe || numbered.is_control());
            let decided = settling.next(table, numbered, command);
            first.extend(decided.map_err(|error| format!("command {position}: {error}"))?);
        }
        let mut replied = Vec::new();
        let settle = Box::new(|answers| {
            replied = settling.finish(table, answers);
            table.advance(applied.clock);
            table.changed_rows()
        });
        machine.apply_batch(first, applied, settle).map_err(|failure| failure.to_string())?;
        Ok(replied)
    }
}

/// The sessions that a snapshot or a machine holds.
pub(super) fn sessions_of(applied: &Applied) -> Result<Table, MachineError> {
    Table::decode(applied.sessions.clone())
        .map_err(|error| MachineError::Damaged { detail: error.to_string() })
}
