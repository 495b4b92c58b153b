//! A cluster of real nodes on simulated disks, wire and clocks, its clients, and what goes wrong.
//!
//! This folder owns one run from its start to its verdict. What is on the disk and on the wire is
//! theirs; what is right is the oracles'.

mod clients;
mod config;
mod faults;
mod liveness;
mod members;
mod nodes;
mod setup;
mod slot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc;
use quorate::node::config::Config;
use quorate::runtime::Sight;
use quorate::types::ClusterId;

pub use self::config::draw as draw_config;
pub use self::liveness::LIVENESS_LIMIT;
use self::nodes::Trouble;
pub(crate) use self::nodes::{redb_storage, with_sources};
pub use self::setup::{LONGEST, NODES, Setup, Unfit};
use self::slot::Slot;
use crate::disk::{DiskEvents, SimDisk};
use crate::linear::Verdict;
use crate::mutations::forger;
use crate::observe::{AppliedCommand, Observer, untagged};
use crate::oracle::{self, Violation};
use crate::plan::SPARES;
use crate::rng::Rng;
use crate::run::panics;
use crate::runtime::{Clock, SimSleep, fired, seen, time};
use crate::trace::Trace;
use crate::wire::{Wire, WireEvents};
use crate::workload::{Entry, History, Record, Workload};

/// How often something happened in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes that were refused.
    pub refused: u64,
    /// Writes of which nobody said anything definite.
    pub unknown: u64,
    /// Commands that a client sent once more, since it did not know what had become of them.
    pub retries: u64,
    /// How often one of those commands was applied once more, after it was applied once.
    pub applied_again: u64,
    /// Commands that a node sent once more in a session and that were known again, at every node.
    pub repeats_known: u64,
    /// Commands that came after their session had ended, at every node.
    pub sessions_ended: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Stops of a process or a machine.
    pub crashes: u64,
    /// Crashes of whoever led.
    pub leader_crashes: u64,
    /// Snapshots that nodes came to have.
    pub snapshots: u64,
    /// Snapshots that came from another node and replaced the state.
    pub installs: u64,
    /// Nodes that led, crashed, and led again as the next leader.
    pub bounces: u64,
    /// Leaderships that were handed over to the node that was asked for.
    pub handovers: u64,
    /// Machines that joined the running cluster.
    pub joined: u64,
    /// Learners that were made voters.
    pub promoted: u64,
    /// Members that were removed.
    pub removed: u64,
    /// Of those, leaders.
    pub leaders_removed: u64,
    /// Changes of the members that were made while some link was cut.
    pub changed_in_partition: u64,
    /// Calls that change the members of which nobody said anything definite.
    pub changes_unknown: u64,
    /// Times that a clock jumped or drifted anew.
    pub clock_faults: u64,
    /// Terms that began with a leader of their own.
    pub leaders: u64,
    /// Power cuts before a node had started.
    pub cuts_in_recovery: u64,
    /// Storages that ran short of room and said so.
    pub low_disks: u64,
    /// Nodes that found their disk damaged and stayed down.
    pub damaged: u64,
    /// Machines that had joined, lost their disk and were started on an empty one.
    pub spares_wiped: u64,
    /// Machines that joined under an id that was another's before.
    pub ids_again: u64,
    /// Nodes that lost their disk and were started on an empty one.
    pub wiped: u64,
    /// Of those, refusals to start under the old name.
    pub wiped_refused: u64,
    /// Nodes that were shut down as their operator would.
    pub shutdowns: u64,
    /// Times that a conflicting tail was removed from a log.
    pub truncations: u64,
    /// Snapshots of which some was there when their transfer began again.
    pub resumed: u64,
    /// Machines that went on with what they found on their disk.
    pub machines_resumed: u64,
    /// Snapshots that came from another node and replaced what was on a machine's disk.
    pub tables_replaced: u64,
    /// Times that a fault point of the framework fired.
    pub points: u64,
    /// The highest term.
    pub term: u64,
    /// What the disks went through.
    pub disk: DiskEvents,
    /// What the wire went through.
    pub wire: WireEvents,
}

impl Counts {
    /// Adds what happened in another run.
    pub fn add(&mut self, other: &Self) {
        // Named one by one, so that a new count is not forgotten here.
        let Self {
            acknowledged,
            refused,
            unknown,
            retries,
            applied_again,
            repeats_known,
            sessions_ended,
            reads,
            crashes,
            leader_crashes,
            snapshots,
            installs,
            bounces,
            handovers,
            joined,
            promoted,
            removed,
            leaders_removed,
            changed_in_partition,
            changes_unknown,
            clock_faults,
            leaders,
            cuts_in_recovery,
            low_disks,
            damaged,
            spares_wiped,
            ids_again,
            wiped,
            wiped_refused,
            shutdowns,
            truncations,
            resumed,
            machines_resumed,
            tables_replaced,
            points,
            term,
            disk,
            wire,
        } = other;
        for (sum, more) in [
            (&mut self.acknowledged, acknowledged),
            (&mut self.refused, refused),
            (&mut self.unknown, unknown),
            (&mut self.retries, retries),
            (&mut self.applied_again, applied_again),
            (&mut self.repeats_known, repeats_known),
            (&mut self.sessions_ended, sessions_ended),
            (&mut self.reads, reads),
            (&mut self.crashes, crashes),
            (&mut self.leader_crashes, leader_crashes),
            (&mut self.snapshots, snapshots),
            (&mut self.installs, installs),
            (&mut self.bounces, bounces),
            (&mut self.handovers, handovers),
            (&mut self.joined, joined),
            (&mut self.promoted, promoted),
            (&mut self.removed, removed),
            (&mut self.leaders_removed, leaders_removed),
            (&mut self.changed_in_partition, changed_in_partition),
            (&mut self.changes_unknown, changes_unknown),
            (&mut self.clock_faults, clock_faults),
            (&mut self.leaders, leaders),
            (&mut self.cuts_in_recovery, cuts_in_recovery),
            (&mut self.low_disks, low_disks),
            (&mut self.damaged, damaged),
            (&mut self.spares_wiped, spares_wiped),
            (&mut self.ids_again, ids_again),
            (&mut self.wiped, wiped),
            (&mut self.wiped_refused, wiped_refused),
            (&mut self.shutdowns, shutdowns),
            (&mut self.truncations, truncations),
            (&mut self.resumed, resumed),
            (&mut self.machines_resumed, machines_resumed),
            (&mut self.tables_replaced, tables_replaced),
            (&mut self.points, points),
        ] {
            *sum += more;
        }
        self.term = self.term.max(*term);
        self.disk.add(*disk);
        self.wire.add(*wire);
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it was made.
    pub setup: Setup,
    /// What was wrong first. What other oracles said after it is in the trace.
    pub violation: Option<Violation>,
    /// The search for an order of the clients' operations was given up: no pass.
    pub undecided: Option<String>,
    /// A hash of everything that happened, and how much it was.
    pub hash: (u64, u64),
    /// How often what happened.
    pub counts: Counts,
    /// What happened, to read.
    pub trace: Trace,
    /// What clients saw.
    pub history: Vec<Record>,
    /// What was applied, in the order of the log.
    pub log: Vec<Entry>,
    /// The cluster's id.
    pub cluster: ClusterId,
    /// When it was over, in simulated time.
    pub ended: Duration,
}

/// What a run's tasks share.
pub(crate) struct Sim<W: Workload> {
    setup: Setup,
    workload: Arc<W>,
    config: Config,
    wire: Wire,
    observer: Observer,
    trace: Trace,
    slots: Mutex<BTreeMap<u64, Slot<W>>>,
    history: Mutex<Vec<Record>>,
    /// Of every command that was sent more than once, by the tag of the first time, the tags of the others.
    again: Mutex<BTreeMap<u64, Vec<u64>>>,
    counts: Mutex<Counts>,
    /// The highest term that had a leader, which, and in which of its boots.
    led: Mutex<Option<(u64, u64, u64)>>,
    /// Who was asked to hand over, to whom, and by when that must be seen: sooner than anybody stands for
    /// election without it.
    asked_over: Mutex<Option<(u64, u64, Duration)>>,
    /// Nodes that stopped or did not start, though nobody stopped them.
    trouble: mpsc::UnboundedSender<Trouble>,
    /// The next time of a record, and the next unique number.
    ticks: AtomicU64,
}

impl<W: Workload> Sim<W> {
    fn slots(&self) -> MutexGuard<'_, BTreeMap<u64, Slot<W>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::Relaxed)
    }

    fn tell(&self, what: String) {
        self.trace.tell(time(), what);
    }

    /// Every machine: the first members, and the spare ones of a plan that changes the members.
    fn all(&self) -> Vec<u64> {
        (1..=self.setup.nodes + spares(&self.setup)).collect()
    }

    /// The members that the cluster begins with.
    fn first(&self) -> Vec<u64> {
        (1..=self.setup.nodes).collect()
    }
}

fn spares(setup: &Setup) -> u64 {
    if setup.plan.changes_members() { SPARES } else { 0 }
}

/// Runs a cluster. To be called inside a simulation of its own. What happens goes into `trace`, where
/// it can be read even when the run does not come to its end.
pub async fn run<W: Workload>(setup: Setup, workload: W, trace: Trace) -> Report {
    let seed = setup.seed;
    let wire = Wire::new(Rng::stream(seed, "wire"), trace.clone());
    wire.forge(setup.mutation.and_then(forger));
    let observer = Observer::new(setup.nodes as usize, trace.clone(), oracle::all());
    let slot = |node| {
        let stream = |what: &str| Rng::stream(seed, &format!("{what} {node}"));
        let clock = if setup.skewed { Clock::draw(&mut stream("clock")) } else { Clock::default() };
        (node, Slot::new(SimDisk::new(stream("disk")), clock))
    };
    let (trouble, troubles) = mpsc::unbounded();
    let sim = Arc::new(Sim {
        config: config::draw(seed),
        slots: Mutex::new((1..=setup.nodes + spares(&setup)).map(slot).collect()),
        history: Mutex::default(),
        again: Mutex::default(),
        counts: Mutex::default(),
        led: Mutex::default(),
        asked_over: Mutex::default(),
        ticks: AtomicU64::new(1),
        setup,
        workload: Arc::new(workload),
        wire,
        observer,
        trace,
        trouble,
    });
    for node in sim.all() {
        if sim.setup.skewed {
            let clock = sim.slots()[&node].clock;
            sim.tell(format!("n{node}'s clock {clock}"));
        }
        sim.start(node);
    }
    let guards = sim.guard(troubles);
    let faults = sim.clone().begin_faults();
    sim.clients().await;
    for fault in faults {
        fault.abort();
    }
    sim.settle().await;
    drop(guards);
    // A moment in which what is on its way arrives and is seen.
    SimSleep::exactly(Duration::from_millis(100)).await;
    sim.observer.end();
    let report = sim.report();
    sim.let_go().await;
    report
}

/// How often commands were sent once more, and how often one was applied once more: `sent` is the tag of
/// the first time and those of the others, `applied` the tags of all that was applied.
fn sent_and_applied_again(sent: &BTreeMap<u64, Vec<u64>>, applied: &BTreeSet<u64>) -> (u64, u64) {
    let times = |(first, others): (&u64, &Vec<u64>)| {
        let all = std::iter::once(first).chain(others);
        all.filter(|tag| applied.contains(tag)).count().saturating_sub(1)
    };
    let retries: usize = sent.values().map(Vec::len).sum();
    (retries as u64, sent.iter().map(times).sum::<usize>() as u64)
}

impl<W: Workload> Sim<W> {
    /// Everything that was applied, in order.
    fn log(&self) -> Vec<Entry> {
        let entry = |applied: &AppliedCommand| {
            let AppliedCommand { position, term, time, command, response } = applied.clone();
            let (tag, command) = untagged(&command);
            Entry { position, term, time, tag, command, response }
        };
        self.observer.with_world(|world| world.applied.values().map(entry).collect())
    }

    /// The id of the cluster; that of none when no node came so far.
    fn cluster(&self) -> ClusterId {
        let slots = self.slots();
        let status = slots.values().find_map(|slot| slot.up.as_ref()?.status.as_ref());
        status.map_or(ClusterId([0; 32]), |status| status.get().cluster_id)
    }

    fn report(&self) -> Report {
        let mut undecided = None;
        let records = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let log = self.log();
        let history = History { records: &records, log: &log, cluster: self.cluster() };
        self.workload.over(history);
        let judged = match self.observer.violation() {
            None => Some(self.workload.judge(history)),
            // A machine that panics is no news, after what is known.
            Some(_) => panics::guarded(|| self.workload.judge(history)).ok(),
        };
        match judged {
            None | Some((Verdict::Linearizable, _)) => {}
            Some((Verdict::NotLinearizable { .. }, what)) => {
                self.observer.accuse(oracle::LINEARIZABILITY, what);
            }
            Some((Verdict::Undecided, what)) => undecided = Some(what),
        }
        let mut counts = *self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.wire = self.wire.events();
        counts.points = fired();
        counts.repeats_known = seen(Sight::RepeatKnown);
        counts.sessions_ended = seen(Sight::SessionEnded);
        let tags: BTreeSet<u64> = log.iter().map(|entry| entry.tag).collect();
        let again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.retries, counts.applied_again) = sent_and_applied_again(&again, &tags);
        self.observer.with_world(|world| {
            counts.truncations = world.truncations;
            counts.installs = world.installs;
            counts.resumed = world.resumed;
            counts.machines_resumed = world.machines_resumed;
            counts.tables_replaced = world.tables_replaced;
        });
        for slot in self.slots().values() {
            counts.disk.add(slot.disk.events());
        }
        Report {
            setup: self.setup.clone(),
            violation: self.observer.violation(),
            undecided,
            hash: self.trace.hash(),
            counts,
            trace: self.trace.clone(),
            cluster: history.cluster,
            history: records.clone(),
            log: log.clone(),
            ended: time(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_applied_again_whichever_of_its_sendings_were() {
        let sent = [(1, vec![2]), (3, vec![4, 5]), (6, vec![7, 8, 9]), (10, vec![11])].into();
        // Of the second the first and the last, of the third all but the first.
        let applied = [2, 3, 5, 7, 8, 9, 12].into();
        assert_eq!(sent_and_applied_again(&sent, &applied), (7, 3));
        assert_eq!(sent_and_applied_again(&BTreeMap::new(), &applied), (0, 0));
    }
}
