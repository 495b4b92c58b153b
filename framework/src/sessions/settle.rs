//! Sorts the commands of a batch: which are applied, and what is said to the others.

use bytes::Bytes;

use super::Numbered;
use super::table::{Open, Table, Verdict, kept};
use crate::format::FormatError;
use crate::state_machine::erased::{Answer, AnswerError, Committed, Replied};
use crate::types::Position;

/// What becomes of one command of a batch.
enum Slot {
    /// It is applied, as the how many-th.
    Applied(usize),
    /// It is the same command as one before it in the batch, applied there.
    Same(Position),
    Said(Replied),
}

/// A batch, sorted.
#[derive(Default)]
pub(crate) struct Settling {
    slots: Vec<Slot>,
    /// Those that are applied, with their place and number.
    applied: Vec<(Position, Option<Numbered>)>,
}

impl Settling {
    /// Decides about the next command; gives it back when it is to be applied.
    pub(crate) fn next(
        &mut self,
        table: &mut Table,
        call: Option<Numbered>,
        committed: Committed,
    ) -> Result<Option<Committed>, FormatError> {
        let (position, now) = (committed.ctx.position(), committed.ctx.time());
        let said = |position, answer, again| Slot::Said(Replied { position, answer, again });
        let verdict = match call {
            None => Verdict::Apply,
            Some(call) if call.is_control() => Verdict::Settled(Ok(control(table, call, &committed)?)),
            Some(call) => table.decide(call, position, now),
        };
        let slot = match verdict {
            Verdict::Apply => {
                self.slots.push(Slot::Applied(self.applied.len()));
                self.applied.push((position, call));
                return Ok(Some(committed));
            }
            Verdict::Applying(position) => Slot::Same(position),
            Verdict::Known(position, answer) => said(position, answer, true),
            Verdict::Settled(answer) => said(position, answer, false),
        };
        self.slots.push(slot);
        Ok(None)
    }

    /// Keeps the answers to those that were applied, and gives those to all.
    pub(crate) fn finish(self, table: &mut Table, answers: Vec<Answer>) -> Vec<Replied> {
        for ((position, call), answer) in self.applied.iter().zip(&answers) {
            if let Some(call) = call {
                table.answered(*call, *position, answer);
            }
        }
        let at = |place: usize, again| {
            let position = self.applied[place].0;
            // A machine that answers too few is refused before.
            let answer = answers.get(place).cloned().unwrap_or(Err(AnswerError::Encode));
            let answer = if again { kept(&answer) } else { answer };
            Replied { position, answer, again }
        };
        let reply = |slot| match slot {
            Slot::Applied(place) => at(place, false),
            Slot::Same(position) => {
                // Positions grow, so they can be searched for.
                at(self.applied.partition_point(|(applied, _)| *applied < position), true)
            }
            Slot::Said(replied) => replied,
        };
        self.slots.into_iter().map(reply).collect()
    }
}

/// Opens or ends a session.
fn control(table: &mut Table, call: Numbered, committed: &Committed) -> Result<Bytes, FormatError> {
    call.check_control(&committed.command)?;
    let now = committed.ctx.time();
    table.advance(now);
    if call.client == Numbered::NOBODY {
        let client = table.open(Open::decode(committed.command.clone())?, now);
        return Ok(Bytes::copy_from_slice(&client.0.to_le_bytes()));
    }
    table.close(call.client);
    Ok(Bytes::new())
}
