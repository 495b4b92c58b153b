//! The program of the README: a counter on three nodes, with redb and Iroh, that survives the loss
//! of its leader and of all its processes' memory.
//!
//! `cargo run --release --example counter`

use std::error::Error;
use std::path::Path;

use quorate::node::config::Config;
use quorate::prelude::*;
use quorate::types::Member;
use quorate::{Cluster, Node};
use quorate_iroh::{IrohTransport, NodeKey};
use quorate_redb::RedbStorage;

/// A counter.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize, RaftStateMachine)]
#[raft(
    /// Adds to the counter; says what it is now.
    command(1, add(n: u64) -> u64),
    /// What the counter is.
    query(1, total() -> u64),
)]
pub struct Counter {
    total: u64,
}

impl Counter {
    fn add(&mut self, n: u64) -> u64 {
        self.total += n;
        self.total
    }

    fn total(&self) -> u64 {
        self.total
    }
}

/// Starts node `id` of the cluster, whose files are in `dir`: the same for the first start and every
/// other.
async fn start(dir: &Path, id: usize, members: &[Member]) -> Result<Node<Counter>, Box<dyn Error>> {
    let dir = dir.join(format!("n{id}"));
    let key = NodeKey::load_or_create(dir.join("key"))?;
    let node = Node::builder(Counter::default())
        .storage(RedbStorage::open(dir.join("data"))?)
        .transport(IrohTransport::bind(key, &members[id - 1].address).await?)
        .cluster(Cluster::bootstrap(members.to_vec()))
        // Patient, because all three share a machine that may be busy with something else.
        .config(Config::development())
        .start()
        .await?;
    Ok(node)
}

/// Starts all three nodes at once.
async fn start_all(dir: &Path, members: &[Member]) -> Result<Vec<Node<Counter>>, Box<dyn Error>> {
    let (one, two, three) =
        tokio::try_join!(start(dir, 1, members), start(dir, 2, members), start(dir, 3, members))?;
    Ok(vec![one, two, three])
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let members = members(dir.path())?;
    println!("three nodes start, their files in {}", dir.path().display());
    let mut nodes = start_all(dir.path(), &members).await?;

    for node in &nodes {
        println!("  n{}: add 1 -> {}", node.id().get(), node.client().add(1).await?);
    }
    let leader =
        nodes[0].status().until(|status| status.leader.is_some()).await.and_then(|status| status.leader);
    let leader = nodes.iter().position(|node| Some(node.id()) == leader).ok_or("nobody leads")?;
    println!("the leader, n{}, stops", nodes[leader].id().get());
    nodes.remove(leader).shutdown().await?;

    for node in &nodes {
        println!("  n{}: add 1 -> {}", node.id().get(), node.client().add(1).await?);
    }
    println!("the others stop as well, and all three start again");
    for node in nodes {
        node.shutdown().await?;
    }
    let nodes = start_all(dir.path(), &members).await?;
    for node in &nodes {
        println!("  n{}: total is {}", node.id().get(), node.client().total().await?);
    }
    let total = nodes[0].client().total().await?;
    for node in nodes {
        node.shutdown().await?;
    }
    println!("counted to {total}, with one leader lost and everything restarted");
    Ok(())
}

/// Gives each node a key and a free port. In production the keys are made once, on each host, and
/// the list is part of its configuration.
fn members(dir: &Path) -> Result<Vec<Member>, Box<dyn Error>> {
    let mut members = Vec::new();
    let mut ports = Vec::new();
    for id in 1..=3_u64 {
        let dir = dir.join(format!("n{id}"));
        std::fs::create_dir_all(&dir)?;
        let key = NodeKey::load_or_create(dir.join("key"))?;
        let port = std::net::UdpSocket::bind("127.0.0.1:0")?;
        members.push(Member::new(id, key.public(), port.local_addr()?.to_string()));
        // All are held until all are known, so that they differ.
        ports.push(port);
    }
    Ok(members)
}
