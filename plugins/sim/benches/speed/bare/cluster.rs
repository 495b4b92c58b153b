//! The nodes: how they start, what is seen of them, how they are stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle};
use openraft::SnapshotPolicy;
use openraft::async_runtime::WatchReceiver as _;
use quorate::runtime::AsyncRuntime;
use quorate::storage::{Identity, Storage as _};
use quorate::types::{ClusterId, DiskId, Member, NodeId};
use quorate_sim::cluster::{Setup, draw_config};
use quorate_sim::disk::{Crash, SimDisk};
use quorate_sim::rng::Rng;
use quorate_sim::runtime::{SimRuntime, time};
use quorate_sim::trace::Trace;
use quorate_sim::wire::{Death, Wire};
use quorate_sim::workload::Workload;

use super::glue::types::Raft;
use super::glue::{Factory, Log, Machine, serve};
use crate::done::Done;
use crate::mix::WORKLOAD;

/// How many bytes of ours an entry has on average: ours compacts its log by bytes, openraft by
/// entries.
const ENTRY_BYTES: u64 = 420;

/// A node that runs.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) process: NodeHandle,
    pub(super) raft: Raft,
    pub(super) machine: Machine,
}

/// A machine, its disk, and the process on it.
struct Slot {
    disk: SimDisk,
    process: Option<NodeHandle>,
    /// There once it has started.
    node: Option<Node>,
}

/// A cluster of bare openraft, and what has come of its run so far.
pub(super) struct Cluster {
    pub(super) setup: Setup,
    config: Arc<openraft::Config>,
    pub(super) wire: Wire,
    slots: Mutex<BTreeMap<u64, Slot>>,
    done: Mutex<Done>,
    /// The next unique number.
    pub(super) ticks: AtomicU64,
}

impl Cluster {
    pub(super) fn new(setup: Setup) -> Arc<Self> {
        let seed = setup.seed;
        let slot = |node| {
            let disk = SimDisk::new(Rng::stream(seed, &format!("disk {node}")));
            (node, Slot { disk, process: None, node: None })
        };
        Arc::new(Self {
            config: Arc::new(config(seed)),
            wire: Wire::new(Rng::stream(seed, "wire"), Trace::default()),
            slots: Mutex::new((1..=setup.nodes).map(slot).collect()),
            done: Mutex::default(),
            ticks: AtomicU64::new(1),
            setup,
        })
    }

    /// Runs the cluster as [`run`](super::run) says.
    pub(super) async fn run(self: Arc<Self>) -> Result<Done, String> {
        for node in self.all() {
            self.start(node);
        }
        let faults = self.begin_faults();
        self.clients().await;
        for fault in faults {
            fault.abort();
        }
        self.settle().await?;
        let mut done = *self.done();
        done.frames = self.wire.events().frames;
        for slot in self.slots().values() {
            done.flushes += slot.disk.events().flushes;
        }
        done.simulated = time();
        Ok(done)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = u64> + use<> {
        1..=self.setup.nodes
    }

    pub(super) fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<u64, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node that is up and has started.
    pub(super) fn up(&self, node: u64) -> Option<Node> {
        self.slots().get(&node)?.node.clone()
    }

    /// The node that leads the highest term, as the nodes say themselves.
    pub(super) fn leader(&self) -> Option<u64> {
        let leads = self.all().filter_map(|node| {
            let metrics = self.up(node)?.raft.metrics().borrow_watched().clone();
            (metrics.current_leader == Some(node)).then_some((metrics.current_term, node))
        });
        leads.max().map(|(_, node)| node)
    }

    /// Starts a node that is down.
    pub(super) fn start(self: &Arc<Self>, node: u64) {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&node).filter(|slot| slot.process.is_none()) else { return };
        let process = Handle::current().create_node().name(format!("n{node}")).build();
        slot.process = Some(process.clone());
        let disk = slot.disk.clone();
        drop(slots);
        let cluster = self.clone();
        process.clone().spawn(async move {
            let started = cluster.open(process, node, &disk).await;
            if let Some(slot) = cluster.slots().get_mut(&node) {
                slot.node = Some(started.clone());
            }
            cluster.watch(node, started.raft).await;
        });
    }

    async fn open(&self, process: NodeHandle, node: u64, disk: &SimDisk) -> Node {
        let storage = WORKLOAD.storage(disk).expect("a disk that fails is not in the mix");
        // Without one the plugin refuses a log that it finds.
        let (cluster_id, disk_id) = (ClusterId([0; 32]), DiskId([node as u8; 16]));
        let identity = Identity { cluster_id, node_id: NodeId(node), disk_id };
        storage.set_identity_once(&identity).await.expect("it is the same each time");
        let transport = Arc::new(self.wire.connect(node));
        let members: BTreeMap<u64, Member> = self.all().map(|node| (node, Wire::member(node))).collect();
        let log = Log::open(storage.clone()).await.expect("what was flushed is there");
        let machine = Machine::new(storage);
        let factory = Factory { transport: transport.clone(), members: Arc::new(members) };
        let raft = Raft::new(node, self.config.clone(), factory, log, machine.clone()).await;
        let raft = raft.expect("a node starts");
        drop(SimRuntime::spawn(serve(transport, raft.clone())));
        // Every node may say so of the same members. One that has heard from another is refused.
        let _ = raft.initialize(self.all().collect::<BTreeSet<_>>()).await;
        Node { process, raft, machine }
    }

    /// Counts what a node does, as long as it runs.
    async fn watch(&self, node: u64, raft: Raft) {
        let mut metrics = raft.metrics();
        let (mut led, mut snapshot) = (None, metrics.borrow_watched().snapshot);
        loop {
            let now = metrics.borrow_and_update().clone();
            {
                let mut done = self.done();
                if now.current_leader == Some(node) && led < Some(now.current_term) {
                    led = Some(now.current_term);
                    done.leaders += 1;
                }
                if now.snapshot > snapshot {
                    snapshot = now.snapshot;
                    done.snapshots += 1;
                }
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// Stops a node as `crash` says. `false` when it is down already.
    pub(super) fn stop(&self, node: u64, crash: Crash) -> bool {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&node) else { return false };
        let Some(process) = slot.process.take() else { return false };
        slot.node = None;
        // The power goes first: tasks are dropped later, and destructors must not touch the disk.
        slot.disk.crash(crash);
        drop(slots);
        let death = if crash == Crash::Process { Death::Process } else { Death::Power };
        self.wire.kill(node, death);
        Handle::current().kill(process.id());
        self.done().crashes += 1;
        true
    }
}

/// The configuration that ours has with this seed, in openraft's words.
fn config(seed: u64) -> openraft::Config {
    let ours = draw_config(seed);
    openraft::Config {
        heartbeat_interval: ours.election.heartbeat_ms,
        election_timeout_min: ours.election.timeout_min_ms,
        election_timeout_max: ours.election.timeout_max_ms,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(ours.snapshot.log_bytes / ENTRY_BYTES),
        max_in_snapshot_log_to_keep: ours.snapshot.keep_entries,
        max_payload_entries: 4096,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        ..openraft::Config::default()
    }
}

/// Waits, in simulated time.
pub(super) async fn sleep(span: Duration) {
    SimRuntime::sleep(span).await;
}
