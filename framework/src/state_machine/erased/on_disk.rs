//! A machine on a disk, erased: what was applied, and what is kept of sessions, is stored in the transaction of
//! its effects.

use std::cell::Cell;
use std::fmt;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bytes::Bytes;

use super::{
    Answer, Applied, Committed, ErasedMachine, MachineFailure, QueryFailure, Settle, SnapshotJob,
    encode_answer, panic_message,
};
use crate::error::{BoxError, MachineError};
use crate::format::applied;
use crate::format::session_rows::ReadRows;
use crate::format::snapshot::Header;
use crate::sessions::Table;
use crate::state_machine::{
    DecodeError, DurableStateMachine, Keep, Kept, QueryContext, Replicated, RestoreError, Wire,
};
use crate::storage::Health;
use crate::types::LogTime;

/// Erases a durable machine.
pub(crate) struct OnDisk<M>(M);

impl<M> OnDisk<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self(machine)
    }
}

impl<M> fmt::Debug for OnDisk<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDisk").finish_non_exhaustive()
    }
}

fn failed<E: Into<BoxError>>(doing: &'static str) -> impl Fn(E) -> MachineFailure {
    move |error| MachineFailure::Failed { doing, source: error.into() }
}

/// Calls the machine: a panic is a failure. What it left half done is in a transaction that was
/// dropped, and the machine is used no more.
fn guarded<T>(
    doing: &'static str,
    call: impl FnOnce() -> Result<T, MachineFailure>,
) -> Result<T, MachineFailure> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        Err(MachineFailure::PanickedAt { doing, message: panic_message(&*payload) })
    })
}

impl<M: DurableStateMachine> OnDisk<M> {
    fn context(view: &M::View) -> Result<QueryContext, MachineFailure> {
        let record = M::applied(view).map_err(failed("read what it has applied"))?;
        let Some(record) = record else { return Ok(QueryContext::default()) };
        let (log_id, time) = applied::position(&record)
            .map_err(|error| MachineFailure::Damaged { detail: error.to_string() })?;
        Ok(QueryContext::new(Some(log_id), time))
    }

    /// All but its sessions.
    fn read_applied(view: &M::View) -> Result<Option<Applied>, MachineError> {
        let record =
            M::applied(view).map_err(failed("read what it has applied")).map_err(MachineError::from)?;
        let Some(record) = record else { return Ok(None) };
        let header =
            applied::decode(&record).map_err(|error| MachineError::Damaged { detail: error.to_string() })?;
        let (name, version) = (<M as Replicated>::NAME, <M as Replicated>::VERSION);
        if header.machine != name {
            return Err(MachineError::OtherMachine { found: header.machine, expected: name.to_owned() });
        }
        if header.version > version {
            return Err(MachineError::NewerVersion { found: header.version, supported: version });
        }
        Ok(Some(header.into()))
    }

    fn read_sessions(view: &M::View) -> Result<Table, MachineError> {
        let mut rows = ReadRows::default();
        let read = M::rows(view, &mut |key, value| rows.push(key, value));
        read.map_err(failed("read what it keeps of sessions")).map_err(MachineError::from)?;
        rows.finish().map_err(|error| MachineError::Damaged { detail: error.to_string() })
    }

    /// The record has nothing of sessions, which are rows.
    fn record(applied: &Applied) -> Bytes {
        let header = applied.header(<M as Replicated>::NAME, <M as Replicated>::VERSION);
        applied::encode(&Header { sessions: Bytes::new(), ..header })
    }
}

impl<M: DurableStateMachine> ErasedMachine for OnDisk<M> {
    fn name(&self) -> &'static str {
        <M as Replicated>::NAME
    }

    fn version(&self) -> u32 {
        <M as Replicated>::VERSION
    }

    fn checker(&self) -> fn(&[u8]) -> Result<(), DecodeError> {
        |command| <M as Replicated>::Command::decode(command).map(drop)
    }

    fn durable(&self) -> bool {
        true
    }

    fn recovered(&self) -> Result<Option<Applied>, MachineError> {
        let view = guarded("open a view", || self.0.view().map_err(failed("open a view")))
            .map_err(MachineError::from)?;
        let Some(applied) = Self::read_applied(&view)? else { return Ok(None) };
        let sessions = Self::read_sessions(&view)?.encode();
        Ok(Some(Applied { sessions, ..applied }))
    }

    fn apply_batch(
        &self,
        commands: Vec<Committed>,
        applied: &Applied,
        settle: Settle<'_>,
    ) -> Result<(), MachineFailure> {
        let mut decoded = Vec::with_capacity(commands.len());
        for Committed { ctx, command } in commands {
            let position = ctx.position();
            let command = <M as Replicated>::Command::decode(&command)
                .map_err(|source| MachineFailure::Decode { position, source })?;
            decoded.push((ctx, command));
        }
        let (expected, record) = (decoded.len(), Self::record(applied));
        let current = Cell::new(None);
        let mut responded = None;
        let keep: Keep<'_, M::Response> = Box::new(|responses| {
            // Whatever fails from here on is not to blame on the last command.
            current.set(None);
            responded = Some(responses.len());
            if responses.len() != expected {
                // The machine is to commit nothing; what it has begun goes with its transaction.
                resume_unwind(Box::new("it has not answered every command"));
            }
            Kept { record, rows: settle(responses.iter().map(encode_answer).collect()) }
        });
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut commands = decoded.into_iter().inspect(|(ctx, command)| {
                current.set(Some((command.label(), ctx.position())));
            });
            self.0.apply(&mut commands, keep)
        }));
        let unanswered =
            |source: String| MachineFailure::Failed { doing: "answer every command", source: source.into() };
        match (outcome, responded) {
            (_, Some(found)) if found != expected => {
                Err(unanswered(format!("{found} responses to {expected} commands")))
            }
            (Ok(Ok(())), None) => {
                Err(unanswered("it did not ask what to store with their effects".to_owned()))
            }
            (Ok(applied), _) => applied.map_err(failed("apply")),
            (Err(payload), _) => {
                let message = panic_message(&*payload);
                Err(match current.get() {
                    Some((command, position)) => MachineFailure::Panicked { command, position, message },
                    None => MachineFailure::PanickedAt { doing: "apply and commit", message },
                })
            }
        }
    }

    fn flush(&self) -> Result<(), MachineFailure> {
        guarded("flush", || self.0.flush().map_err(failed("flush")))
    }

    fn query(&self, query: &[u8]) -> Result<Answer, QueryFailure> {
        let query = <M as Replicated>::Query::decode(query).map_err(QueryFailure::Decode)?;
        let answer = (|| {
            let view = self.0.view().map_err(failed("open a view"))?;
            let ctx = Self::context(&view)?;
            self.0.query(&view, &ctx, query).map_err(failed("answer a query"))
        })();
        answer.map(|answer| encode_answer(&answer)).map_err(QueryFailure::Machine)
    }

    fn snapshot(&self) -> Result<Option<(Applied, SnapshotJob)>, MachineFailure> {
        guarded("open a view", || {
            let view = self.0.view().map_err(failed("open a view"))?;
            let applied = Self::read_applied(&view).map_err(failed("read what it has applied"))?;
            let job: SnapshotJob = Box::new(move |out| M::write(view, out));
            Ok(applied.map(|applied| (applied, job)))
        })
    }

    fn restore(&self, applied: &Applied, input: &mut dyn Read) -> Result<(), RestoreError> {
        let sessions = Table::decode(applied.sessions.clone())
            .map_err(|error| RestoreError::Decode { detail: error.to_string() })?;
        let kept = Kept { record: Self::record(applied), rows: sessions.rows() };
        catch_unwind(AssertUnwindSafe(|| self.0.restore(kept, input))).unwrap_or_else(|payload| {
            let detail =
                format!("the machine panicked while it restored a snapshot: {}", panic_message(&*payload));
            Err(RestoreError::Decode { detail })
        })
    }

    fn deadline(&self, now: LogTime) -> Result<Option<LogTime>, MachineFailure> {
        guarded("tell its deadline", || self.0.deadline(now).map_err(failed("tell its deadline")))
    }

    fn health(&self) -> Result<Health, MachineFailure> {
        guarded("tell whether it has room", || Ok(self.0.health()))
    }

    fn room_for(&self, snapshot_bytes: u64) -> Result<(), RestoreError> {
        self.0.room_for(snapshot_bytes)
    }

    fn close(&self) {
        self.0.close();
    }
}
