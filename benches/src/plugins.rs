//! The plugins a cluster is built from, in the three pairs that are measured.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate::storage::{MemoryStorage, Storage};
use quorate::transport::{MemoryNetwork, Transport};
use quorate::types::Member;
use quorate_iroh::{IrohTransport, NodeKey};
use quorate_redb::RedbStorage;
use tempfile::TempDir;

/// How many nodes a cluster has.
pub const NODES: u64 = 3;

/// A storage and a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// Everything in memory: the framework's own cost, with nothing to wait for.
    MemoryMemory,
    /// A real log and no network: what the disk costs.
    RedbMemory,
    /// What a service runs on.
    RedbIroh,
}

impl Pair {
    /// Every pair.
    pub const ALL: [Self; 3] = [Self::MemoryMemory, Self::RedbMemory, Self::RedbIroh];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MemoryMemory => "memory+memory",
            Self::RedbMemory => "redb+memory",
            Self::RedbIroh => "redb+iroh",
        }
    }
}

/// The plugins of one node.
pub struct Plugins {
    /// The node's own record in the bootstrap list.
    pub member: Member,
    /// Where it keeps its log.
    pub storage: Arc<dyn Storage>,
    /// How it talks to the others.
    pub transport: Arc<dyn Transport>,
}

/// The plugins of a whole cluster, and the directory their files are in.
pub struct Rig {
    /// By node, in order.
    pub nodes: Vec<Plugins>,
    /// Removed with this value.
    _dir: TempDir,
}

impl Rig {
    /// Fresh plugins for every node of a cluster. Files go into a new directory under `scratch`;
    /// sockets are bound to free ports of the loopback interface.
    pub async fn new(pair: Pair, scratch: &Path) -> Self {
        let dir = tempfile::tempdir_in(scratch).expect("a directory of this run's own");
        let network = MemoryNetwork::new();
        let mut nodes = Vec::new();
        for node in 1..=NODES {
            let transport: Arc<dyn Transport> = match pair {
                Pair::MemoryMemory | Pair::RedbMemory => Arc::new(network.endpoint(&format!("n{node}"))),
                Pair::RedbIroh => {
                    let bound = IrohTransport::bind(NodeKey::generate(), "127.0.0.1:0").await;
                    Arc::new(bound.expect("a free port"))
                }
            };
            let storage: Arc<dyn Storage> = match pair {
                Pair::MemoryMemory => Arc::new(MemoryStorage::new()),
                Pair::RedbMemory | Pair::RedbIroh => Arc::new(redb(&dir.path().join(format!("n{node}")))),
            };
            let member = Member::new(node, transport.identity(), transport.address());
            nodes.push(Plugins { member, storage, transport });
        }
        Self { nodes, _dir: dir }
    }

    /// The bootstrap list.
    pub fn members(&self) -> Vec<Member> {
        self.nodes.iter().map(|node| node.member.clone()).collect()
    }
}

fn redb(dir: &Path) -> RedbStorage {
    RedbStorage::open(PathBuf::from(dir)).expect("a fresh directory")
}
