//! A group of its own for tests of this folder, with peers that the test plays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::entry::RaftEntry;
use openraft::raft::VoteRequest;

use super::runtime::TokioRuntime;
use super::suite::Idle;
use super::types::{Entry, LeaderId, TypeConfig, Vote, from_log_id, from_raw_membership};
use super::{Group, GroupOptions, write_birth};
use crate::format::hello::GroupHello;
use crate::format::membership::RawMembership;
use crate::host::{Host, HostParts, Roster};
use crate::node::config::Config;
use crate::state_machine::erased::Typed;
use crate::storage::{Flushed, Identity, MemoryStorage, Storage, Write};
use crate::transport::{Duplex, Lane, MemoryNetwork, MemoryTransport, Transport};
use crate::types::{BootId, ClusterId, DiskId, GroupId, LogId, LogTime, Member, NodeId, PeerId};

pub(crate) const CLUSTER: ClusterId = ClusterId([1; 32]);

/// Node 1, and endpoints of the others.
pub(super) struct Rig {
    pub(super) group: Arc<Group<TokioRuntime>>,
    pub(super) host: Arc<Host<TokioRuntime>>,
    pub(super) network: MemoryNetwork,
    /// By node id, without node 1.
    pub(super) peers: BTreeMap<u64, MemoryTransport>,
    pub(super) storage: MemoryStorage,
}

pub(crate) fn member(node: u64) -> Member {
    let name = format!("n{node}");
    let mut member = Member::new(node, PeerId::new(name.clone()).expect("short"), name);
    member.disk_id = Some(DiskId([node as u8; 16]));
    member
}

/// Starts node 1 of a cluster of so many.
pub(super) async fn start(nodes: u64) -> Rig {
    start_over(nodes, |storage| Arc::new(storage)).await
}

/// The same, with what `over` puts over its storage.
pub(super) async fn start_over(
    nodes: u64,
    over: impl FnOnce(MemoryStorage) -> Arc<dyn Storage> + Send,
) -> Rig {
    let network = MemoryNetwork::new();
    let members: BTreeMap<NodeId, Member> = (1..=nodes).map(|node| (NodeId(node), member(node))).collect();
    let storage = MemoryStorage::new();
    write_birth(&storage, GroupId::MAIN, &members).await.expect("in memory");
    let host = Host::<TokioRuntime>::new(HostParts {
        transport: Arc::new(network.endpoint("n1")),
        identity: Identity { cluster_id: CLUSTER, node_id: NodeId(1), disk_id: DiskId([1; 16]) },
        boot_id: BootId(1),
        machines: vec![GroupHello { group: GroupId::MAIN, machine: "idle".into(), version: 1 }],
        roster: Roster::unborn(members.clone()),
        connect_timeout: Duration::from_millis(500),
        silence: Duration::from_millis(250),
        queue_bytes: 1 << 20,
    });
    host.learn(&members, Some(LogId::new(0, 0)));
    let mut config = Config::testing();
    // It stays a follower while the test plays its peers.
    let election = &mut config.election;
    (election.heartbeat_ms, election.timeout_min_ms, election.timeout_max_ms) = (20_000, 200_000, 300_000);
    let options = GroupOptions {
        group: GroupId::MAIN,
        cluster_id: CLUSTER,
        node_id: NodeId(1),
        config: Arc::new(config),
        storage: over(storage.clone()),
        machine: Arc::new(Typed::new(Idle)),
        monotonic: Box::new(|| Duration::ZERO),
        elects: true,
    };
    let found = storage.open(GroupId::MAIN).await.expect("in memory");
    let group = Group::start(&host, &found, options).await.expect("a good log");
    let peers = (2..=nodes).map(|node| (node, network.endpoint(&format!("n{node}")))).collect();
    Rig { group, host, network, peers, storage }
}

/// A stream of which node 1 has one end, and the test the other; and what it lives by.
pub(super) async fn stream(rig: &Rig) -> (Duplex, Duplex, [MemoryTransport; 2]) {
    let (a, b) = (rig.network.endpoint("a"), rig.network.endpoint("b"));
    let mut to = member(9);
    (to.identity, to.address) = (b.identity(), b.address());
    let ours = a.connect(&to, Lane::Snapshot).await.expect("open");
    let theirs = b.accept().await.expect("open").stream;
    (ours, theirs, [a, b])
}

/// The vote of `node` for itself in a term above any other.
pub(super) fn vote(node: u64, committed: bool) -> Vote {
    Vote { leader_id: LeaderId { term: 1_000, voted_for: node }, committed }
}

/// A request of `node` for a vote, with a log as long as that of the rig's own.
pub(super) fn vote_request(node: u64) -> VoteRequest<TypeConfig<TokioRuntime>> {
    VoteRequest::new(vote(node, false), Some(from_log_id(LogId::new(0, 0))))
}

/// Appends a membership to a log that ends before `at`, as a leader of that term would have: of
/// `members`, of which `voters` vote.
pub(crate) async fn write_membership(storage: &MemoryStorage, at: LogId, voters: &[u64], members: &[u64]) {
    let raw = RawMembership {
        voters: vec![voters.iter().copied().map(NodeId).collect()],
        members: members.iter().map(|node| (NodeId(*node), Some(member(*node)))).collect(),
    };
    let membership = from_raw_membership(&raw).expect("every voter is a member");
    let mut entry: Entry = RaftEntry::new_membership(from_log_id(at), membership);
    entry.seal(GroupId::MAIN, || LogTime::ZERO);
    let (flushed, receipt) = Flushed::pair();
    storage.write(GroupId::MAIN, Write::Append { first: at.index, entries: vec![entry.encoded] }, flushed);
    receipt.await.expect("in memory");
}
