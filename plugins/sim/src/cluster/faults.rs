//! Doing what the plan says.

use std::sync::Arc;
use std::time::Duration;

use madsim::runtime::Handle;
use madsim::task::JoinHandle;
use quorate::types::NodeId;

use super::Sim;
use crate::disk::{Crash, FlushTime};
use crate::moment::Moment;
use crate::plan::{Fault, Planned};
use crate::runtime::{SimSleep, set_clock, time};
use crate::wire::LinkTime;
use crate::workload::Workload;

/// How long a fuse is left in.
const FUSE: Duration = Duration::from_secs(5);

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
                    slot.excused = true;
                    slot.disk.fail_flushes(1);
                }
            }
            Fault::Clock { node, jump, drift_ppm } => {
                if let Some(slot) = self.slots().get_mut(&node) {
                    let clock = slot.clock.turned(time(), jump, drift_ppm);
                    slot.clock = clock;
                    if let Some(up) = &slot.up {
                        set_clock(up.process.id(), clock);
                    }
                }
            }
            Fault::Transfer { to } => self.transfer(to),
        }
    }

    async fn crash(self: &Arc<Self>, node: u64, crash: Crash, down: Duration, again_at: Option<u64>) {
        if !self.stop(node, crash) {
            return;
        }
        SimSleep::exactly(down).await;
        if again_at.is_some()
            && let Some(slot) = self.slots().get_mut(&node)
        {
            slot.at_the_fuse = (crash, down);
            slot.disk.set_fuse(again_at);
        }
        self.start(node);
    }

    async fn set_fuse(&self, node: u64, changes: u64, at_the_fuse: (Crash, Duration)) {
        let Some(disk) = self.slots().get_mut(&node).map(|slot| {
            slot.at_the_fuse = at_the_fuse;
            slot.disk.clone()
        }) else {
            return;
        };
        disk.set_fuse(Some(changes));
        SimSleep::exactly(FUSE).await;
        disk.set_fuse(None);
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

    /// Asks whoever leads, in its own process.
    fn transfer(&self, to: u64) {
        let Some(leader) = self.leader() else { return };
        let slots = self.slots();
        let Some(up) = &slots[&leader].up else { return };
        let Some(asked) = &up.transfer else { return };
        let _ = asked.unbounded_send(NodeId(to));
    }

    /// Ends everything that goes wrong, but for what lasts.
    pub(super) fn calm(&self) {
        for from in self.all() {
            for to in self.all().into_iter().filter(|to| *to != from) {
                self.wire.heal(from, to);
                self.wire.refuse(from, to, false);
                self.wire.set_time(from, to, LinkTime::default());
            }
        }
        for slot in self.slots().values() {
            slot.disk.set_flush_time(FlushTime::default());
            slot.disk.fail_flushes(0);
            slot.disk.set_fuse(None);
            if let Some(up) = &slot.up {
                Handle::current().resume(up.process.id());
            }
        }
    }
}
