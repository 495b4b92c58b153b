//! A state larger than memory: documents in redb tables on three nodes, each with many times more
//! data than its cache. One node misses a good part and gets the tables; then everything restarts,
//! and nothing is applied again.
//!
//! `documents.rs` is the machine. A test of one line puts it through crashes, full disks and torn writes:
//! `plugins/sim/tests/machines/tables.rs`.
//!
//! `cargo run --release --example documents`

mod documents;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use quorate::node::config::ConfigBuilder;
use quorate::transport::MemoryNetwork;
use quorate::types::{Member, PeerId};
use quorate::{Cluster, Node};
use quorate_redb::{RedbMachine, RedbStorage};

use crate::documents::{Documents, DocumentsClient};

type Machine = RedbMachine<Documents>;

/// What redb may keep of the tables in memory, on each node.
const CACHE_BYTES: usize = 1 << 20;
const TEXT_BYTES: usize = 4 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// Three nodes in one process, so the network between them is in memory.
struct Cabinet {
    dir: tempfile::TempDir,
    network: MemoryNetwork,
}

impl Cabinet {
    fn home(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("n{id}"))
    }

    /// Starts a node: the same for the first start and every other.
    async fn start(&self, id: u64) -> Result<Node<Machine>, Box<dyn Error>> {
        let member = |id: u64| Some(Member::new(id, PeerId::new(format!("n{id}"))?, format!("n{id}")));
        let members: Vec<Member> = (1..=3).filter_map(member).collect();
        // The log is short, so that a node which was away needs more than that.
        let config = ConfigBuilder::new().snapshot_log_bytes(2 << 20).snapshot_keep_entries(100);
        let machine = Machine::builder(self.home(id).join("documents.redb")).cache_bytes(CACHE_BYTES);
        let node = Node::builder(machine.open(Documents)?)
            .storage(RedbStorage::open(self.home(id))?)
            .transport(self.network.endpoint(&format!("n{id}")))
            .cluster(Cluster::bootstrap(members))
            .config(config.build()?)
            .start()
            .await?;
        Ok(node)
    }

    async fn start_all(&self) -> Result<Vec<Node<Machine>>, Box<dyn Error>> {
        let (one, two, three) = tokio::try_join!(self.start(1), self.start(2), self.start(3))?;
        Ok(vec![one, two, three])
    }
}

fn text(number: u64) -> String {
    format!("document {number} ").repeat(TEXT_BYTES / 16)
}

/// Writes documents, 64 at a time.
async fn write(client: &DocumentsClient, numbers: std::ops::Range<u64>) -> Result<(), Box<dyn Error>> {
    let writes = numbers.map(|number| async move { client.put(number, text(number)).await });
    let mut writes = futures::stream::iter(writes).buffer_unordered(64);
    while let Some(written) = writes.next().await {
        written?;
    }
    Ok(())
}

/// Waits until a node has applied what another has committed.
async fn caught_up(node: &Node<Machine>, with: &Node<Machine>) -> Result<(), Box<dyn Error>> {
    let goal = with.status().get().committed;
    let mut status = node.status();
    let reached = status.until(|status| status.applied >= goal);
    tokio::time::timeout(PATIENCE, reached).await?.ok_or("the node is gone")?;
    Ok(())
}

fn mebibytes(path: &Path) -> Result<u64, Box<dyn Error>> {
    Ok(std::fs::metadata(path)?.len() >> 20)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cabinet = Cabinet { dir: tempfile::tempdir()?, network: MemoryNetwork::new() };
    println!("three nodes start, each with {} KiB of cache for its tables", CACHE_BYTES >> 10);
    let mut nodes = cabinet.start_all().await?;
    for round in 0..3_u64 {
        write(&nodes[0].client(), round * 1000..round * 1000 + 1000).await?;
        let file = mebibytes(&cabinet.home(1).join("documents.redb"))?;
        println!("  {} documents of 4 KiB: the file of n1 has {file} MiB", (round + 1) * 1000);
    }

    println!("n3 stops; the others take 1000 documents more, and purge their logs");
    nodes.remove(2).shutdown().await?;
    write(&nodes[0].client(), 3000..4000).await?;
    let late = cabinet.start(3).await?;
    println!("n3 is back with its tables as of entry {}", at(&late));
    caught_up(&late, &nodes[0]).await?;
    let (purged, snapshot) = (nodes[0].status().get().purged, late.status().get().snapshot);
    let how = if snapshot >= purged { "by a copy of the tables" } else { "from the log" };
    println!("  and catches up {how}, to entry {}", at(&late));
    nodes.push(late);

    println!("all three stop and start again");
    for node in nodes {
        node.shutdown().await?;
    }
    let nodes = cabinet.start_all().await?;
    for node in &nodes {
        let client = node.client();
        println!(
            "  n{}: begins at entry {}, holds {} documents",
            node.id().get(),
            at(node),
            client.count().await?
        );
        for number in [0, 2999, 3999] {
            assert_eq!(client.get(number).await?, Some(text(number)), "document {number}");
        }
    }
    let count = nodes[0].client().count().await?;
    for node in nodes {
        node.shutdown().await?;
    }
    println!(
        "{count} documents on three nodes, {} times the cache of each",
        count * TEXT_BYTES as u64 / CACHE_BYTES as u64
    );
    Ok(())
}

/// The last entry that a node has applied.
fn at(node: &Node<Machine>) -> String {
    node.status().get().applied.map_or_else(|| "none".to_owned(), |applied| applied.to_string())
}
