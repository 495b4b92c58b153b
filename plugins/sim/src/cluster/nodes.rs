//! Starting and stopping nodes.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Either, select};
use madsim::runtime::{Handle, NodeHandle};
use madsim::task::JoinHandle;
use quorate::client::Client;
use quorate::node::Members;
use quorate::node::status::{Phase, Role, Status};
use quorate::storage::{Health, Storage};
use quorate::types::NodeId;
use quorate::watch::Watcher;
use quorate::{Cluster, Node};
use quorate_redb::RedbStorage;

use super::Sim;
use super::slot::{Fate, Refusal, Slot, Why};
use crate::disk::{Crash, SimDisk};
use crate::moment::Moment;
use crate::mutations::Mutation;
use crate::observe::{Eye, Observation, Observed, ObservedStorage};
use crate::oracle;
use crate::runtime::{SimRuntime, SimSleep, set_clock, time};
use crate::wire::{Death, Wire};
use crate::workload::Workload;

/// A process that runs.
pub(super) struct Up<W: Workload> {
    /// madsim's name for it; another one for every boot.
    pub(super) process: NodeHandle,
    pub(super) boot: u64,
    /// There once it has started.
    pub(super) client: Option<Client<Observed<W>>>,
    pub(super) status: Option<Watcher<Status>>,
    /// Asks for the members and changes them.
    pub(super) members: Option<Members>,
    /// What its operator asks of it.
    pub(super) operator: Option<mpsc::UnboundedSender<Asked>>,
}

/// What an operator asks of a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// To hand over its leadership.
    Transfer(NodeId),
    /// To shut down.
    Shutdown,
}

/// A node stopped, or did not start.
pub(super) struct Trouble {
    node: u64,
    boot: u64,
    why: Why,
}

/// How long a node that stopped by itself is down.
const RESTART: Duration = Duration::from_millis(300);
/// How long a node is down that was refused: it will be again.
const REFUSED: Duration = Duration::from_secs(2);

impl<W: Workload> Sim<W> {
    /// Starts a node that is down and may be up.
    pub(super) fn start(self: &Arc<Self>, node: u64) {
        let boot = self.observer.boot(node);
        let mut slots = self.slots();
        let is_first = node <= self.setup.nodes;
        let may =
            |slot: &&mut Slot<W>| slot.up.is_none() && !slot.held && (is_first || slot.ticket.is_some());
        let Some(slot) = slots.get_mut(&node).filter(may) else { return };
        slot.flush_fails = false;
        slot.disk.lie_about_flushes(self.setup.mutation == Some(Mutation::LyingDisk));
        let process = Handle::current().create_node().name(format!("n{node} boot {boot}")).build();
        set_clock(process.id(), slot.clock);
        let up =
            Up { process: process.clone(), boot, client: None, status: None, members: None, operator: None };
        slot.up = Some(up);
        let disk = slot.disk.clone();
        drop(slots);
        self.tell(format!("n{node} boots (boot {boot})"));
        self.trace.record(time(), || Moment::Boots { node, boot });
        let sim = self.clone();
        process.spawn(async move {
            let why = match sim.open(node, boot, &disk).await {
                Ok(running) => sim.watch(node, boot, running).await,
                Err(why) => why,
            };
            let _ = sim.trouble.unbounded_send(Trouble { node, boot, why });
        });
    }

    async fn open(&self, node: u64, boot: u64, disk: &SimDisk) -> Result<Node<Observed<W>>, Why> {
        let storage =
            self.workload.storage(disk).map_err(|why| format!("the storage does not open: {why}"))?;
        let eye = Eye::new(self.workload.clone(), self.observer.clone(), node, boot, self.setup.mutation);
        let machine = if self.setup.on_disk || self.workload.lives_on_disk() {
            self.workload.on_disk(disk, eye).map_err(|why| format!("the machine does not open: {why}"))?
        } else {
            eye.in_memory(self.workload.machine())
        };
        self.start_node(node, boot, storage, machine).await
    }

    async fn start_node(
        &self,
        node: u64,
        boot: u64,
        storage: impl Storage,
        machine: Observed<W>,
    ) -> Result<Node<Observed<W>>, Why> {
        let observer = self.observer.clone();
        let ticket = self.slots()[&node].ticket.clone();
        let cluster = match ticket {
            Some(ticket) => Cluster::join(ticket),
            None => Cluster::bootstrap(self.first().into_iter().map(Wire::member)),
        };
        let storage = ObservedStorage::new(storage, observer, node, boot, self.setup.mutation);
        Node::builder(machine)
            .storage(storage)
            .transport(self.wire.connect(node))
            .cluster(cluster)
            .config(self.config.clone())
            .start_on::<SimRuntime>()
            .await
            .map_err(|error| Why {
                text: format!("the node does not start: {}", with_sources(&error)),
                refused: Refusal::of(&error, |peer| self.wire.has_refused(node, peer.0)),
                in_good_order: false,
            })
    }

    /// A client of a node, in a session if clients have one.
    fn client_of(&self, running: &Node<Observed<W>>) -> Client<Observed<W>> {
        let client = running.plain_client();
        match self.setup.sessions {
            Some(idle) => client.with_session(idle),
            None => client,
        }
    }

    /// Tells what a node does, until it stops; says why it did.
    async fn watch(&self, node: u64, boot: u64, running: Node<Observed<W>>) -> Why {
        let mut watcher = running.status();
        let (operator, mut asked) = mpsc::unbounded();
        if let Some(up) =
            self.slots().get_mut(&node).and_then(|slot| slot.up.as_mut()).filter(|up| up.boot == boot)
        {
            up.client = Some(self.client_of(&running));
            up.status = Some(watcher.clone());
            up.members = Some(running.members());
            up.operator = Some(operator);
        }
        let mut before = watcher.get();
        let mut now = Some(before.clone());
        while let Some(status) = now {
            self.note(node, &before, &status);
            if let Some(reason) = status.stopped() {
                return Why::stopped(node, reason);
            }
            before = status;
            now = loop {
                match select(Box::pin(watcher.changed()), asked.next()).await {
                    Either::Left((changed, _)) => break changed,
                    Either::Right((Some(Asked::Transfer(to)), _)) => running.transfer_leader(to).await,
                    Either::Right((Some(Asked::Shutdown), _)) => {
                        let ended = running.shutdown().await;
                        return Why::shut_down(node, ended, running.status().get().stopped());
                    }
                    // Its slot has let go of it: it is about to be killed.
                    Either::Right((None, _)) => std::future::pending().await,
                }
            };
        }
        "the node is gone".to_owned().into()
    }

    fn note(&self, node: u64, before: &Status, status: &Status) {
        self.observer.see(node, &Observation::Status { status });
        if status.phase == Phase::Removed && before.phase != Phase::Removed {
            self.tell(format!("n{node} shows that it was removed"));
            let refused = self.all().into_iter().any(|peer| self.wire.has_refused(node, peer));
            if !self.slots()[&node].may_go && !refused {
                let what = format!("n{node} believes that it was removed, and nobody asked for that");
                self.observer.accuse(oracle::KEEP_RUNNING, what);
            }
        }
        if status.phase == Phase::Running && self.slots()[&node].wiped {
            let detail = format!("n{node} takes part again under its old name, with an empty disk");
            self.observer.accuse(oracle::REPLACED_DISK, detail);
        }
        if (before.role, before.term) != (status.role, status.term) {
            let (role, term) = (status.role, status.term.get());
            self.trace.record(time(), || Moment::Role { node, role: format!("{role:?}"), term });
        }
        let joins = node > self.setup.nodes && matches!(before.phase, Phase::Joining { .. });
        let joined = joins && status.phase == Phase::Running;
        let again = self.slots()[&node].again;
        let begins = status.role == Role::Leader && (before.role, before.term) != (status.role, status.term);
        let handed_over = begins && self.was_asked_for(node);
        let bounces = begins && self.leads(node, status.term.get());
        if begins {
            self.tell(format!("n{node} leads {}", status.term));
        }
        if status.snapshot != before.snapshot {
            let upto = status.snapshot.map_or_else(|| "nothing".to_owned(), |covers| covers.to_string());
            self.tell(format!("n{node} has a snapshot up to {upto}"));
            self.trace.record(time(), || Moment::Snapshot { node, upto });
        }
        if status.health != before.health {
            self.tell(format!("n{node}'s storage is {:?}", status.health));
        }
        self.count(|counts| {
            counts.term = counts.term.max(status.term.get());
            counts.snapshots += u64::from(status.snapshot > before.snapshot);
            counts.leaders += u64::from(begins);
            counts.bounces += u64::from(bounces);
            counts.handovers += u64::from(handed_over);
            counts.joined += u64::from(joined);
            counts.ids_again += u64::from(joined && again);
            counts.low_disks += u64::from(before.health == Health::Ok && status.health == Health::Low);
        });
    }

    /// Notes that a node leads a term; whether it is the one that led before, in an earlier boot.
    fn leads(&self, node: u64, term: u64) -> bool {
        let boot = self.observer.boot(node);
        let mut last = self.led.lock().unwrap_or_else(PoisonError::into_inner);
        let bounces = last.is_some_and(|(before, of, in_boot)| before < term && of == node && in_boot < boot);
        if last.is_none_or(|(before, ..)| before < term) {
            *last = Some((term, node, boot));
        }
        bounces
    }

    /// Whether a node that begins to lead does so since it was handed over to it.
    fn was_asked_for(&self, node: u64) -> bool {
        let asked = self.asked_over.lock().unwrap_or_else(PoisonError::into_inner).take();
        let led = self.led.lock().unwrap_or_else(PoisonError::into_inner).map(|(_, leader, _)| leader);
        asked.is_some_and(|(from, to, by)| led == Some(from) && to == node && time() <= by)
    }

    /// Crashes a node as `crash` says. `false` when it is down already.
    pub(super) fn stop(&self, node: u64, crash: Crash) -> bool {
        let leads = self.leader() == Some(node);
        let stopped = self.take_down(node, crash);
        self.count(|counts| {
            counts.crashes += u64::from(stopped);
            counts.leader_crashes += u64::from(stopped && leads);
        });
        stopped
    }

    /// Whether it crashes or has stopped by itself.
    fn take_down(&self, node: u64, crash: Crash) -> bool {
        let Some(up) = self.slots().get_mut(&node).and_then(|slot| slot.up.take()) else { return false };
        self.tell(format!("n{node} stops ({crash:?})"));
        // The power goes first: tasks are dropped later, and destructors must not touch the disk.
        let disk = self.slots()[&node].disk.clone();
        let before = disk.events();
        disk.crash(crash);
        let after = disk.events();
        self.trace.record(time(), || Moment::Stops {
            node,
            keeps: format!("{crash:?}"),
            waiting: self.observer.with_world(|world| world.logs[&node].waiting()),
            lost: after.losses > before.losses,
            torn: after.torn - before.torn,
        });
        self.observer.crashed(node);
        let death = if crash == Crash::Process { Death::Process } else { Death::Power };
        self.wire.kill(node, death);
        Handle::current().kill(up.process.id());
        true
    }

    /// Ends every node for good, when the run is over and nobody looks any more. Tasks that wait for each
    /// other own each other, and would be there as long as the process is.
    pub(super) async fn let_go(&self) {
        let mut processes = Vec::new();
        for slot in self.slots().values_mut() {
            slot.held = true;
            slot.disk.crash(Crash::Process);
            processes.extend(slot.up.take().map(|up| up.process.id()));
        }
        for process in processes {
            Handle::current().resume(process);
            Handle::current().kill(process);
        }
        // Meanwhile the executor drops what was killed, and whoever waits to restart a node gives up.
        SimSleep::exactly(REFUSED + RESTART).await;
    }

    /// Restarts nodes whose fuse blows, and those that stop by themselves with a reason; without
    /// one it is a violation.
    pub(super) fn guard(self: &Arc<Self>, mut troubles: mpsc::UnboundedReceiver<Trouble>) -> Guards {
        let mut tasks = Vec::new();
        for node in self.all() {
            let sim = self.clone();
            tasks.push(madsim::task::spawn(async move {
                let mut death = sim.slots()[&node].disk.watch_death();
                while death.until(|dead| *dead).await.is_some() {
                    let (crash, down, early) = {
                        let slot = &sim.slots()[&node];
                        let starting = slot.up.as_ref().is_some_and(|up| up.client.is_none());
                        let (crash, down) = slot.at_the_fuse();
                        (crash, down, starting)
                    };
                    sim.count(|counts| counts.cuts_in_recovery += u64::from(early));
                    if sim.stop(node, crash) {
                        SimSleep::exactly(down).await;
                        sim.start(node);
                    } else {
                        sim.slots()[&node].disk.crash(crash);
                    }
                }
            }));
        }
        let sim = self.clone();
        tasks.push(madsim::task::spawn(async move {
            while let Some(trouble) = troubles.next().await {
                sim.hear(trouble);
            }
        }));
        Guards(tasks)
    }

    fn hear(self: &Arc<Self>, Trouble { node, boot, why }: Trouble) {
        let slots = self.slots();
        let slot = &slots[&node];
        // Somebody stopped it meanwhile, or is about to.
        if slot.disk.is_dead() || slot.up.as_ref().is_none_or(|up| up.boot != boot) {
            return;
        }
        let fate = Fate::of(slot, &why, time());
        drop(slots);
        let why = why.text;
        self.tell(format!("n{node}: {why}"));
        if fate == Fate::Unexpected {
            self.observer.accuse(oracle::KEEP_RUNNING, format!("n{node} (boot {boot}): {why}"));
        }
        let sim = self.clone();
        madsim::task::spawn(async move { sim.restart(node, fate).await });
    }

    /// Takes down a node that stopped by itself, and starts it again if it may.
    async fn restart(self: &Arc<Self>, node: u64, fate: Fate) {
        if !self.take_down(node, Crash::Subset) {
            return;
        }
        match fate {
            Fate::Damaged => {
                if let Some(slot) = self.slots().get_mut(&node) {
                    slot.held = true;
                }
                self.count(|counts| counts.damaged += 1);
                return;
            }
            Fate::Refused => {
                self.count(|counts| counts.wiped_refused += 1);
                SimSleep::exactly(REFUSED).await;
            }
            Fate::Excused | Fate::Unexpected => SimSleep::exactly(RESTART).await,
        }
        self.start(node);
    }

    /// The node that leads the highest term, as the nodes say themselves.
    pub(super) fn leader(&self) -> Option<u64> {
        let slots = self.slots();
        let leads = slots.iter().filter_map(|(node, slot)| {
            let status = slot.up.as_ref()?.status.as_ref()?.get();
            (status.role == Role::Leader).then_some((status.term, *node))
        });
        leads.max().map(|(_, node)| node)
    }
}

/// The storage that a node has when the workload says nothing else.
pub(crate) fn redb_storage(disk: &SimDisk) -> Result<Arc<dyn Storage>, String> {
    let storage = RedbStorage::builder("data")
        .preallocate_bytes(256 << 10)
        .cache_bytes(4 << 20)
        .low_water_bytes(1 << 20)
        .ballast_bytes(1 << 20)
        .hooks(disk.hooks())
        .open();
    Ok(Arc::new(storage.map_err(|error| with_sources(&error))?))
}

/// Ends its tasks when dropped.
pub(super) struct Guards(Vec<JoinHandle<()>>);

impl Drop for Guards {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
