//! Eyes on a running cluster: the real storage and the user's machine, wrapped so that everything
//! they do is told to the oracles.
//!
//! This folder owns the wrappers, the model of each node's log that they keep, and what they tell.
//! What is right and what is wrong is decided in `oracle`.

mod change;
mod entry;
mod in_memory;
mod leaders;
mod log;
mod machine;
mod members;
mod on_disk;
mod storage;
mod tagged;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quorate::node::status::Status;
use quorate::types::{LogTime, Position};

pub use self::change::{Change, Told};
pub use self::entry::{EntryMark, VoteMark};
pub use self::leaders::{Leader, Missing};
pub use self::log::{Log, NodeLog, Op};
pub(crate) use self::machine::panic_text;
pub use self::machine::{Eye, Observed};
pub use self::members::Members;
pub use self::on_disk::{Looks, OnDiskOf};
pub use self::storage::ObservedStorage;
pub use self::tagged::{Placed, Tagged};
pub(crate) use self::tagged::{encoded, untagged};
use crate::oracle::{self, Oracle, Violation};
use crate::runtime::time;
use crate::trace::Trace;

/// A command that a node applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppliedCommand {
    /// Where it stands.
    pub position: Position,
    /// The term of its entry.
    pub term: u64,
    /// The log's clock there.
    pub time: LogTime,
    /// Its bytes, with its tag.
    pub command: Bytes,
    /// The bytes of its response.
    pub response: Bytes,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Observation<'a> {
    /// A node has opened its storage and read what is there.
    Opened {
        /// What was found.
        found: &'a Log,
    },
    /// A node's storage was given something to write.
    Queued {
        /// What.
        op: &'a Op,
    },
    /// An entry that names the members is about to be queued.
    Members {
        /// Where it stands.
        index: u64,
        /// The term of the leader that made it.
        term: u64,
        /// Whom it names.
        members: &'a Members,
    },
    /// The id of a node is another machine's from now on, with an empty disk.
    Another,
    /// A node was told that its storage would keep something.
    Flushed {
        /// What.
        op: &'a Op,
    },
    /// A node's status changed.
    Status {
        /// What it is now.
        status: &'a Status,
    },
    /// A node applied a command.
    Applied {
        /// Which.
        applied: &'a AppliedCommand,
    },
    /// A node's machine was restored from a snapshot.
    Restored {
        /// The last command that is in it.
        last: Option<Position>,
        /// Whether it replaced what was on the machine's disk.
        on_disk: bool,
    },
    /// A node's machine goes on with the state that it found on its disk.
    Resumed {
        /// The last command that is in it.
        last: Option<Position>,
    },
    /// A client was told that its command was applied.
    Acknowledged {
        /// Where, and with which response.
        applied: &'a AppliedCommand,
    },
    /// A client was told that its command was not applied, and will not be.
    Refused {
        /// Its bytes.
        command: &'a Bytes,
    },
    /// A node is asked for a change of the members.
    ChangeAsked {
        /// A number that no other call has.
        call: u64,
        /// Which change.
        change: Change,
    },
    /// Whoever asked for a change of the members was told something definite.
    ChangeTold {
        /// The number of the call.
        call: u64,
        /// What.
        told: Told,
    },
}

/// What is known of all nodes.
#[derive(Debug, Default)]
pub struct World {
    /// How many nodes the cluster begins with.
    pub size: usize,
    /// The members that entries name, by index and term.
    pub members: BTreeMap<(u64, u64), Members>,
    /// Which of them are committed, as nodes showed: the term of what stands at an index.
    pub decided: BTreeMap<u64, u64>,
    /// Who led each term.
    pub leaders: BTreeMap<u64, Leader>,
    /// Their logs.
    pub logs: BTreeMap<u64, NodeLog>,
    /// What was applied at each position, as the first node to do so told it.
    pub applied: BTreeMap<Position, AppliedCommand>,
    /// Nodes whose disk was replaced, or may be damaged, with what they had flushed by then: nothing is
    /// promised of it any more.
    pub lost: BTreeMap<u64, Log>,
    /// What machines had flushed whose id another one was given since.
    pub former: BTreeMap<u64, Vec<Log>>,
    /// How often a conflicting tail was removed from a log.
    pub truncations: u64,
    /// How often a snapshot from another node began to arrive of which some was there.
    pub resumed: u64,
    /// How often a snapshot from another node was restored.
    pub installs: u64,
    /// How often one replaced what was on a machine's disk.
    pub tables_replaced: u64,
    /// How often a machine went on with what it found on its disk.
    pub machines_resumed: u64,
    /// Nodes at which one arrives.
    receiving: BTreeSet<u64>,
    writing: BTreeSet<u64>,
}

struct Inner {
    world: World,
    oracles: Vec<Box<dyn Oracle>>,
    trace: Trace,
}

/// Tells the oracles what happens. Clones are the same observer.
#[derive(Clone)]
pub struct Observer(Arc<Mutex<Inner>>);

impl Observer {
    /// An observer of `size` nodes.
    pub fn new(size: usize, trace: Trace, oracles: Vec<Box<dyn Oracle>>) -> Self {
        let world = World { size, ..World::default() };
        Self(Arc::new(Mutex::new(Inner { world, oracles, trace })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every oracle.
    pub fn see(&self, node: u64, observation: &Observation<'_>) {
        let at = time();
        let inner = &mut *self.lock();
        inner.mark(at, node, observation);
        if let Err(what) = inner.world.note(node, observation) {
            inner.trace.accuse(Violation { at, oracle: oracle::RECEIPTS, what });
        }
        inner.ask(at, |oracle, world| oracle.see(world, node, observation));
    }

    /// A node has opened its storage, and this is in it.
    pub fn reopened(&self, node: u64, found: &Log) {
        let at = time();
        let inner = &mut *self.lock();
        let log = inner.world.logs.entry(node).or_default();
        if inner.world.lost.contains_key(&node) {
            log.replace(found);
        } else if let Err(what) = log.reopen(found) {
            let what = format!("n{node}: {what}");
            inner.trace.accuse(Violation { at, oracle: oracle::DURABILITY, what });
        }
        let observation = Observation::Opened { found };
        inner.mark(at, node, &observation);
        inner.ask(at, |oracle, world| oracle.see(world, node, &observation));
    }

    /// A node was stopped, by whatever: what it had queued was kept or not.
    pub fn crashed(&self, node: u64) {
        let world = &mut self.lock().world;
        world.logs.entry(node).or_default().crash();
        world.receiving.remove(&node);
        world.writing.remove(&node);
    }

    /// The disk of a node was replaced, or may be damaged from now on.
    pub fn may_have_lost(&self, node: u64) {
        let world = &mut self.lock().world;
        let flushed = world.logs.entry(node).or_default().durable().clone();
        world.lost.entry(node).or_insert(flushed);
    }

    /// The id of a node is given to another machine, which begins with an empty disk. Of the one before it
    /// counts what it had its part in.
    pub fn is_another(&self, node: u64) {
        let inner = &mut *self.lock();
        let world = &mut inner.world;
        let log = world.logs.entry(node).or_default();
        let former = world.former.entry(node).or_default();
        former.push(log.durable().clone());
        former.extend(world.lost.remove(&node));
        log.replace(&Log::default());
        let at = time();
        inner.mark(at, node, &Observation::Another);
        inner.ask(at, |oracle, world| oracle.see(world, node, &Observation::Another));
    }

    /// The run is over: the last word of every oracle.
    pub fn end(&self) {
        let at = time();
        self.lock().ask(at, |oracle, world| oracle.end(world));
    }

    /// Something is wrong that no oracle sees.
    pub fn accuse(&self, oracle: &'static str, what: String) {
        debug_assert!(oracle::names().contains(&oracle), "an oracle without a name: {oracle}");
        let at = time();
        self.lock().trace.accuse(Violation { at, oracle, what });
    }

    /// The first thing that was wrong.
    pub fn violation(&self) -> Option<Violation> {
        self.lock().trace.violations().into_iter().next()
    }

    /// The number of the boot that a node is in, or will be when it is started.
    pub fn boot(&self, node: u64) -> u64 {
        self.lock().world.logs.entry(node).or_default().boot()
    }

    /// A snapshot from another node begins to arrive.
    pub(super) fn receives_a_snapshot(&self, node: u64) {
        self.lock().world.receiving.insert(node);
    }

    /// A snapshot begins to be written: one that arrives, if the machine is on the disk of the node and
    /// makes none of its own.
    pub(super) fn writes_a_snapshot(&self, node: u64) {
        self.lock().world.writing.insert(node);
    }

    /// Some of it is there.
    pub(super) fn goes_on_with_a_snapshot(&self) {
        self.lock().world.resumed += 1;
    }

    /// Looks at what is known of all nodes.
    pub fn with_world<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock().world)
    }

    /// Whether a write of a boot is still of interest: a dead process's destructors tell tales.
    fn is_boot(&self, node: u64, boot: u64) -> bool {
        self.lock().world.logs.get(&node).is_some_and(|log| log.boot() == boot)
    }
}

impl Inner {
    fn ask(&mut self, at: Duration, mut question: impl FnMut(&mut dyn Oracle, &World) -> Result<(), String>) {
        for index in 0..self.oracles.len() {
            let oracle = &mut *self.oracles[index];
            let name = oracle.name();
            if let Err(what) = question(oracle, &self.world) {
                self.trace.accuse(Violation { at, oracle: name, what });
            }
        }
    }

    fn mark(&self, at: Duration, node: u64, observation: &Observation<'_>) {
        let trace = &self.trace;
        match observation {
            Observation::Opened { found } => trace.mark(at, "opened", node, found),
            Observation::Queued { op } => trace.mark(at, "queued", node, op),
            // It is in the operation that comes next.
            Observation::Members { .. } => {}
            Observation::Another => trace.mark(at, "another", node, &()),
            Observation::Flushed { op } => trace.mark(at, "flushed", node, op),
            Observation::Status { status } => {
                let Status { role, term, leader, connected, last_log, .. } = status;
                let Status { committed, applied, snapshot, purged, .. } = status;
                let what = (role, term, leader, connected, last_log, committed, applied, snapshot, purged);
                trace.mark(at, "status", node, &what);
            }
            Observation::Applied { applied } => trace.mark(at, "applied", node, applied),
            Observation::Restored { last, .. } => trace.mark(at, "restored", node, last),
            Observation::Resumed { last } => trace.mark(at, "resumed", node, last),
            Observation::Acknowledged { applied } => trace.mark(at, "acknowledged", node, applied),
            Observation::Refused { command } => trace.mark(at, "refused", node, command),
            Observation::ChangeAsked { call, change } => trace.mark(at, "asked", node, &(call, change)),
            Observation::ChangeTold { call, told } => trace.mark(at, "told", node, &(call, told)),
        }
    }
}

impl World {
    /// Notes who leads when that shows for the first time: by a vote that a quorum has granted, or else by
    /// the first entry of the term, which the leader itself is the first to queue.
    fn note_leader(&mut self, node: u64, observation: &Observation<'_>) {
        let queued = |world: &Self| world.logs.get(&node).map(NodeLog::queued).cloned().unwrap_or_default();
        match observation {
            Observation::Queued { op: Op::Vote(vote) } if vote.committed && vote.node == node => {
                self.leads(vote.term, queued);
            }
            Observation::Members { term, .. } => self.leads(*term, queued),
            Observation::Queued { op: Op::Append(first, marks) } => {
                for (at, mark) in marks.iter().enumerate() {
                    self.leads(mark.term, |world| {
                        let mut log = queued(world);
                        log.apply(&Op::Append(*first, marks[..at].to_vec()));
                        log
                    });
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        self.note_leader(node, observation);
        match observation {
            Observation::Status { status } => self.decide(node, status.committed.map(|at| at.index.get())),
            Observation::Applied { applied } => self.decide(node, Some(applied.position.index.get())),
            _ => {}
        }
        let log = self.logs.entry(node).or_default();
        match observation {
            Observation::Members { index, term, members } => {
                self.members.entry((*index, *term)).or_insert_with(|| (*members).clone());
                self.names_members(*index, *term);
            }
            Observation::Queued { op } => {
                let removes = matches!(op, Op::Truncate(from) if log.queued().last() >= Some(*from));
                self.truncations += u64::from(removes);
                log.queue((*op).clone());
            }
            Observation::Flushed { op } if !log.flushed(op) => {
                return Err(format!("n{node} was told of {op:?} before what was queued earlier"));
            }
            Observation::Applied { applied } => {
                self.applied.entry(applied.position).or_insert_with(|| (*applied).clone());
            }
            Observation::Restored { on_disk, .. } => {
                let arrived = self.receiving.remove(&node);
                let received = (self.writing.remove(&node) && *on_disk) || arrived;
                self.installs += u64::from(received);
                self.tables_replaced += u64::from(received && *on_disk);
            }
            Observation::Resumed { last } => self.machines_resumed += u64::from(last.is_some()),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(node: u64, observation: &Observation<'_>) -> (u64, u64) {
        let trace = Trace::default();
        Observer::new(3, trace.clone(), Vec::new()).see(node, observation);
        trace.hash()
    }

    #[test]
    fn every_field_of_what_is_seen_is_in_the_hash() {
        let applied = AppliedCommand {
            position: Position::default(),
            term: 1,
            time: LogTime::default(),
            command: Bytes::from_static(b"a"),
            response: Bytes::from_static(b"b"),
        };
        let others = [
            applied.clone(),
            AppliedCommand { position: Position { ordinal: 1, ..Position::default() }, ..applied.clone() },
            AppliedCommand { term: 2, ..applied.clone() },
            AppliedCommand { time: LogTime::from_micros(1), ..applied.clone() },
            AppliedCommand { command: Bytes::from_static(b"b"), ..applied.clone() },
            AppliedCommand { response: Bytes::from_static(b"a"), ..applied.clone() },
        ];
        let mark = EntryMark { term: 1, hash: 2 };
        let vote = VoteMark { term: 1, committed: false, node: 1 };
        let ops = [
            Op::Append(1, vec![mark]),
            Op::Append(2, vec![mark]),
            Op::Append(1, vec![mark, mark]),
            Op::Append(1, vec![EntryMark { term: 2, ..mark }]),
            Op::Append(1, vec![EntryMark { hash: 1, ..mark }]),
            Op::Truncate(1),
            Op::Purge(1),
            Op::Vote(vote),
            Op::Vote(VoteMark { term: 2, ..vote }),
            Op::Vote(VoteMark { committed: true, ..vote }),
            Op::Vote(VoteMark { node: 2, ..vote }),
        ];
        let purged = |purged| Log { purged, ..Log::default() };
        let logs = [purged(None), purged(Some(0)), Log { vote: Some(vote), ..Log::default() }];
        let mut seen = vec![hash(1, &Observation::Restored { last: None, on_disk: false })];
        seen.push(hash(1, &Observation::Restored { last: Some(Position::default()), on_disk: false }));
        seen.push(hash(1, &Observation::Resumed { last: Some(Position::default()) }));
        seen.push(hash(1, &Observation::Refused { command: &applied.command }));
        seen.push(hash(2, &Observation::Refused { command: &applied.command }));
        seen.push(hash(1, &Observation::Refused { command: &applied.response }));
        seen.push(hash(1, &Observation::Another));
        for (call, change, told) in [
            (1, Change::Add(1), Told::Done),
            (2, Change::Add(1), Told::Done),
            (1, Change::Add(2), Told::Refused),
            (1, Change::Promote(1), Told::Gone),
        ] {
            seen.push(hash(1, &Observation::ChangeAsked { call, change }));
            seen.push(hash(1, &Observation::ChangeTold { call, told }));
        }
        seen.extend(others.iter().map(|applied| hash(1, &Observation::Applied { applied })));
        seen.extend(others.iter().map(|applied| hash(1, &Observation::Acknowledged { applied })));
        seen.extend(ops.iter().map(|op| hash(1, &Observation::Queued { op })));
        seen.extend(logs.iter().map(|found| hash(1, &Observation::Opened { found })));
        let different: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(different.len(), seen.len());
    }
}
