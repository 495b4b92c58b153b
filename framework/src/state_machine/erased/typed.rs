//! A machine in memory, erased.

use std::fmt;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{
    Answer, Applied, Committed, ErasedMachine, MachineFailure, QueryFailure, Settle, SnapshotJob,
    encode_answer, panic_message,
};
use crate::error::MachineError;
use crate::state_machine::{DecodeError, QueryContext, RestoreError, StateMachine, Wire};
use crate::storage::Health;
use crate::types::LogTime;

/// Erases a typed machine.
pub(crate) struct Typed<M> {
    cell: RwLock<Cell<M>>,
}

struct Cell<M> {
    machine: M,
    applied: Option<Applied>,
    /// Whether it was left half-way: then it is used no more.
    broken: bool,
}

impl<M> Typed<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self { cell: RwLock::new(Cell { machine, applied: None, broken: false }) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Cell<M>> {
        self.cell.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Cell<M>> {
        self.cell.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> fmt::Debug for Typed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").finish_non_exhaustive()
    }
}

impl<M: StateMachine> Cell<M> {
    fn apply(&mut self, committed: Committed) -> Result<Answer, MachineFailure> {
        let Committed { mut ctx, command } = committed;
        let position = ctx.position();
        let command =
            M::Command::decode(&command).map_err(|source| MachineFailure::Decode { position, source })?;
        let label = command.label();
        let machine = &mut self.machine;
        let answer = catch_unwind(AssertUnwindSafe(|| encode_answer(&machine.apply(&mut ctx, command))));
        answer.map_err(|payload| MachineFailure::Panicked {
            command: label,
            position,
            message: panic_message(&*payload),
        })
    }
}

impl<M: StateMachine> ErasedMachine for Typed<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn version(&self) -> u32 {
        M::VERSION
    }

    fn checker(&self) -> fn(&[u8]) -> Result<(), DecodeError> {
        |command| M::Command::decode(command).map(drop)
    }

    fn durable(&self) -> bool {
        false
    }

    fn recovered(&self) -> Result<Option<Applied>, MachineError> {
        Ok(None)
    }

    fn apply_batch(
        &self,
        commands: Vec<Committed>,
        applied: &Applied,
        settle: Settle<'_>,
    ) -> Result<(), MachineFailure> {
        let mut guard = self.write();
        let cell = &mut *guard;
        if cell.broken {
            return Err(MachineFailure::Broken);
        }
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            match cell.apply(command) {
                Ok(answer) => answers.push(answer),
                Err(failure) => {
                    // Said before the lock is given back: nobody sees what was left half-way.
                    cell.broken = true;
                    return Err(failure);
                }
            }
        }
        cell.applied = Some(applied.clone());
        drop(guard);
        // Nothing of it is stored.
        settle(answers);
        Ok(())
    }

    fn flush(&self) -> Result<(), MachineFailure> {
        Ok(())
    }

    fn query(&self, query: &[u8]) -> Result<Answer, QueryFailure> {
        let query = M::Query::decode(query).map_err(QueryFailure::Decode)?;
        let cell = self.read();
        if cell.broken {
            return Err(QueryFailure::Machine(MachineFailure::Broken));
        }
        let ctx = cell
            .applied
            .as_ref()
            .map_or_else(QueryContext::default, |at| QueryContext::new(Some(at.log_id), at.clock));
        Ok(encode_answer(&cell.machine.query(&ctx, query)))
    }

    fn snapshot(&self) -> Result<Option<(Applied, SnapshotJob)>, MachineFailure> {
        let cell = self.read();
        if cell.broken {
            return Err(MachineFailure::Broken);
        }
        let Some(applied) = cell.applied.clone() else { return Ok(None) };
        let snapshot = cell.machine.snapshot();
        Ok(Some((applied, Box::new(move |out| M::write(snapshot, out)))))
    }

    fn restore(&self, applied: &Applied, input: &mut dyn Read) -> Result<(), RestoreError> {
        let cell = &mut *self.write();
        // Until it is whole again it is not to be looked at, even if this panics.
        cell.broken = true;
        catch_unwind(AssertUnwindSafe(|| cell.machine.restore(input))).unwrap_or_else(|payload| {
            let detail =
                format!("the machine panicked while it restored a snapshot: {}", panic_message(&*payload));
            Err(RestoreError::Decode { detail })
        })?;
        cell.applied = Some(applied.clone());
        cell.broken = false;
        Ok(())
    }

    fn deadline(&self, now: LogTime) -> Result<Option<LogTime>, MachineFailure> {
        Ok(self.read().machine.deadline(now))
    }

    fn health(&self) -> Result<Health, MachineFailure> {
        Ok(Health::Ok)
    }

    fn room_for(&self, _: u64) -> Result<(), RestoreError> {
        Ok(())
    }

    fn close(&self) {}
}
