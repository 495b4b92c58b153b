//! A storage plugin from scratch, and a cluster on it: one append-only file on `std::fs`, written by
//! a thread.
//!
//! ```text
//! <dir>/LOCK        held while the directory is open
//! <dir>/IDENTITY    whom it belongs to, written once: one frame
//! <dir>/LOG         frames: header | writes of any groups, in the order in which they were queued
//! <dir>/g7.snap     the snapshot of group 7: bytes | a frame that says what it covers
//! ```
//!
//! All that is queued while the disk is busy becomes one frame and one flush: batching is what makes
//! a disk fast. Opening the directory replays the log. A crash can tear the last frame, of which
//! nobody was told, and no other: a torn end is cut off, damage before it is an error. (Damage in the
//! last frame looks like a torn one, and is cut off too.)
//!
//! To read it: `storage` is the trait's implementation, `log` the file and its thread, `frame` its
//! bytes, `group` what it tells, `snapshot` and `files` the rest. To stay short it keeps every entry
//! in memory too, never gives space back (what is purged stays in the file), and reads and writes
//! snapshots on the caller's thread. `tests` runs the conformance kit on it, with one line.
//!
//! `cargo run --release --example custom_storage`

mod files;
mod frame;
mod group;
mod log;
mod snapshot;
mod storage;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::path::Path;

use futures::future::try_join_all;
use quorate::node::config::Config;
use quorate::prelude::*;
use quorate::transport::{MemoryNetwork, Transport};
use quorate::types::Member;
use quorate::{Cluster, Node};

use crate::storage::FileStorage;

/// Lines that were written down.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    /// Writes a line down; says how many there are now.
    command(1, note(line: String) -> u64),
    /// Every line.
    query(1, lines() -> Vec<String>),
)]
struct Journal {
    lines: Vec<String>,
}

impl Journal {
    fn note(&mut self, line: String) -> u64 {
        self.lines.push(line);
        self.lines.len() as u64
    }

    fn lines(&self) -> Vec<String> {
        self.lines.clone()
    }
}

/// Starts three nodes, each with the storage in a directory of its own.
async fn start(dir: &Path) -> Result<Vec<Node<Journal>>, Box<dyn Error>> {
    let network = MemoryNetwork::new();
    let transports = ["n1", "n2", "n3"].map(|name| network.endpoint(name));
    let members: Vec<Member> = (1..)
        .zip(&transports)
        .map(|(id, transport)| Member::new(id, transport.identity(), transport.address()))
        .collect();
    let mut starting = Vec::new();
    for transport in transports {
        let node = Node::builder(Journal::default())
            .storage(FileStorage::open(dir.join(transport.address()))?)
            .transport(transport)
            .cluster(Cluster::bootstrap(members.clone()))
            // Patient, because all three share a machine that may be busy with something else.
            .config(Config::development());
        starting.push(node.start());
    }
    Ok(try_join_all(starting).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    for times in 1..=3 {
        let nodes = start(dir.path()).await?;
        println!("start {times}, with the files in {}", dir.path().display());
        for node in &nodes {
            let client = node.client();
            let count = client.note(format!("start {times}, node {}", node.id().get())).await?;
            println!("  n{} has written line {count}", node.id().get());
        }
        for node in &nodes {
            node.shutdown().await?;
        }
    }
    let nodes = start(dir.path()).await?;
    let lines = nodes[0].client().lines().await?;
    for node in &nodes {
        node.shutdown().await?;
    }
    println!("read back after three restarts: {} lines, the last is \"{}\"", lines.len(), lines[8]);
    Ok(())
}
