//! Writers at work while the members change, and that nothing of theirs is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate::node::status::Status;
use quorate_tests::cluster::Cluster;
use quorate_tests::load::write;
use quorate_tests::rig::Rig;

const WRITERS: u64 = 4;

pub(crate) type Outcomes = Vec<(Vec<u64>, Vec<u64>)>;

/// Writers that write through `nodes` until they are told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<(Vec<u64>, Vec<u64>)>>,
}

impl Load {
    pub(crate) fn on<R: Rig>(cluster: &Cluster<R>, nodes: &[u64]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = || nodes.iter().map(|node| cluster.client(*node)).collect();
        let writer = |writer| tokio::spawn(write(writer, clients(), stop.clone()));
        let writers = (0..WRITERS).map(writer).collect();
        Self { stop, writers }
    }

    pub(crate) async fn stop(self) -> Outcomes {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcomes = Vec::new();
        for writer in self.writers {
            outcomes.push(writer.await.expect("the writer saw no write twice"));
        }
        outcomes
    }
}

fn applied(status: &Status) -> u64 {
    status.applied.map_or(0, |applied| applied.index.get())
}

/// Waits until `node` has applied a number of entries more than now.
pub(crate) async fn more<R: Rig>(cluster: &Cluster<R>, node: u64) {
    let now = applied(&cluster.node(node).status().get());
    cluster.until(node, "serves writes", |status| applied(status) >= now + 20).await;
}

pub(crate) async fn nothing_is_lost<R: Rig>(cluster: &Cluster<R>, node: u64, outcomes: &Outcomes) {
    let ledger = cluster.client(node).all().await.expect("a healthy cluster");
    for (writer, (acknowledged, unknown)) in (0..).zip(outcomes) {
        assert!(!acknowledged.is_empty(), "writer {writer} got nothing through");
        for serial in acknowledged {
            assert_eq!(ledger.times(writer, *serial), 1, "n{node}, record {serial} of {writer}");
        }
        for serial in unknown {
            assert!(ledger.times(writer, *serial) <= 1, "n{node}, record {serial} of {writer}");
        }
    }
}
