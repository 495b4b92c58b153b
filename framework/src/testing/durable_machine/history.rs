//! What every machine must come to: a log, and one that applied it straight through.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::DurableHarness;
use super::life::{open, told, view};
use super::rows::{self, Rows};
use crate::state_machine::{ApplyContext, DurableStateMachine, Kept, QueryContext, Replicated, Wire};
use crate::testing::Seeded;
use crate::testing::run::doing;
use crate::types::{ClusterId, GroupId, LogId, LogIndex, LogTime, Position, Term};

type Command<H> = <<H as DurableHarness>::Machine as Replicated>::Command;
type Response<H> = <<H as DurableHarness>::Machine as Replicated>::Response;
type View<H> = <<H as DurableHarness>::Machine as DurableStateMachine>::View;

/// The entries of a log, from 1, and what each led to.
pub(super) struct History<H> {
    seed: u64,
    /// After how many entries the state was written as which bytes.
    states: Vec<Vec<u8>>,
    /// The rows that are stored beside each.
    rows: Vec<Rows>,
    /// What the same queries were answered from each.
    answers: Vec<Vec<Vec<u8>>>,
    deadlines: Vec<Option<LogTime>>,
    /// What the commands of each entry were answered.
    responses: Vec<Vec<Vec<u8>>>,
    harness: PhantomData<fn() -> H>,
}

fn bytes_of(value: &impl Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes).unwrap_or_else(|error| panic!("{error}"));
    bytes
}

fn time(index: u64) -> LogTime {
    LogTime::from_micros(index * 100_000)
}

fn term(index: u64) -> u64 {
    1 + index / 20
}

fn written<M: DurableStateMachine>(view: M::View) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    M::write(view, &mut bytes).map_err(told)?;
    Ok(bytes)
}

/// The bytes of the answers to the queries of a seed, from a view of the state after so many entries.
fn answers<H: DurableHarness>(
    machine: &H::Machine,
    view: &View<H>,
    upto: u64,
    seed: u64,
) -> Result<Vec<Vec<u8>>, String> {
    let mut rng = Seeded::new(seed);
    let applied = (upto > 0).then(|| LogId::new(term(upto), upto));
    let ctx = QueryContext::new(applied, time(upto));
    let queries = (0..8).map_while(|_| H::query(&mut rng));
    queries
        .map(|query| {
            let answer = machine.query(view, &ctx, query).map_err(told);
            answer
                .map(|answer| bytes_of(&answer))
                .map_err(|error| format!("a query was not answered: {error}"))
        })
        .collect()
}

/// Applies a batch; gives the responses.
pub(super) fn applied<M: DurableStateMachine>(
    machine: &M,
    commands: &mut dyn Iterator<Item = (ApplyContext, M::Command)>,
    kept: Kept,
) -> Result<Vec<M::Response>, String> {
    let mut handed = None;
    let keep = Box::new(|responses| {
        handed = Some(responses);
        kept
    });
    machine.apply(commands, keep).map_err(told)?;
    assert!(
        commands.next().is_none(),
        "a batch was applied, and there is a command that the machine did not take"
    );
    Ok(handed
        .expect("a batch was applied, and the machine did not ask what is to be stored with its effects"))
}

impl<H: DurableHarness> History<H> {
    /// A log of so many entries, applied by a machine that is never closed or flushed, one entry at a
    /// time.
    pub(super) fn drawn(rng: &mut Seeded, entries: u64) -> Arc<Self> {
        let place = H::place();
        let machine = open::<H>(&place);
        let seed = rng.next_u64();
        let mut history = Self {
            seed,
            states: Vec::new(),
            rows: rows::of_log(seed, entries),
            answers: Vec::new(),
            deadlines: Vec::new(),
            responses: vec![Vec::new()],
            harness: PhantomData,
        };
        for index in 0..=entries {
            doing(format!("apply entry {index}, straight through"));
            if index > 0 {
                let kept = history.kept(index - 1, index);
                let responses = applied(&machine, &mut history.entry(index).into_iter(), kept);
                let responses = responses.unwrap_or_else(|error| panic!("not applied: {error}"));
                history.responses.push(responses.iter().map(bytes_of).collect());
            }
            let view = view(&machine);
            let answers = answers::<H>(&machine, &view, index, history.seed);
            history.answers.push(answers.unwrap_or_else(|error| panic!("{error}")));
            let state = written::<H::Machine>(view);
            history.states.push(state.unwrap_or_else(|error| panic!("a state was not written: {error}")));
            let deadline = machine.deadline(time(index));
            history.deadlines.push(deadline.unwrap_or_else(|error| panic!("no deadline: {}", told(error))));
        }
        assert!(
            history.states.first() != history.states.last(),
            "{entries} entries changed nothing: the commands of the harness show too little"
        );
        assert!(
            H::SAME_STATES || !history.answers[0].is_empty(),
            "the harness has no queries, and says that equal states are written differently: there is nothing to \
             compare states by"
        );
        Arc::new(history)
    }

    pub(super) fn point(self: &Arc<Self>, upto: u64) -> Point<H> {
        assert!(upto < self.states.len() as u64, "the log of the kit is too short for entry {upto}");
        Point { of: self.clone(), upto }
    }

    /// How many entries there are behind a point; `None` at the end of the log.
    pub(super) fn left_behind(&self, point: &Point<H>) -> Option<u64> {
        Some(self.states.len() as u64 - 1 - point.upto).filter(|left| *left > 0)
    }

    /// The commands of an entry. The first has none, as in the log of every node, and more later on.
    pub(super) fn entry(&self, index: u64) -> Vec<(ApplyContext, Command<H>)> {
        let mut rng = Seeded::new(Seeded::new(self.seed ^ index).next_u64());
        let count = if matches!(index % 10, 1 | 5 | 6) { 0 } else { rng.draw(1..5) };
        let command = |ordinal| {
            let position = Position { index: LogIndex(index), ordinal };
            let (cluster, term) = (ClusterId([7; 32]), Term(term(index)));
            (ApplyContext::new(cluster, GroupId::MAIN, term, position, time(index)), H::command(&mut rng))
        };
        (0..count as u32).map(command).collect()
    }

    /// What is stored with a batch of the entries behind `from` up to `upto`.
    fn kept(&self, from: u64, upto: u64) -> Kept {
        let record = self.record(upto).expect("of an entry").into();
        Kept { record, rows: rows::changed(self.seed, from + 1..=upto, &self.rows[upto as usize]) }
    }

    /// What is stored beside the state after so many entries; they are not of one length.
    fn record(&self, upto: u64) -> Option<Vec<u8>> {
        let mut record = [self.seed.to_le_bytes(), upto.to_le_bytes()].concat();
        record.resize(16 + (upto % 40) as usize, 0xee);
        Some(record).filter(|_| upto > 0)
    }
}

/// After so many entries of a log.
pub(super) struct Point<H> {
    pub(super) of: Arc<History<H>>,
    pub(super) upto: u64,
}

impl<H> Clone for Point<H> {
    fn clone(&self) -> Self {
        Self { of: self.of.clone(), upto: self.upto }
    }
}

impl<H> fmt::Display for Point<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "that of entry {} of log {:04x}", self.upto, self.of.seed as u16)
    }
}

/// A record as a reader wants it.
pub(super) fn told_record(record: Option<&[u8]>) -> String {
    let Some(record) = record else { return "none".to_owned() };
    match (record.first_chunk::<2>(), record.get(8..16).and_then(|upto| upto.try_into().ok())) {
        (Some(log), Some(upto)) => {
            let (log, upto) = (u16::from_le_bytes(*log), u64::from_le_bytes(upto));
            format!("that of entry {upto} of log {log:04x}, in {} bytes", record.len())
        }
        _ => format!("{record:?}"),
    }
}

impl<H: DurableHarness> Point<H> {
    /// `None` before the first entry.
    pub(super) fn record(&self) -> Option<Vec<u8>> {
        self.of.record(self.upto)
    }

    /// What is stored with the entries behind `from`, as one batch.
    pub(super) fn kept_since(&self, from: u64) -> Kept {
        self.of.kept(from, self.upto)
    }

    /// What is stored with this state when it is restored.
    pub(super) fn kept(&self) -> Kept {
        let record = self.record().expect("of an entry").into();
        Kept { record, rows: rows::whole(self.rows()) }
    }

    fn rows(&self) -> &Rows {
        &self.of.rows[self.upto as usize]
    }

    pub(super) fn has_record(&self, record: Option<&Bytes>) -> bool {
        record.map(|record| &record[..]) == self.record().as_deref()
    }

    pub(super) fn state(&self) -> &Vec<u8> {
        &self.of.states[self.upto as usize]
    }

    /// Fails unless these are the responses to the entries after `from`.
    pub(super) fn check_responses(&self, from: u64, responses: &[Response<H>]) {
        let entries = from + 1..=self.upto;
        let expected = entries.clone().flat_map(|index| {
            let responses = self.of.responses[index as usize].iter().enumerate();
            responses.map(move |(ordinal, response)| (index, ordinal, response))
        });
        let count = expected.clone().count();
        assert_eq!(responses.len(), count, "the number of responses to the batch of entries {entries:?}");
        for ((index, ordinal, expected), response) in expected.zip(responses) {
            assert!(
                bytes_of(response) == *expected,
                "in the batch of entries {entries:?} command {ordinal} of entry {index} has another response than \
                 on a machine that applied straight through"
            );
        }
    }

    /// Fails unless the record of a view is that of this point.
    pub(super) fn check_record(&self, view: &View<H>, when: &str) -> Result<(), String> {
        let record = H::Machine::applied(view).map_err(told)?;
        assert!(
            self.has_record(record.as_ref()),
            "{when}: the record is {}, expected {self}",
            told_record(record.as_deref())
        );
        Ok(())
    }

    /// Fails unless a view is of this point. An error when it cannot be read.
    pub(super) fn check_view(&self, machine: &H::Machine, view: View<H>, when: &str) -> Result<(), String> {
        self.check_record(&view, when)?;
        self.check_state(machine, view, when)
    }

    /// As [`Self::check_view`], when there is no machine any more that answers queries.
    pub(super) fn check_view_alone(&self, view: View<H>, when: &str) -> Result<(), String> {
        self.check_record(&view, when)?;
        let rows = rows::read::<H::Machine>(&view)?;
        self.check_written(view, when)?;
        self.check_rows(&rows, when);
        Ok(())
    }

    /// Fails unless the state of a view is that of this point, of which it has the record, and has its rows.
    pub(super) fn check_state(&self, machine: &H::Machine, view: View<H>, when: &str) -> Result<(), String> {
        let answers = self.answers(machine, &view, self.of.seed)?;
        let rows = rows::read::<H::Machine>(&view)?;
        self.check_written(view, when)?;
        assert!(
            answers == self.of.answers[self.upto as usize],
            "{when}: the record is {self}, and a query has another answer than on a machine that applied straight \
             through"
        );
        self.check_rows(&rows, when);
        Ok(())
    }

    /// Fails unless the rows of a view are those that were stored with this point.
    pub(super) fn check_rows(&self, rows: &[(Vec<u8>, Vec<u8>)], when: &str) {
        if let Some(difference) = rows::difference(rows, self.rows()) {
            panic!("{when}: the record is {self}, and the rows are not: {difference}");
        }
    }

    fn check_written(&self, view: View<H>, when: &str) -> Result<(), String> {
        let bytes = written::<H::Machine>(view)?;
        assert!(
            !H::SAME_STATES || bytes == *self.state(),
            "{when}: the record is {self}, and the state is another one; or it is the same and was written as other \
             bytes, as from a `HashMap`, for which there is `SAME_STATES` of the harness"
        );
        Ok(())
    }

    /// The next deadline of a machine, asked when the clock is at this point.
    pub(super) fn deadline(&self, machine: &H::Machine, when: &str) -> Option<LogTime> {
        let found = machine.deadline(time(self.upto));
        found.unwrap_or_else(|error| panic!("{when}: no deadline: {}", told(error)))
    }

    pub(super) fn check_deadline(&self, found: Option<LogTime>, when: &str) {
        assert_eq!(found, self.of.deadlines[self.upto as usize], "{when}: the next deadline at {self}");
    }

    /// The bytes of the answers to the queries of a seed, from a view of this point.
    pub(super) fn answers(
        &self,
        machine: &H::Machine,
        view: &View<H>,
        seed: u64,
    ) -> Result<Vec<Vec<u8>>, String> {
        answers::<H>(machine, view, self.upto, seed)
    }
}
