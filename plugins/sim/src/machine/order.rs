//! Linearizability by a certificate: the order of the log.
//!
//! The simulator knows the order in which commands were applied, with the context of each, and of
//! which state each answer is. So nothing is searched for: the user's machine is told the commands in
//! that order and must respond what clients were told, and answer each query in that state what its
//! client was told; and no call may stand before one that had ended when it began. That order then
//! explains everything that clients saw, which is what linearizable means (Herlihy and Wing, 1990).
//! It holds for machines that use the context, too, since everything stands where it really stood.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::state_machine::{QueryContext, Wire};
use quorate::types::{LogIndex, Position};

use super::live::{Step, command_text, query_text};
use super::seen::reply_text;
use super::subject::{Simulated, Subject};
use crate::workload::{Call, Entry, History, Record};

/// What does not fit, and the record that it is about.
pub(super) struct Misfit {
    pub(super) record: usize,
    pub(super) what: String,
}

/// Whether the order of the log explains what clients saw.
pub(super) fn certify<M: Simulated>(subject: &Subject<M>, history: &History<'_>) -> Result<(), Misfit> {
    let places = places::<M>(history)?;
    answers(subject, history)?;
    real_time::<M>(history, &places)
}

/// Where the calls stand: a command at its position, a query behind everything of its entry.
fn places<M: Simulated>(history: &History<'_>) -> Result<Vec<Option<Position>>, Misfit> {
    let by_tag: BTreeMap<u64, &Entry> = history.log.iter().map(|entry| (entry.tag, entry)).collect();
    let place = |(number, record): (usize, &Record)| match (&record.call, &record.ended) {
        (Call::Read(_), _) => {
            let index = record.read_at.and_then(|(applied, _)| applied).map_or(LogIndex(0), |at| at.index);
            Ok(Some(Position { index, ordinal: u32::MAX }))
        }
        (Call::Write(command), Some((_, told))) => {
            let text = || command_text::<M>(command);
            let Some(entry) = by_tag.get(&record.tag) else {
                let what = format!("n{} acknowledged `{}`, which is nowhere in the log", record.node, text());
                return Err(Misfit { record: number, what });
            };
            if entry.response != *told {
                let (told, is) = (lossy(told), lossy(&entry.response));
                let what = format!("n{} responded {told} to `{}`, and the log {is}", record.node, text());
                return Err(Misfit { record: number, what });
            }
            Ok(Some(entry.position))
        }
        // It took effect where the log has it, or never.
        (Call::Write(_), None) => Ok(by_tag.get(&record.tag).map(|entry| entry.position)),
    };
    history.records.iter().enumerate().map(place).collect()
}

/// Tells the machine the log, and asks each query where it was answered.
fn answers<M: Simulated>(subject: &Subject<M>, history: &History<'_>) -> Result<(), Misfit> {
    let mut reads: Vec<(u64, usize)> = history
        .records
        .iter()
        .enumerate()
        .filter_map(|(number, record)| {
            let (applied, _) = record.read_at?;
            Some((applied.map_or(0, |at| at.index.get()), number))
        })
        .collect();
    reads.sort_unstable();
    let mut reads = reads.into_iter().peekable();
    let mut machine = (subject.initial)();
    for entry in history.log {
        while let Some((_, number)) = reads.next_if(|(index, _)| *index < entry.position.index.get()) {
            answer(&machine, history, number)?;
        }
        let Ok(command) = M::Command::decode(&entry.command) else { continue };
        let response = machine.apply(&mut step(entry).apply_context(history.cluster), command);
        let response = reply_text(&response);
        if response.as_bytes() != &entry.response[..] {
            let command = command_text::<M>(&entry.command);
            let what = format!(
                "`{command}` at {} responded {} on the cluster, and {response} when it is told again",
                entry.position,
                lossy(&entry.response)
            );
            let record =
                history.records.iter().position(|record| record.tag == entry.tag).unwrap_or_default();
            return Err(Misfit { record, what });
        }
    }
    reads.try_for_each(|(_, number)| answer(&machine, history, number))
}

fn answer<M: Simulated>(machine: &M, history: &History<'_>, number: usize) -> Result<(), Misfit> {
    let record = &history.records[number];
    let (Call::Read(query), Some((_, told)), Some((applied, time))) =
        (&record.call, &record.ended, record.read_at)
    else {
        return Ok(());
    };
    let Ok(asked) = M::Query::decode(query) else { return Ok(()) };
    let answer = reply_text(&machine.query(&QueryContext::new(applied, time), asked));
    if answer.as_bytes() == &told[..] {
        return Ok(());
    }
    let what = format!(
        "n{} answered {} to `{}` after {}, where a machine that was told the same commands answers {answer}",
        record.node,
        lossy(told),
        query_text::<M>(query),
        applied.map_or_else(|| "nothing".to_owned(), |at| format!("entry {}", at.index.get())),
    );
    Err(Misfit { record: number, what })
}

/// No call stands before one that had ended when it began.
fn real_time<M: Simulated>(history: &History<'_>, places: &[Option<Position>]) -> Result<(), Misfit> {
    let mut by_end: Vec<(u64, usize)> = history
        .records
        .iter()
        .enumerate()
        .filter_map(|(number, record)| Some((record.ended.as_ref()?.0, number)))
        .collect();
    by_end.sort_unstable();
    let mut by_start: Vec<usize> = (0..history.records.len()).collect();
    by_start.sort_unstable_by_key(|number| history.records[*number].began);
    let mut ended = by_end.into_iter().peekable();
    // The last place of what has ended, and whose it is.
    let mut last: Option<(Position, usize)> = None;
    for number in by_start {
        let record = &history.records[number];
        while let Some((_, earlier)) = ended.next_if(|(end, _)| *end < record.began) {
            last = last.max(places[earlier].map(|place| (place, earlier)));
        }
        let (Some(place), Some((after, earlier))) = (places[number], last) else { continue };
        let is_read = matches!(record.call, Call::Read(_));
        if place < after || (place == after && !is_read) {
            let what = format!(
                "{} had ended, of entry {}, when {} began, which is of entry {}: {}",
                text::<M>(&history.records[earlier]),
                after.index.get(),
                text::<M>(record),
                place.index.get(),
                if is_read { "a stale read" } else { "out of order" },
            );
            return Err(Misfit { record: number, what });
        }
    }
    Ok(())
}

/// A call as a person writes it.
pub(super) fn text<M: Simulated>(record: &Record) -> String {
    let call = match &record.call {
        Call::Write(command) => command_text::<M>(command),
        Call::Read(query) => query_text::<M>(query),
    };
    let answer = record.ended.as_ref().map_or_else(|| "?".to_owned(), |(_, answer)| lossy(answer));
    format!("`{call}` -> {answer} (n{})", record.node)
}

fn lossy(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An entry as the machine is told it.
pub(super) fn step(entry: &Entry) -> Step {
    let Entry { position, term, time, command, .. } = entry.clone();
    Step { position, term, time, command, queries: Vec::new() }
}
