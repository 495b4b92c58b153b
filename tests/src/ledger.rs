//! A machine that remembers everything it was told, so that what is lost or told twice shows.

use std::collections::BTreeMap;

use quorate::prelude::*;

/// Every record, with how often it was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, RaftStateMachine)]
#[raft(
    /// Writes a record down; says how often it has been written now.
    command(1, record(writer: u64, serial: u64) -> u32),
    /// Writes a text down that takes up room.
    command(2, note(name: String, text: String)),
    /// How often a record was written.
    query(1, times(writer: u64, serial: u64) -> u32),
    /// How many different records there are.
    query(2, len() -> u64),
    /// A text.
    query(3, text(name: String) -> Option<String>),
    /// The whole state.
    query(4, all() -> Ledger),
)]
pub struct Ledger {
    records: BTreeMap<(u64, u64), u32>,
    notes: BTreeMap<String, String>,
}

impl Ledger {
    fn record(&mut self, writer: u64, serial: u64) -> u32 {
        let times = self.records.entry((writer, serial)).or_default();
        *times += 1;
        *times
    }

    fn note(&mut self, name: String, text: String) {
        self.notes.insert(name, text);
    }

    /// How often a record was written.
    pub fn times(&self, writer: u64, serial: u64) -> u32 {
        self.records.get(&(writer, serial)).copied().unwrap_or_default()
    }

    fn len(&self) -> u64 {
        self.records.len() as u64
    }

    fn text(&self, name: String) -> Option<String> {
        self.notes.get(&name).cloned()
    }

    fn all(&self) -> Self {
        self.clone()
    }
}
