//! The user's machine on a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use quorate::state_machine::{Items, Wire};
use quorate::storage::Storage;
use quorate::types::{ClusterId, Position};

use super::calls::{CallOf, Calls, Draw};
use super::keyed::{KeyOf, by_key};
use super::live::{Step, command_text, looked_at, query_text};
use super::order::{certify, step};
use super::seen::{Seen, reply_text};
use super::subject::{Simulated, Subject};
use crate::disk::SimDisk;
use crate::linear::Verdict;
use crate::observe::{AppliedCommand, Eye, Observed, encoded, untagged};
use crate::rng::Rng;
use crate::workload::{Call, Entry, History, Workload};

/// How many queries are asked of every node at the end.
const PROBES: usize = 12;

pub(super) type OpenStorage = Arc<dyn Fn(&SimDisk) -> Result<Arc<dyn Storage>, String> + Send + Sync>;

/// Opens a user's machine that is on the disk of a node.
pub(super) type OpenOnDisk<M> = Arc<
    dyn Fn(
            &MachineWorkload<M>,
            &SimDisk,
            Eye<MachineWorkload<M>>,
        ) -> Result<Observed<MachineWorkload<M>>, String>
        + Send
        + Sync,
>;

/// What clients do to a user's machine, and how it is judged.
pub(super) struct MachineWorkload<M: Simulated> {
    pub(super) subject: Subject<M>,
    pub(super) calls: Calls<M>,
    pub(super) key: Option<KeyOf<M>>,
    pub(super) storage: Option<OpenStorage>,
    pub(super) on_disk: Option<OpenOnDisk<M>>,
    pub(super) notes: Arc<Notes>,
}

/// What a run leaves behind for the examination of the machine.
#[derive(Default)]
pub(super) struct Notes(Mutex<Noted>, OnceLock<Vec<Bytes>>);

#[derive(Default)]
struct Noted {
    seen: Seen,
    /// The state after each position, as the first node there had it.
    states: BTreeMap<Position, u64>,
    /// The log, once the run is over.
    log: Vec<Entry>,
    cluster: Option<ClusterId>,
    panicked: Option<Entry>,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a response, whose values come again.
    pub(super) fn responded(&self, position: Position, response: &impl Items) {
        self.lock().seen.note(&mut Rng::new(position.index.get()), response);
    }

    /// Takes note of the state that a node has after a position.
    ///
    /// # Errors
    /// When another came to another state there.
    pub(super) fn state(&self, position: Position, state: u64) -> Result<(), String> {
        if *self.lock().states.entry(position).or_insert(state) == state {
            return Ok(());
        }
        Err(format!("its state after {position} is not that of the node which came there first"))
    }

    /// Everything that was applied, and what panicked instead, with queries after some.
    pub(super) fn told(&self) -> (ClusterId, Vec<Step>) {
        let noted = self.lock();
        let mut log = noted.log.clone();
        if let Some(panicked) = &noted.panicked {
            log.retain(|entry| entry.position < panicked.position);
            log.push(panicked.clone());
        }
        let mut steps: Vec<Step> = log.iter().map(step).collect();
        let probes = self.1.get().cloned().unwrap_or_default();
        for (number, step) in steps.iter_mut().enumerate() {
            if number % 8 == 0 && !probes.is_empty() {
                step.queries.push(probes[number / 8 % probes.len()].clone());
            }
        }
        (noted.cluster.unwrap_or(ClusterId([0; 32])), steps)
    }
}

impl<M: Simulated> Workload for MachineWorkload<M> {
    type Machine = M;

    fn machine(&self) -> M {
        (self.subject.initial)()
    }

    fn call(&self, rng: &mut Rng, unique: u64) -> CallOf<M> {
        let noted = self.notes.lock();
        self.calls.next(&mut Draw::new(rng, &noted.seen, unique))
    }

    fn probes(&self) -> Vec<M::Query> {
        let probes = self.notes.1.get_or_init(|| {
            let items = <M::Query as Items>::ITEMS;
            let (noted, mut rng) = (self.notes.lock(), Rng::stream(0, "probes"));
            let drawn: BTreeSet<Bytes> = (0..if items.is_empty() { 0 } else { PROBES })
                .filter_map(|number| {
                    let (id, _) = items[number % items.len()];
                    super::draw::item::<M::Query>(&mut rng, &noted.seen, id).ok()
                })
                .map(|query| encoded(&query))
                .collect();
            drawn.into_iter().collect()
        });
        probes.iter().filter_map(|query| M::Query::decode(query).ok()).collect()
    }

    fn judge(&self, history: History<'_>) -> (Verdict, String) {
        if let Err(misfit) = certify(&self.subject, &history) {
            let verdict = Verdict::NotLinearizable { explained: misfit.record, stuck: misfit.record };
            return (verdict, misfit.what);
        }
        match &self.key {
            Some(key) => by_key(&self.subject, key, &history),
            None => (Verdict::Linearizable, String::new()),
        }
    }

    fn response(&self, response: &M::Response) -> Bytes {
        // As it is compared, in which the order of a hash map is no difference.
        reply_text(response).into_bytes().into()
    }

    fn answer(&self, answer: &M::Answer) -> Bytes {
        reply_text(answer).into_bytes().into()
    }

    fn applied(&self, position: Position, machine: &M, response: &M::Response) -> Result<(), String> {
        self.notes.responded(position, response);
        let state = looked_at(position.index.get()).then(|| self.subject.digest(machine)).flatten();
        if let Some(state) = state {
            self.notes.state(position, state)?;
        }
        self.holds(machine, &format!("after {position}"))
    }

    fn restored(&self, machine: &M) -> Result<(), String> {
        self.holds(machine, "after it restored a snapshot")
    }

    fn panicked(&self, applied: &AppliedCommand, _message: &str) {
        let AppliedCommand { position, term, time, command, response } = applied.clone();
        let (tag, command) = untagged(&command);
        let entry = Entry { position, term, time, tag, command, response };
        self.notes.lock().panicked.get_or_insert(entry);
    }

    fn lives_on_disk(&self) -> bool {
        self.on_disk.is_some()
    }

    fn on_disk(&self, disk: &SimDisk, eye: Eye<Self>) -> Result<Observed<Self>, String> {
        match &self.on_disk {
            Some(open) => open(self, disk, eye),
            None => Ok(eye.in_memory(self.machine())),
        }
    }

    fn storage(&self, disk: &SimDisk) -> Result<Arc<dyn Storage>, String> {
        match &self.storage {
            Some(open) => open(disk),
            None => crate::cluster::redb_storage(disk),
        }
    }

    fn describe(&self, call: &Call<Bytes, Bytes>, answer: Option<&Bytes>) -> String {
        let call = match call {
            Call::Write(command) => command_text::<M>(command),
            Call::Read(query) => query_text::<M>(query),
        };
        match answer {
            Some(answer) => format!("{call} -> {}", String::from_utf8_lossy(answer)),
            None => call,
        }
    }

    fn over(&self, history: History<'_>) {
        let mut noted = self.notes.lock();
        (noted.log, noted.cluster) = (history.log.to_vec(), Some(history.cluster));
    }
}

impl<M: Simulated> MachineWorkload<M> {
    fn holds(&self, machine: &M, when: &str) -> Result<(), String> {
        match self.subject.broken(machine) {
            Some((name, why)) => Err(format!("the invariant `{name}` does not hold {when}: {why}")),
            None => Ok(()),
        }
    }
}
