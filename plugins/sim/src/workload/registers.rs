//! A few registers: the machine that a cluster is tried with when it is not the user's.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate::prelude::*;
use quorate::state_machine::Wire;
use serde::{Deserialize, Serialize};

use super::{Call, History, Record, Workload};
use crate::linear::register::{Register, RegisterOp};
use crate::linear::{Operation, Verdict, check};
use crate::rng::Rng;

/// How many weights of a register are kept.
pub(super) const WEIGHTS: usize = 16;

/// Registers by number.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    /// Writes a register. The weight makes the log longer; the last few make a snapshot longer.
    command(1, put(key: u64, value: u64, weight: String)),
    /// Writes a register that holds `expected`; says whether it did.
    command(2, cas(key: u64, expected: Option<u64>, new: u64) -> bool),
    /// Reads a register.
    query(1, get(key: u64) -> Option<u64>),
)]
pub struct Registers {
    values: BTreeMap<u64, u64>,
    weights: BTreeMap<u64, VecDeque<String>>,
}

impl Registers {
    fn put(&mut self, key: u64, value: u64, weight: String) {
        self.values.insert(key, value);
        let weights = self.weights.entry(key).or_default();
        weights.push_back(weight);
        if weights.len() > WEIGHTS {
            weights.pop_front();
        }
    }

    fn cas(&mut self, key: u64, expected: Option<u64>, new: u64) -> bool {
        let holds = self.values.get(&key).copied() == expected;
        if holds {
            self.values.insert(key, new);
        }
        holds
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.values.get(&key).copied()
    }
}

/// Clients that read, write, and compare and set.
#[derive(Clone, Copy, Debug)]
pub struct RegistersWorkload {
    /// How many registers there are.
    pub keys: u64,
}

/// After how many steps a search is given up: some seconds.
const BUDGET: usize = 50_000_000;

impl Workload for RegistersWorkload {
    type Machine = Registers;

    fn machine(&self) -> Registers {
        Registers::default()
    }

    #[cfg(madsim)]
    fn on_disk(
        &self,
        disk: &crate::disk::SimDisk,
        eye: crate::observe::Eye<Self>,
    ) -> Result<crate::observe::Observed<Self>, String> {
        Ok(eye.on_disk(super::tables::open(disk)?, ()))
    }

    // Compiled here, and not once more in every program that runs it.
    #[cfg(madsim)]
    #[inline(never)]
    fn run(self, setup: crate::cluster::Setup, trace: crate::trace::Trace) -> crate::cluster::Report {
        crate::run::block_on_run(setup, self, trace)
    }

    fn call(&self, rng: &mut Rng, unique: u64) -> Call<RegistersCommand, RegistersQuery> {
        let key = rng.below(self.keys);
        match rng.below(10) {
            0..4 => {
                let weight = "x".repeat(rng.below(1_000) as usize);
                Call::Write(RegistersCommand::Put { key, value: unique, weight })
            }
            4..6 => {
                // What was written lately, so that some succeed.
                let expected = Some(unique.saturating_sub(1 + rng.below(2 * self.keys)));
                Call::Write(RegistersCommand::Cas { key, expected, new: unique })
            }
            _ => Call::Read(RegistersQuery::Get { key }),
        }
    }

    fn strayed(&self, command: RegistersCommand, stray: u64) -> RegistersCommand {
        match command {
            RegistersCommand::Put { key, value, weight } => {
                RegistersCommand::Put { key, value: value ^ (stray & 1), weight }
            }
            other @ RegistersCommand::Cas { .. } => other,
        }
    }

    fn probes(&self) -> Vec<RegistersQuery> {
        (0..self.keys).map(|key| RegistersQuery::Get { key }).collect()
    }

    fn judge(&self, history: History<'_>) -> (Verdict, String) {
        let mut keys: BTreeMap<u64, (Vec<Operation<RegisterOp>>, Vec<&Record>)> = BTreeMap::new();
        for record in history.records {
            let Some((key, operation)) = operation(record) else { continue };
            let (operations, records) = keys.entry(key).or_default();
            operations.push(operation);
            records.push(record);
        }
        for (key, (operations, records)) in keys {
            let verdict = check(&Register, &operations, BUDGET);
            if let Verdict::NotLinearizable { stuck, .. } = verdict {
                let Record { call, node, ended, .. } = records[stuck];
                let said = self.describe(call, ended.as_ref().map(|(_, answer)| answer));
                let what =
                    format!("register {key}: no order of the calls explains `{said}`, told by n{node}");
                return (verdict, what);
            }
            if verdict == Verdict::Undecided {
                return (verdict, format!("register {key}: given up after {BUDGET} steps"));
            }
        }
        (Verdict::Linearizable, String::new())
    }

    fn describe(&self, call: &Call<Bytes, Bytes>, answer: Option<&Bytes>) -> String {
        match call {
            Call::Write(command) => match RegistersCommand::decode(command) {
                Ok(RegistersCommand::Put { key, value, .. }) => format!("r{key} = {value}"),
                Ok(RegistersCommand::Cas { key, expected, new }) => {
                    let done = match answer.map(|answer| RegistersResponse::decode(answer)) {
                        Some(Ok(RegistersResponse::Cas(true))) => ": done",
                        Some(_) => ": it holds something else",
                        None => "",
                    };
                    format!("r{key} = {new} if it holds {}{done}", word(expected))
                }
                Err(error) => format!("a command that nobody can read: {error}"),
            },
            Call::Read(query) => match RegistersQuery::decode(query) {
                Ok(RegistersQuery::Get { key }) => {
                    let seen = match answer.map(|answer| RegistersAnswer::decode(answer)) {
                        Some(Ok(RegistersAnswer::Get(seen))) => format!(": {}", word(seen)),
                        Some(Err(error)) => format!(": an answer that nobody can read: {error}"),
                        None => String::new(),
                    };
                    format!("r{key}?{seen}")
                }
                Err(error) => format!("a query that nobody can read: {error}"),
            },
        }
    }
}

fn word(value: Option<u64>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
}

/// The operation of a record, and of which register it is. A read without an answer is none.
fn operation(record: &Record) -> Option<(u64, Operation<RegisterOp>)> {
    let answer = record.ended.as_ref().map(|(_, answer)| answer);
    let (key, op) = match &record.call {
        Call::Write(command) => match RegistersCommand::decode(command).expect("the client encoded it") {
            RegistersCommand::Put { key, value, .. } => (key, RegisterOp::Write(value)),
            RegistersCommand::Cas { key, expected, new } => {
                let response =
                    answer.map(|answer| RegistersResponse::decode(answer).expect("the node encoded it"));
                let done = matches!(response, Some(RegistersResponse::Cas(true)));
                (key, RegisterOp::Cas { expected, new, done })
            }
        },
        Call::Read(query) => {
            let RegistersQuery::Get { key } = RegistersQuery::decode(query).expect("the client encoded it");
            let RegistersAnswer::Get(seen) = RegistersAnswer::decode(answer?).expect("the node encoded it");
            (key, RegisterOp::Read(seen))
        }
    };
    let end = record.ended.as_ref().map(|(end, _)| *end);
    Some((key, Operation { op, call: record.began, end }))
}
