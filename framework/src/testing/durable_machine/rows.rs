//! The rows that are stored beside the state, and cases about them.
//!
//! Every case stores some with every batch, and compares them wherever it compares states; those here are
//! about rows alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::history::History;
use super::life::{Life, told};
use super::{DurableHarness, run};
use crate::state_machine::{DurableStateMachine, Row};
use crate::testing::Seeded;

/// How many entries a row is there for that is put once.
const LASTS: u64 = 9;

/// Rows by their keys.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Rows as they come.
pub(super) type Read = Vec<(Vec<u8>, Vec<u8>)>;

fn key(numbers: &[u64]) -> Vec<u8> {
    [vec![1], numbers.iter().flat_map(|number| number.to_be_bytes()).collect()].concat()
}

/// What an entry of a log changes: as sessions do, some rows change often, most come and go, and among those
/// that go are some that never were there.
fn changes(log: u64, index: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    // Most batches of a cluster change none.
    if index % 4 == 2 {
        return Vec::new();
    }
    // Other keys in other logs, and some that are the same.
    let client = |index: u64| 1 + log % 3 + index % 7;
    let value = |len: u64| Some([&log.to_le_bytes()[..], &vec![index as u8; len as usize]].concat());
    let mut changes = vec![
        (key(&[]), value(0)),
        (key(&[client(index)]), value(20)),
        (key(&[client(index), index]), value(if index % 16 == 3 { 2_040 } else { index % 50 })),
        (key(&[client(index), u64::MAX - index]), None),
    ];
    if let Some(old) = index.checked_sub(LASTS).filter(|old| *old > 0) {
        changes.push((key(&[client(old), old]), None));
    }
    if index.is_multiple_of(11) {
        changes.push((key(&[client(index + 3)]), None));
    }
    changes
}

/// The rows after each entry of a log, from none on.
pub(super) fn of_log(log: u64, entries: u64) -> Vec<Rows> {
    let mut rows = Rows::new();
    let after = |index| {
        for (key, value) in if index > 0 { changes(log, index) } else { Vec::new() } {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        rows.clone()
    };
    (0..=entries).map(after).collect()
}

/// What a batch of these entries stores, to come to `rows`.
pub(super) fn changed(log: u64, entries: RangeInclusive<u64>, rows: &Rows) -> Vec<Row> {
    let keys: BTreeSet<Vec<u8>> = entries.flat_map(|index| changes(log, index)).map(|(key, _)| key).collect();
    let row = |key: Vec<u8>| Row { value: rows.get(&key).cloned().map(Bytes::from), key: key.into() };
    keys.into_iter().map(row).collect()
}

/// All rows, as a state is restored with.
pub(super) fn whole(rows: &Rows) -> Vec<Row> {
    let row = |(key, value): (&Vec<u8>, &Vec<u8>)| Row {
        key: key.clone().into(),
        value: Some(value.clone().into()),
    };
    rows.iter().map(row).collect()
}

/// The rows in a view, as they come.
pub(super) fn read<M: DurableStateMachine>(view: &M::View) -> Result<Read, String> {
    let mut rows = Vec::new();
    M::rows(view, &mut |key, value| rows.push((key.to_vec(), value.to_vec()))).map_err(told)?;
    Ok(rows)
}

/// How what was found differs from what was expected, if it does.
pub(super) fn difference(found: &[(Vec<u8>, Vec<u8>)], expected: &Rows) -> Option<String> {
    let known: Rows = found.iter().cloned().collect();
    let hex = |key: &Vec<u8>| {
        let bytes: Vec<String> = key.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.concat()
    };
    for (key, value) in expected {
        match known.get(key) {
            None => return Some(format!("the row of key {} is missing", hex(key))),
            Some(found) if found != value => {
                return Some(format!("the row of key {} has another value", hex(key)));
            }
            Some(_) => {}
        }
    }
    if let Some(key) = known.keys().find(|key| !expected.contains_key(*key)) {
        return Some(format!("there is a row of key {} that should not be", hex(key)));
    }
    let sorted = found.is_sorted_by(|one, other| one.0 < other.0);
    (!sorted).then(|| "the rows are not in the order of their keys, each once".to_owned())
}

/// A row that was removed is gone, whatever comes next, and so is one that never was there.
pub fn removed_rows_are_gone<H: DurableHarness>() {
    run::<H>("removed_rows_are_gone", || {
        let mut rng = Seeded::announced();
        let history = History::<H>::drawn(&mut rng, 80);
        let mut life = Life::new(&history);
        for round in 0..6 {
            // Rows that are removed in the batch in which they were put, in the next, and later.
            life.apply(1);
            life.apply(LASTS + rng.draw(0..3));
            life.check_now("after a batch that removes rows");
            life.flush();
            life = if round % 2 == 0 { life.reopen() } else { life.crash() };
            life.check(&format!("round {round}, after a batch that removes rows and a flush"));
        }
    });
}

/// What was flushed of rows is there when the machine is opened again, in the order of the keys.
pub fn rows_survive_a_flush_and_another_opening<H: DurableHarness>() {
    run::<H>("rows_survive_a_flush_and_another_opening", || {
        let mut rng = Seeded::announced();
        let history = History::<H>::drawn(&mut rng, 60);
        let mut life = Life::new(&history);
        for round in 0..6 {
            life.apply_in_batches(&mut rng, 6, 4);
            life.flush();
            life = match round % 3 {
                0 => life.reopen(),
                1 => life.kill(),
                _ => life.crash(),
            };
            life.check(&format!("round {round}, flushed and opened again"));
        }
    });
}

/// A state that is restored comes with all rows there are: none of before is there beside them.
pub fn restore_replaces_the_rows<H: DurableHarness>() {
    run::<H>("restore_replaces_the_rows", || {
        let mut rng = Seeded::announced();
        let (history, other) = (History::<H>::drawn(&mut rng, 60), History::<H>::drawn(&mut rng, 60));
        let mut life = Life::new(&history);
        life.apply_in_batches(&mut rng, 20, 4);
        life.flush();
        for (to, upto) in [(&other, 30), (&history, 7), (&other, 40)] {
            life.restore(&to.point(upto));
            life = life.crash();
            life.check(&format!("restored at {upto}, and the power failed"));
            life.apply_in_batches(&mut rng, 10, 4);
        }
    });
}
