//! A node with its storage and transport, served over HTTP until it is told to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use quorate::client::Consistency;
use quorate::error::{NotApplied, ReadError, WriteError};
use quorate::node::config::{Config, ConfigBuilder};
use quorate::node::status::{Phase, Role};
use quorate::node::{Cluster, Node, status};
use quorate::types::{LogIndex, Member, MembershipKind, NodeId};
use quorate::watch::Watcher;
use quorate_iroh::IrohTransport;
use quorate_redb::RedbStorage;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Failure;
use super::http::{Backend, MemberStatus, Server, Status};
use super::identity::Identity;
use super::machine::{Change, Conflict, Kv, KvClient};

/// Serves the node in `data_dir` until SIGTERM or SIGINT, or until the node itself stops.
///
/// In the end, in this order: HTTP takes no new requests and answers those in progress, at most for the drain
/// time; then the node shuts down in good order.
pub(crate) async fn serve(data_dir: &Path, http: SocketAddr, bootstrap: Vec<Member>) -> Result<(), Failure> {
    // From the first moment on, or a signal during the start would kill.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut told_to_stop = pin!(async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    });

    let identity = Identity::load(data_dir)?;
    let config = ConfigBuilder::from(Config::production()).node_id(identity.id).data_dir(data_dir).build()?;
    let drain = Duration::from_millis(config.timeouts.drain_ms);
    let stale = 2 * Duration::from_millis(config.election.timeout_max_ms);
    let listener =
        TcpListener::bind(http).await.map_err(|error| format!("cannot serve HTTP on {http}: {error}"))?;
    // HTTP before the node, or a call during a long start would wait for longer than its deadline.
    let (started, live) = watch::channel(None);
    let (stop, stopping) = oneshot::channel::<()>();
    let server = Server { backend: Face { id: identity.id, live }, stale };
    let address = listener.local_addr()?;
    let mut http = tokio::spawn(server.run(listener, async { stopping.await.unwrap_or_default() }));
    let node = tokio::select! {
        node = start(data_dir, identity, bootstrap, config) => node?,
        () = &mut told_to_stop => return Ok(()),
    };
    started.send_replace(Some(Live { client: node.client(), status: node.status() }));
    println!("node {} serves http://{address}", node.id().get());

    let mut status = node.status();
    let failure: Option<Failure> = tokio::select! {
        () = &mut told_to_stop => None,
        status = status.until(|status| status.stopped().is_some()) => {
            let reason = status.as_ref().and_then(|status| status.stopped()).unwrap_or("it is gone");
            Some(format!("the node has stopped: {reason}").into())
        }
        ended = &mut http => Some(format!("HTTP has ended: {ended:?}").into()),
    };

    match &failure {
        None => tracing::info!("told to stop"),
        Some(failure) => tracing::error!(%failure, "has to stop"),
    }
    drop(stop);
    if !http.is_finished() && timeout(drain, &mut http).await.is_err() {
        http.abort();
    }
    node.shutdown().await?;
    failure.map_or(Ok(()), Err)
}

/// Starts the node: the same for the first start and every other.
async fn start(
    data_dir: &Path,
    identity: Identity,
    bootstrap: Vec<Member>,
    config: Config,
) -> Result<Node<Kv>, Failure> {
    let cluster = if bootstrap.is_empty() { Cluster::recorded() } else { Cluster::bootstrap(bootstrap) };
    let node = Node::builder(Kv::default())
        .storage(RedbStorage::open(data_dir.join("store"))?)
        .transport(IrohTransport::builder(identity.key).listen(identity.listen).bind().await?)
        .cluster(cluster)
        .config(config)
        .start()
        .await?;
    Ok(node)
}

/// A node that has started.
#[derive(Clone, Debug)]
struct Live {
    client: KvClient,
    status: Watcher<status::Status>,
}

/// A node as HTTP sees it: first it starts, then it is there.
#[derive(Clone, Debug)]
struct Face {
    id: NodeId,
    live: watch::Receiver<Option<Live>>,
}

impl Face {
    /// A client with what is left of `within` once the node is there; `None` when nothing is.
    async fn client(&self, within: Duration) -> Option<KvClient> {
        let deadline = Instant::now() + within;
        let mut live = self.live.clone();
        let live = timeout_at(deadline, live.wait_for(Option::is_some)).await.ok()?.ok()?.clone()?;
        let left = deadline.saturating_duration_since(Instant::now());
        Some(live.client.with_timeout(left))
    }

    async fn writer(&self, within: Duration) -> Result<KvClient, WriteError> {
        self.client(within).await.ok_or(WriteError::NotApplied(NotApplied::NotReady))
    }
}

impl Backend for Face {
    async fn put(&self, key: String, value: String, timeout: Duration) -> Result<Change, WriteError> {
        self.writer(timeout).await?.put(key, value).await
    }

    async fn delete(&self, key: String, timeout: Duration) -> Result<Change, WriteError> {
        self.writer(timeout).await?.delete(key).await
    }

    async fn cas(
        &self,
        key: String,
        expect: Option<String>,
        value: String,
        timeout: Duration,
    ) -> Result<Result<Change, Conflict>, WriteError> {
        self.writer(timeout).await?.cas(key, expect, value).await
    }

    async fn get(
        &self,
        key: String,
        consistency: Consistency,
        timeout: Duration,
    ) -> Result<Option<String>, ReadError> {
        let client = self.client(timeout).await.ok_or(ReadError::NotReady)?;
        client.with_consistency(consistency).get(key).await
    }

    fn status(&self) -> Status {
        let Some(status) = self.live.borrow().as_ref().map(|live| live.status.get()) else {
            return Status::starting(self.id.get());
        };
        let membership = &status.membership;
        let member = |member: &Member| MemberStatus {
            id: member.node_id.get(),
            key: member.identity.to_string(),
            address: member.address.clone(),
            voter: membership.kind(member.node_id) == Some(MembershipKind::Voter),
        };
        let (phase, waiting_for, reason) = match &status.phase {
            Phase::Starting => ("starting", None, None),
            Phase::Joining { waiting_for, .. } => ("joining", Some(waiting_for), None),
            Phase::Removed => ("removed", None, None),
            Phase::ShuttingDown => ("shutting_down", None, None),
            Phase::Stopped { reason } => ("stopped", None, Some(reason)),
            _ => ("running", None, None),
        };
        Status {
            id: status.node_id.get(),
            phase,
            waiting_for: waiting_for.map(|nodes| nodes.iter().map(|node| node.get()).collect()),
            reason: reason.cloned(),
            role: role(status.role),
            term: status.term.get(),
            leader: status.leader.map(NodeId::get),
            connected: status.connected,
            last_log: status.last_log.map(LogIndex::get),
            committed: status.committed.map(|log_id| log_id.index.get()),
            applied: status.applied.map(|log_id| log_id.index.get()),
            members: membership.members.values().map(member).collect(),
        }
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
        _ => "follower",
    }
}
