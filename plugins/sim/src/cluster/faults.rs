//! Doing what the plan says.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use madsim::runtime::Handle;
use madsim::task::JoinHandle;
use quorate::types::NodeId;

use super::Sim;
use super::nodes::Asked;
use crate::disk::{Crash, FlushTime};
use crate::moment::Moment;
use crate::mutations::Mutation;
use crate::plan::{Fault, Planned};
use crate::runtime::{SimSleep, set_clock, time};
use crate::wire::LinkTime;
use crate::workload::Workload;

/// How long a fuse is left in.
const FUSE: Duration = Duration::from_secs(5);
/// How long a node is kept away at most, until the others have purged what it lacks.
const PURGED: Duration = Duration::from_secs(8);
/// Where the storage is, whose bits may rot. A machine on its disk is elsewhere: nothing promises that
/// a flipped bit of its tables is noticed.
const DATA: &str = "data";
/// Where the storage keeps its snapshots.
const SNAPSHOTS: &str = "data/snap";

impl<W: Workload> Sim<W> {
    /// A task for every fault of the plan.
    pub(super) fn begin_faults(self: Arc<Self>) -> Vec<JoinHandle<()>> {
        let faults = self.setup.plan.faults.clone();
        let begin = |(place, Planned { at, fault })| {
            let sim = self.clone();
            madsim::task::spawn(async move {
                SimSleep::exactly(at).await;
                sim.tell(format!("fault: {fault:?}"));
                sim.trace.record(time(), || Moment::FaultBegins { fault: place });
                sim.happen(fault).await;
                sim.trace.record(time(), || Moment::FaultEnds { fault: place });
            })
        };
        faults.into_iter().enumerate().map(begin).collect()
    }

    async fn happen(self: &Arc<Self>, fault: Fault) {
        match fault {
            Fault::Crash { node, crash, down, again_at } => self.crash(node, crash, down, again_at).await,
            Fault::CrashLeader { crash, down } => {
                if let Some(node) = self.leader() {
                    self.crash(node, crash, down, None).await;
                }
            }
            Fault::Fuse { node, changes, crash, down } => {
                self.set_fuse(node, changes, (crash, down)).await;
            }
            Fault::Isolate { node, time, hears, is_heard } => self.isolate(node, time, hears, is_heard).await,
            Fault::IsolateLeader { time } => {
                if let Some(node) = self.leader() {
                    self.isolate(node, time, false, false).await;
                }
            }
            Fault::CutOneWay { from, to, time } => self.cut(vec![(from, to)], time).await,
            Fault::CutLink { a, b, time } => self.cut(vec![(a, b), (b, a)], time).await,
            Fault::Split { half, time } => self.split(half, time).await,
            Fault::Flap { node, times, off, on } => {
                for _ in 0..times {
                    self.isolate(node, off, false, false).await;
                    SimSleep::exactly(on).await;
                }
            }
            Fault::FallBehind { node, time } => self.fall_behind(node, time).await,
            Fault::Reset { a, b } => self.wire.reset(a, b),
            Fault::HalfOpen { gone, left } => self.wire.half_open(gone, left),
            Fault::SlowLinks { node, link, time } => {
                self.set_links(node, link);
                SimSleep::exactly(time).await;
                self.set_links(node, LinkTime::default());
            }
            Fault::Refuse { node, time } => {
                self.refuse(node, true);
                SimSleep::exactly(time).await;
                self.refuse(node, false);
            }
            Fault::Pause { node, time } => self.pause(node, time).await,
            Fault::SlowDisk { node, flush, time } => {
                self.set_flush_time(node, flush);
                SimSleep::exactly(time).await;
                self.set_flush_time(node, FlushTime::default());
            }
            Fault::FlushError { node } => {
                if let Some(slot) = self.slots().get_mut(&node).filter(|slot| slot.up.is_some()) {
                    slot.fail_a_flush();
                }
            }
            Fault::Clock { node, jump, drift_ppm } => {
                self.count(|counts| counts.clock_faults += 1);
                if let Some(slot) = self.slots().get_mut(&node) {
                    let clock = slot.clock.turned(time(), jump, drift_ppm);
                    slot.clock = clock;
                    if let Some(up) = &slot.up {
                        set_clock(up.process.id(), clock);
                    }
                }
            }
            Fault::Full { node, spare, time } => self.fill(node, spare, time).await,
            Fault::Rot { node, bits, stopped } => self.rot(node, bits, stopped).await,
            Fault::Wipe { node } => self.wipe(node),
            Fault::SnapshotFuse { node, changes, crash, down } => {
                if let Some(slot) = self.slots().get_mut(&node) {
                    slot.set_fuse_in(SNAPSHOTS, changes, (crash, down));
                }
            }
            Fault::BreakSnapshot { answers } => self.wire.break_snapshot(Some(answers)),
            Fault::Join { spare } => self.join(spare).await,
            Fault::Promote { spare } => self.promote(spare).await,
            Fault::Replace { old, spare } => self.replace(old, spare).await,
            Fault::Remove { node } => self.remove(node).await,
            Fault::RemoveLeader => {
                if let Some(node) = self.leader() {
                    self.remove(node).await;
                }
            }
            Fault::RemoveSpare { spare } => self.remove_spare(spare).await,
            Fault::WipeSpare { spare } => self.wipe_spare(spare),
            Fault::GiveIdAgain { spare, key } => self.give_id_again(spare, key).await,
            Fault::Transfer { to } => self.transfer(to),
            Fault::Shutdown { node } => self.shut_down(node),
        }
    }

    async fn crash(self: &Arc<Self>, node: u64, crash: Crash, down: Duration, again_at: Option<u64>) {
        if !self.stop(node, crash) {
            return;
        }
        SimSleep::exactly(down).await;
        if let Some(changes) = again_at
            && let Some(slot) = self.slots().get_mut(&node)
        {
            slot.set_fuse(changes, (crash, down));
        }
        self.start(node);
    }

    async fn set_fuse(&self, node: u64, changes: u64, then: (Crash, Duration)) {
        let Some((disk, fuse)) =
            self.slots().get_mut(&node).map(|slot| (slot.disk.clone(), slot.set_fuse(changes, then)))
        else {
            return;
        };
        SimSleep::exactly(FUSE).await;
        // Another may be in its place by now.
        disk.take_out(fuse);
    }

    async fn isolate(&self, node: u64, time: Duration, hears: bool, is_heard: bool) {
        let others: Vec<u64> = self.all().into_iter().filter(|other| *other != node).collect();
        let into = others.iter().filter(|_| !hears).map(|other| (*other, node));
        let out = others.iter().filter(|_| !is_heard).map(|other| (node, *other));
        self.cut(into.chain(out).collect(), time).await;
    }

    async fn cut(&self, links: Vec<(u64, u64)>, time: Duration) {
        for (from, to) in &links {
            self.wire.cut(*from, *to);
        }
        SimSleep::exactly(time).await;
        for (from, to) in links {
            self.wire.heal(from, to);
        }
    }

    fn set_links(&self, node: u64, link: LinkTime) {
        for other in self.all().into_iter().filter(|other| *other != node) {
            self.wire.set_time(node, other, link);
            self.wire.set_time(other, node, link);
        }
    }

    fn refuse(&self, node: u64, refuse: bool) {
        for other in self.all().into_iter().filter(|other| *other != node) {
            self.wire.refuse(other, node, refuse);
        }
    }

    fn set_flush_time(&self, node: u64, time: FlushTime) {
        self.slots()[&node].disk.set_flush_time(time);
    }

    async fn pause(&self, node: u64, time: Duration) {
        let Some(process) = self.slots()[&node].up.as_ref().map(|up| up.process.id()) else { return };
        Handle::current().pause(process);
        SimSleep::exactly(time).await;
        Handle::current().resume(process);
    }

    async fn split(&self, half: u64, time: Duration) {
        let (one, other): (Vec<u64>, Vec<u64>) =
            self.all().into_iter().partition(|node| half & (1 << node) != 0);
        let links = one.iter().flat_map(|a| other.iter().flat_map(|b| [(*a, *b), (*b, *a)]));
        self.cut(links.collect(), time).await;
    }

    /// Keeps a node away until whoever leads has purged what it lacks. A follower may have done so long
    /// before: a leader keeps what it is about to send.
    async fn fall_behind(&self, node: u64, least: Duration) {
        let others = || self.all().into_iter().filter(move |other| *other != node);
        let links: Vec<(u64, u64)> = others().flat_map(|other| [(node, other), (other, node)]).collect();
        for (from, to) in &links {
            self.wire.cut(*from, *to);
        }
        SimSleep::exactly(least).await;
        let by = time() + PURGED;
        let lacks = || {
            let leader = self.leader().filter(|leader| *leader != node);
            self.observer.with_world(|world| {
                let last = world.logs.get(&node).and_then(|log| log.durable().last());
                let purged =
                    leader.and_then(|leader| world.logs.get(&leader)).map(|log| log.durable().purged);
                purged.is_some_and(|purged| purged > last)
            })
        };
        while time() < by && !lacks() {
            SimSleep::exactly(Duration::from_millis(50)).await;
        }
        for (from, to) in links {
            self.wire.heal(from, to);
        }
    }

    async fn fill(&self, node: u64, spare: u64, length: Duration) {
        if let Some(slot) = self.slots().get_mut(&node) {
            slot.fill(spare);
        }
        SimSleep::exactly(length).await;
        if let Some(slot) = self.slots().get_mut(&node) {
            slot.make_room(time());
        }
    }

    async fn rot(self: &Arc<Self>, node: u64, bits: u64, stopped: bool) {
        if stopped && !self.stop(node, Crash::Process) {
            return;
        }
        let flipped: Vec<_> = match self.slots().get_mut(&node) {
            Some(slot) if !slot.is_lost() => {
                // redb's pages have checksums of their own: what is read is damaged in their place.
                let passed_over = self.setup.mutation == Some(Mutation::ChecksumNotVerified);
                let bits = if passed_over { 0 } else { bits };
                let flipped: Vec<_> = (0..bits).filter_map(|_| slot.disk.rot_somewhere(DATA)).collect();
                // Where nothing is damaged yet nothing is excused.
                slot.rotten = passed_over || !flipped.is_empty();
                if slot.rotten {
                    self.observer.may_have_lost(node);
                }
                flipped
            }
            _ => Vec::new(),
        };
        for (file, bit) in flipped.iter().take(3) {
            self.tell(format!("n{node}: bit {bit} of {} flips", file.display()));
        }
        if stopped {
            SimSleep::exactly(Duration::from_millis(100)).await;
            self.start(node);
        }
    }

    /// Replaces the disk of a node. Before every node is born nobody could tell an empty disk from a
    /// new one, and it would be right to accept it.
    fn wipe(self: &Arc<Self>, node: u64) {
        let born = |node: u64| {
            self.observer
                .with_world(|world| world.logs.get(&node).is_some_and(|log| log.durable().last().is_some()))
        };
        if self.first().into_iter().all(born) && !self.slots()[&node].is_lost() {
            self.replace_disk(node);
        }
    }

    /// Starts a node on an empty disk, under its id and with its key.
    pub(super) fn replace_disk(self: &Arc<Self>, node: u64) {
        self.stop(node, Crash::LoseAll);
        if let Some(slot) = self.slots().get_mut(&node) {
            slot.wiped = true;
            slot.disk.wipe();
        }
        self.observer.may_have_lost(node);
        self.count(|counts| counts.wiped += 1);
        self.start(node);
    }

    /// Asks whoever leads, in its own process.
    fn transfer(&self, to: u64) {
        let Some(leader) = self.leader() else { return };
        if self.ask_operator(leader, Asked::Transfer(NodeId(to))) && leader != to {
            let by = time() + Duration::from_millis(self.config.election.timeout_min_ms);
            *self.asked_over.lock().unwrap_or_else(PoisonError::into_inner) = Some((leader, to, by));
        }
    }

    fn shut_down(&self, node: u64) {
        if self.ask_operator(node, Asked::Shutdown) {
            self.count(|counts| counts.shutdowns += 1);
        }
    }

    /// Whether the node is there to be asked.
    fn ask_operator(&self, node: u64, asked: Asked) -> bool {
        let slots = self.slots();
        let operator = slots[&node].up.as_ref().and_then(|up| up.operator.as_ref());
        operator.is_some_and(|operator| operator.unbounded_send(asked).is_ok())
    }

    /// Ends everything that goes wrong, but for what lasts.
    pub(super) fn calm(&self) {
        self.wire.break_snapshot(None);
        for from in self.all() {
            for to in self.all().into_iter().filter(|to| *to != from) {
                self.wire.heal(from, to);
                self.wire.refuse(from, to, false);
                self.wire.set_time(from, to, LinkTime::default());
            }
        }
        for slot in self.slots().values_mut() {
            slot.calm(time());
            if let Some(up) = &slot.up {
                Handle::current().resume(up.process.id());
            }
        }
    }
}
