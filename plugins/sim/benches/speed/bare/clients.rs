//! Clients as ours are, that know nothing of openraft but where the leader is said to be.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::join_all;
use openraft::ReadPolicy;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use quorate::runtime::AsyncRuntime;
use quorate_sim::rng::Rng;
use quorate_sim::runtime::{SimRuntime, time};
use quorate_sim::workload::{Call, RegistersCommand, RegistersQuery, Workload};

use super::cluster::{Cluster, Node, sleep};
use super::host::Command;
use crate::mix::WORKLOAD;

/// How long a client waits when nobody knows a leader.
const RETRY: Duration = Duration::from_millis(50);

/// How much longer a client waits for a process that is gone.
const GONE: Duration = Duration::from_millis(300);

/// What a client does.
#[derive(Clone)]
pub(super) enum Asked {
    Write(Command),
    Read(u64),
}

impl From<Call<RegistersCommand, RegistersQuery>> for Asked {
    fn from(call: Call<RegistersCommand, RegistersQuery>) -> Self {
        match call {
            Call::Write(command) => Self::Write(command.into()),
            Call::Read(RegistersQuery::Get { key }) => Self::Read(key),
        }
    }
}

/// What a node says.
enum Told {
    Done,
    /// Nothing happened: somebody else leads, or nobody.
    Leader(Option<u64>),
    Failed,
}

impl Cluster {
    /// Runs every client until the faults end.
    pub(super) async fn clients(self: &Arc<Self>) {
        let clients = (0..self.setup.clients).map(|client| {
            let cluster = self.clone();
            madsim::task::spawn(async move {
                let mut rng = Rng::stream(cluster.setup.seed, &format!("client {client}"));
                while time() < cluster.setup.length {
                    sleep(rng.millis(2..60)).await;
                    let node = rng.within(1..cluster.setup.nodes + 1);
                    let call = WORKLOAD.call(&mut rng, cluster.tick());
                    let patience = rng.millis(200..2_500);
                    cluster.call(node, call.into(), patience).await;
                }
            })
        });
        for ended in join_all(clients.collect::<Vec<_>>()).await {
            ended.expect("clients are never killed");
        }
    }

    /// Whether a client at a node reaches another: where the node does.
    fn reaches(&self, node: u64, other: u64) -> bool {
        !self.wire.is_cut(node, other) && !self.wire.is_cut(other, node)
    }

    /// Another number each time.
    pub(super) fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::Relaxed)
    }

    /// Calls a node, and then whoever it says leads, and counts how it went. A node that is down is
    /// not called. Whether it was done.
    pub(super) async fn call(&self, node: u64, asked: Asked, patience: Duration) -> bool {
        let Some(first) = self.up(node) else { return false };
        let by = time() + patience;
        let mut at = first.clone();
        let told = loop {
            let left = by.saturating_sub(time());
            if left.is_zero() {
                break Told::Leader(None);
            }
            let told = ask(&at, asked.clone(), left).await;
            let Told::Leader(leader) = told else { break told };
            let reached = leader.filter(|leader| self.reaches(node, *leader));
            match reached.and_then(|leader| self.up(leader)) {
                Some(leader) if leader.process.id() != at.process.id() => at = leader,
                _ => {
                    sleep(RETRY).await;
                    at = first.clone();
                }
            }
        };
        let mut done = self.done();
        let writes = matches!(asked, Asked::Write(_));
        match told {
            Told::Done if writes => done.acknowledged += 1,
            Told::Done => done.reads += 1,
            Told::Leader(_) | Told::Failed => done.unanswered += 1,
        }
        matches!(told, Told::Done)
    }
}

/// Asks inside the process of a node, so that the call dies with it.
async fn ask(node: &Node, asked: Asked, patience: Duration) -> Told {
    let (answer, answered) = oneshot::channel();
    let called = node.clone();
    node.process.spawn(async move {
        let _ = answer.send(perform(&called, asked).await);
    });
    let gives_up = time() + patience + GONE;
    match SimRuntime::timeout(patience, answered).await {
        Ok(Ok(told)) => return told,
        // A process that is gone is not known to be: the client waits on.
        Ok(Err(_)) => sleep(gives_up.saturating_sub(time())).await,
        Err(_) => {}
    }
    Told::Failed
}

async fn perform(node: &Node, asked: Asked) -> Told {
    match asked {
        Asked::Write(command) => match node.raft.client_write(command).await {
            Ok(_) => Told::Done,
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => Told::Leader(to.leader_id),
            Err(_) => Told::Failed,
        },
        Asked::Read(key) => match node.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => match linearizer.await_ready(&node.raft).await {
                Ok(_) => {
                    let _value = node.machine.look(|state| state.get(key));
                    Told::Done
                }
                Err(_) => Told::Failed,
            },
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                Told::Leader(to.leader_id)
            }
            Err(_) => Told::Failed,
        },
    }
}
