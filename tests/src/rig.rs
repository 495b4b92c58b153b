//! What a cluster is built from: plugins in memory, or the default ones on disk and loopback.

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use async_trait::async_trait;
use quorate::error::StorageError;
use quorate::storage::{MemoryStorage, Storage, StoredBytes};
use quorate::transport::{MemoryNetwork, MemoryTransport, Transport};
use quorate::types::{GroupId, LogIndex, Member, PeerId};
use quorate_iroh::{IrohTransport, NodeKey};
use quorate_redb::RedbStorage;

/// The plugins of a cluster's nodes, which outlive the nodes.
#[async_trait]
pub trait Rig: Send + Sync + Sized + 'static {
    /// The storage plugin.
    type Storage: Storage;
    /// The transport plugin.
    type Transport: Transport;

    /// Plugins for nodes 1 to `nodes`.
    fn new(nodes: u64) -> Self;
    /// The bootstrap list.
    fn members(&self) -> Vec<Member>;
    /// Opens the storage of a node, as it was left; fails when that is damaged.
    fn open(&self, node: u64) -> Result<Self::Storage, StorageError>;
    /// Opens the storage of a node that is sound.
    fn storage(&self, node: u64) -> Self::Storage {
        self.open(node).expect("a sound disk")
    }
    /// Binds the transport of a node, under its own key.
    async fn transport(&self, node: u64) -> Self::Transport;
    /// Takes from a node that is down whatever it had not flushed.
    fn cut_power(&self, node: u64);
    /// Takes everything from a node that is down: an empty disk in the place of the old one.
    fn wipe(&self, node: u64);
    /// Flips a bit of the entry at `index`, which has `text` in it, on the disk of a node that is down.
    fn flip(&self, node: u64, index: LogIndex, text: &str);
    /// A transport under the key of a node that is down, or of a stranger for any other number.
    async fn rogue(&self, node: u64) -> Self::Transport;
}

/// Everything in memory.
pub struct MemoryRig {
    network: MemoryNetwork,
    storages: Mutex<BTreeMap<u64, MemoryStorage>>,
    nodes: u64,
}

impl MemoryRig {
    /// The network between the nodes.
    pub fn network(&self) -> &MemoryNetwork {
        &self.network
    }
}

fn name(node: u64) -> String {
    format!("n{node}")
}

#[async_trait]
impl Rig for MemoryRig {
    type Storage = MemoryStorage;
    type Transport = MemoryTransport;

    fn new(nodes: u64) -> Self {
        Self { network: MemoryNetwork::new(), storages: Mutex::default(), nodes }
    }
    fn members(&self) -> Vec<Member> {
        let member = |node| {
            let key = PeerId::new(name(node)).expect("a short name");
            Member::new(node, key, name(node))
        };
        (1..=self.nodes).map(member).collect()
    }
    fn open(&self, node: u64) -> Result<MemoryStorage, StorageError> {
        Ok(self.storages.lock().expect("no panic").entry(node).or_default().clone())
    }
    async fn transport(&self, node: u64) -> MemoryTransport {
        self.network.endpoint(&name(node))
    }
    fn cut_power(&self, node: u64) {
        let mut storages = self.storages.lock().expect("no panic");
        let left = storages.entry(node).or_default().crash();
        storages.insert(node, left);
    }
    fn wipe(&self, node: u64) {
        self.storages.lock().expect("no panic").insert(node, MemoryStorage::new());
    }
    fn flip(&self, node: u64, index: LogIndex, _: &str) {
        let flipped = self.storage(node).flip_bit(GroupId::MAIN, StoredBytes::Entry(index), 8 * 45);
        assert!(flipped, "the entry is there");
    }
    async fn rogue(&self, node: u64) -> MemoryTransport {
        self.transport(node).await
    }
}

/// redb on disk and iroh on loopback.
pub struct DiskRig {
    dir: tempfile::TempDir,
    keys: BTreeMap<u64, (NodeKey, u16)>,
    /// Held for as long as a node may come back to its port.
    _ports: Vec<TcpListener>,
}

/// A port for a node, which keeps its address through restarts. It lies below those that a system
/// gives out by itself, and is taken for TCP, which no node uses: so nobody who chooses like this
/// gets it too, whether or not its node runs.
fn reserve_port() -> TcpListener {
    // Where to begin differs between processes, or they would all try the same ones.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = (std::process::id() % 1_000) as u16 * 10;
    let free = |_| {
        let port = 20_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let reserved = TcpListener::bind(("127.0.0.1", port)).ok()?;
        UdpSocket::bind(("127.0.0.1", port)).is_ok().then_some(reserved)
    };
    (0..10_000).find_map(free).expect("a free port")
}

impl DiskRig {
    /// The data directory of a node.
    pub fn dir(&self, node: u64) -> PathBuf {
        self.dir.path().join(name(node))
    }
}

#[async_trait]
impl Rig for DiskRig {
    type Storage = RedbStorage;
    type Transport = IrohTransport;

    fn new(nodes: u64) -> Self {
        let ports: Vec<TcpListener> = (0..nodes).map(|_| reserve_port()).collect();
        let port = |reserved: &TcpListener| reserved.local_addr().expect("bound").port();
        let keys = (1..).zip(&ports).map(|(node, reserved)| (node, (NodeKey::generate(), port(reserved))));
        Self { dir: tempfile::tempdir().expect("a temporary directory"), keys: keys.collect(), _ports: ports }
    }
    fn members(&self) -> Vec<Member> {
        let member = |(node, (key, port)): (&u64, &(NodeKey, u16))| {
            Member::new(*node, key.public(), format!("127.0.0.1:{port}"))
        };
        self.keys.iter().map(member).collect()
    }
    fn open(&self, node: u64) -> Result<RedbStorage, StorageError> {
        RedbStorage::builder(self.dir(node)).preallocate_bytes(1 << 20).open()
    }
    async fn transport(&self, node: u64) -> IrohTransport {
        let (key, port) = &self.keys[&node];
        IrohTransport::bind(key.clone(), &format!("127.0.0.1:{port}")).await.expect("a port of ours")
    }
    fn cut_power(&self, _: u64) {
        // A process cannot take from its own disk what it has not flushed: killed processes and the
        // crash images of the plugin's own tests do.
    }
    fn wipe(&self, node: u64) {
        std::fs::remove_dir_all(self.dir(node)).expect("a directory of ours");
    }
    fn flip(&self, node: u64, _: LogIndex, text: &str) {
        flip_in(&self.dir(node), text);
    }
    async fn rogue(&self, node: u64) -> IrohTransport {
        let key = self.keys.get(&node).map_or_else(NodeKey::generate, |(key, _)| key.clone());
        IrohTransport::bind(key, "127.0.0.1:0").await.expect("loopback")
    }
}

/// Flips a bit of `text` wherever it stands in the log of the data directory `dir`.
pub(crate) fn flip_in(dir: &std::path::Path, text: &str) {
    let path = dir.join("log.redb");
    let mut bytes = std::fs::read(&path).expect("a file of ours");
    // Pages that are not in use any more may have it too.
    let length = text.len();
    let found: Vec<usize> =
        (0..bytes.len() - length).filter(|at| bytes[*at..].starts_with(text.as_bytes())).collect();
    assert!(!found.is_empty(), "the entry is there");
    for at in found {
        bytes[at + length / 2] ^= 0x10;
    }
    std::fs::write(&path, bytes).expect("a file of ours");
}

/// Runs each scenario over both rigs.
#[macro_export]
macro_rules! over_both_rigs {
    ($($(#[$attribute:meta])* $scenario:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] $(#[$attribute])*
            async fn $scenario() {
                super::$scenario::<$crate::rig::MemoryRig>().await;
            })*
        }
        mod disk {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] $(#[$attribute])*
            async fn $scenario() {
                super::$scenario::<$crate::rig::DiskRig>().await;
            })*
        }
    };
}
