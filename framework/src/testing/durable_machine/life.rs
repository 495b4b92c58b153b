//! A machine, what it must be now, and what it may be after a power cut.

use std::rc::Rc;

use super::DurableHarness;
use super::history::{History, Point, told_record};
use crate::error::BoxError;
use crate::state_machine::{DurableStateMachine, RestoreError};
use crate::testing::Seeded;
use crate::testing::run::doing;

pub(super) fn told(error: impl Into<BoxError>) -> String {
    error.into().to_string()
}

pub(super) fn view<M: DurableStateMachine>(machine: &M) -> M::View {
    machine.view().unwrap_or_else(|error| panic!("no view: {}", told(error)))
}

pub(super) fn written<M: DurableStateMachine>(view: M::View) -> Vec<u8> {
    let mut bytes = Vec::new();
    M::write(view, &mut bytes).expect("a state can be written to memory");
    bytes
}

pub(super) struct Life<H: DurableHarness> {
    pub(super) place: H::Place,
    pub(super) machine: H::Machine,
    pub(super) at: Point<H>,
    /// Where it may be after a power cut: what was flushed last, and what came after it.
    possible: Vec<Point<H>>,
}

impl<H: DurableHarness> Life<H> {
    pub(super) fn new(history: &Rc<History<H>>) -> Self {
        let place = H::place();
        let (machine, at) = (H::open(&place), history.point(0));
        Self { place, machine, possible: vec![at.clone()], at }
    }

    /// Applies the next entries as one batch. An error is the machine's: the power may have failed.
    pub(super) fn try_apply(&mut self, entries: u64) -> Result<(), String> {
        let from = self.at.upto;
        let next = self.at.of.point(from + entries);
        let batch = format!("the entries {}..={} as one batch", from + 1, next.upto);
        doing(format!("apply {batch}"));
        // Without a word from the machine it may be there.
        self.possible.push(next.clone());
        let record = next.record().expect("of an entry");
        let mut commands = (from + 1..=next.upto).flat_map(|index| next.of.entry(index));
        let responses = self.machine.apply(&mut commands, &record).map_err(told)?;
        self.at = next;
        self.at.check_responses(from, &responses);
        self.at.check_view(self.machine.view().map_err(told)?, &format!("after {batch}"))
    }

    /// Applies the next entries as one batch.
    pub(super) fn apply(&mut self, entries: u64) {
        self.try_apply(entries).unwrap_or_else(|error| panic!("a batch was not applied: {error}"));
    }

    /// Applies so many entries in batches of any size up to `most`.
    pub(super) fn apply_in_batches(&mut self, rng: &mut Seeded, entries: u64, most: u64) {
        let end = self.at.upto + entries;
        while self.at.upto < end {
            let left = end - self.at.upto;
            self.apply(rng.draw(1..most.min(left) + 1));
        }
    }

    pub(super) fn try_flush(&mut self) -> Result<(), String> {
        doing("flush");
        self.machine.flush().map_err(told)?;
        self.possible = vec![self.at.clone()];
        Ok(())
    }

    pub(super) fn flush(&mut self) {
        self.try_flush().unwrap_or_else(|error| panic!("not flushed: {error}"));
    }

    pub(super) fn try_restore(&mut self, to: &Point<H>) -> Result<(), RestoreError> {
        doing(format!("restore the state of entry {}", to.upto));
        self.possible.push(to.clone());
        self.machine.restore(&to.record().expect("of an entry"), &mut &to.state()[..])?;
        self.at = to.clone();
        self.possible = vec![to.clone()];
        Ok(())
    }

    pub(super) fn restore(&mut self, to: &Point<H>) {
        self.try_restore(to).unwrap_or_else(|error| panic!("a state of this machine: {}", told(error)));
        self.check_now("restored");
    }

    fn opened(place: H::Place, at: Point<H>, possible: Vec<Point<H>>) -> Self {
        doing("open the machine");
        let machine = H::open(&place);
        Self { place, machine, at, possible }
    }

    /// Cuts the power, and opens the machine again.
    pub(super) fn crash(self) -> Self {
        let Self { mut place, machine, at, possible } = self;
        doing("cut the power");
        H::crash(&mut place, machine);
        Self::opened(place, at, possible)
    }

    /// Ends the process, or closes the machine where the harness cannot, and opens it again.
    pub(super) fn kill(self) -> Self {
        let Self { mut place, machine, at, possible } = self;
        doing("end the process");
        H::kill(&mut place, machine);
        Self::opened(place, at, possible)
    }

    /// Closes the machine, and opens it again.
    pub(super) fn reopen(self) -> Self {
        let Self { place, machine, at, possible } = self;
        doing("close the machine");
        machine.close();
        drop(machine);
        Self::opened(place, at, possible)
    }

    /// Fails unless the machine is at the point where it was left.
    pub(super) fn check_now(&self, when: &str) {
        let checked = self.at.check_view(view(&self.machine), when);
        checked.unwrap_or_else(|error| panic!("{when}: the state cannot be read: {error}"));
    }

    /// Fails unless the machine is at a point where it may be, and goes on from there.
    pub(super) fn check(&mut self, when: &str) {
        let record = H::Machine::applied(&view(&self.machine));
        let record = record.unwrap_or_else(|error| panic!("{when}: no record: {}", told(error)));
        let found = self.possible.iter().rposition(|point| point.has_record(record.as_ref()));
        let Some(found) = found else {
            let possible: Vec<String> = self.possible.iter().map(ToString::to_string).collect();
            panic!(
                "{when}: the record is {}, and what was flushed, or came later, is {}",
                told_record(record.as_deref()),
                possible.join(", or ")
            );
        };
        self.possible.truncate(found + 1);
        self.at = self.possible[found].clone();
        self.check_now(when);
    }
}
