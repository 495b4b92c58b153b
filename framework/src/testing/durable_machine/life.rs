//! A machine, what it must be now, and what it may be after a power cut.

use std::iter;
use std::sync::Arc;

use super::DurableHarness;
use super::history::{History, Point, applied, told_record};
use crate::error::BoxError;
use crate::state_machine::erased::with_sources;
use crate::state_machine::{DurableStateMachine, RestoreError};
use crate::storage::Health;
use crate::testing::Seeded;
use crate::testing::run::doing;

pub(super) fn told(error: impl Into<BoxError>) -> String {
    with_sources(&error.into())
}

pub(super) fn open<H: DurableHarness>(place: &H::Place) -> H::Machine {
    doing("open the machine");
    H::open(place).unwrap_or_else(|error| panic!("the machine does not open: {}", told(error)))
}

pub(super) fn view<M: DurableStateMachine>(machine: &M) -> M::View {
    machine.view().unwrap_or_else(|error| panic!("no view: {}", told(error)))
}

/// Applies the entries behind `from` up to `next` as one batch; `before` is called before each command,
/// and behind the last.
pub(super) fn apply_batch<H: DurableHarness>(
    machine: &H::Machine,
    from: u64,
    next: &Point<H>,
    mut before: impl FnMut(),
) -> Result<(), String> {
    let mut commands = (from + 1..=next.upto).flat_map(|index| next.of.entry(index));
    let mut commands = iter::from_fn(|| {
        before();
        commands.next()
    });
    let responses = applied(machine, &mut commands, next.kept_since(from))?;
    next.check_responses(from, &responses);
    Ok(())
}

/// How a machine ends that is not closed.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The power fails.
    Crash,
    /// The process dies, or closes the machine where the harness cannot do that.
    Kill,
}

impl End {
    pub(super) fn drawn(rng: &mut Seeded) -> Self {
        if rng.one_in(2) { Self::Kill } else { Self::Crash }
    }

    /// Says whether the place has its power back.
    fn strike<H: DurableHarness>(self, place: &mut H::Place, machine: Option<H::Machine>) -> bool {
        match self {
            Self::Crash => {
                doing("cut the power");
                H::crash(place, machine);
                true
            }
            Self::Kill => {
                doing("end the process");
                H::kill(place, machine)
            }
        }
    }
}

/// A place with no machine open, and what one may be that is opened there.
pub(super) struct Closed<H: DurableHarness> {
    place: H::Place,
    at: Point<H>,
    possible: Vec<Point<H>>,
}

impl<H: DurableHarness> Closed<H> {
    pub(super) fn empty(history: &Arc<History<H>>) -> Self {
        let at = history.point(0);
        Self { place: H::place(), possible: vec![at.clone()], at }
    }

    pub(super) fn open(self) -> Life<H> {
        let Self { place, at, possible } = self;
        let machine = open::<H>(&place);
        Life { place, machine, at, possible }
    }

    /// Opens the machine, with power for so many operations if that is to fail meanwhile, and ends it.
    /// An error when it did not open.
    pub(super) fn open_and_end(mut self, points: Option<u64>, end: End) -> (Self, Result<(), String>) {
        if let Some(points) = points {
            doing(format!("open the machine, with power for {points} operations"));
            H::cut_power_after(&self.place, points);
        }
        let (machine, opened) = match H::open(&self.place) {
            Ok(machine) => (Some(machine), Ok(())),
            Err(error) => (None, Err(told(error))),
        };
        let has_power = end.strike::<H>(&mut self.place, machine);
        // A harness that only closes machines gives no power back.
        if points.is_some() && !has_power {
            H::crash(&mut self.place, None);
        }
        (self, opened)
    }
}

/// A machine, and what it must be.
pub(super) struct Life<H: DurableHarness> {
    pub(super) place: H::Place,
    pub(super) machine: H::Machine,
    pub(super) at: Point<H>,
    /// Where it may be after a power cut: what was flushed last, and what came after it.
    possible: Vec<Point<H>>,
}

impl<H: DurableHarness> Life<H> {
    pub(super) fn new(history: &Arc<History<H>>) -> Self {
        Closed::empty(history).open()
    }

    /// Applies the next entries as one batch. An error is the machine's: the power may have failed.
    pub(super) fn try_apply(&mut self, entries: u64) -> Result<(), String> {
        let from = self.at.upto;
        let next = self.at.of.point(from + entries);
        let batch = format!("the entries {}..={} as one batch", from + 1, next.upto);
        doing(format!("apply {batch}"));
        // Without a word from the machine it may be there.
        self.possible.push(next.clone());
        apply_batch(&self.machine, from, &next, || ())?;
        self.at = next;
        let view = self.machine.view().map_err(told)?;
        self.at.check_view(&self.machine, view, &format!("after {batch}"))
    }

    /// Applies the next entries as one batch.
    pub(super) fn apply(&mut self, entries: u64) {
        self.try_apply(entries).unwrap_or_else(|error| panic!("a batch was not applied: {error}"));
        self.check_health("after a batch");
    }

    /// Batches up to `next` were applied elsewhere, and `flushed` says whether a flush that began in the
    /// midst of the last one has returned.
    pub(super) fn went_on_to(&mut self, next: &Point<H>, flushed: bool) {
        if flushed {
            self.possible = vec![self.at.clone()];
        }
        self.possible.push(next.clone());
        self.at = next.clone();
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
        self.check_health("after a flush");
    }

    /// Restores a state. When that fails, the power may have failed.
    pub(super) fn try_restore(&mut self, to: &Point<H>) -> Result<(), RestoreError> {
        doing(format!("restore the state of entry {}", to.upto));
        self.possible.push(to.clone());
        self.machine.restore(to.kept(), &mut &to.state()[..])?;
        self.at = to.clone();
        self.possible = vec![to.clone()];
        Ok(())
    }

    pub(super) fn restore(&mut self, to: &Point<H>) {
        self.try_restore(to).unwrap_or_else(|error| panic!("a state of this machine: {}", told(error)));
        self.check_now("restored");
    }

    /// Ends the machine, and leaves its place closed.
    pub(super) fn end(self, end: End) -> Closed<H> {
        let Self { mut place, machine, at, possible } = self;
        end.strike::<H>(&mut place, Some(machine));
        Closed { place, at, possible }
    }

    /// Cuts the power, and opens the machine again.
    pub(super) fn crash(self) -> Self {
        self.end(End::Crash).open()
    }

    /// Ends the process, or closes the machine where the harness cannot, and opens it again.
    pub(super) fn kill(self) -> Self {
        self.end(End::Kill).open()
    }

    /// Closes the machine, and opens it again.
    pub(super) fn reopen(self) -> Self {
        let Self { place, machine, at, possible } = self;
        doing("close the machine");
        machine.close();
        drop(machine);
        Closed { place, at, possible }.open()
    }

    /// Fails unless the machine is at the point where it was left.
    pub(super) fn check_now(&self, when: &str) {
        let checked = self.at.check_view(&self.machine, view(&self.machine), when);
        checked.unwrap_or_else(|error| panic!("{when}: the state cannot be read: {error}"));
        self.check_health(when);
    }

    /// Fails when the machine says that it has failed, for which it has no reason while there is power.
    pub(super) fn check_health(&self, when: &str) {
        let health = self.machine.health();
        assert!(health != Health::Failed, "{when}: the machine works, and says that it has failed");
    }

    /// Fails unless the next deadline is that of the point where the machine is.
    pub(super) fn check_deadline(&self, when: &str) {
        self.at.check_deadline(self.at.deadline(&self.machine, when), when);
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
