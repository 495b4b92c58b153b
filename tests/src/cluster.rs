//! A cluster that a scenario can read aloud.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use quorate::error::StartError;
use quorate::node::Members;
use quorate::node::config::Config;
use quorate::node::status::{Phase, Role, Status};
use quorate::types::{LogIndex, Member, NodeId};
use quorate::{Cluster as Membership, Node, Ticket};

use crate::cut::{Cut, Cuts};
use crate::ledger::{Ledger, LedgerClient, LedgerCommand};
use crate::rig::Rig;

/// How long anything is waited for before it counts as never.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Waits for `future`, and names what was waited for when it never comes.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let output = tokio::time::timeout(LIMIT, future).await.ok();
    output.unwrap_or_else(|| panic!("{what}: not within {LIMIT:?}"))
}

/// Nodes 1 to n of a cluster of [`Ledger`]s, and spare ones that may join it.
pub struct Cluster<R: Rig> {
    /// What the nodes are built from.
    pub rig: R,
    /// The configuration of every node.
    pub config: Config,
    nodes: BTreeMap<u64, Node<Ledger>>,
    cuts: BTreeMap<u64, Cuts>,
    /// How many nodes the cluster is born with.
    first: u64,
    /// What the others join with.
    tickets: BTreeMap<u64, Ticket>,
}

impl<R: Rig> Cluster<R> {
    /// A cluster of which no node runs yet.
    pub fn new(nodes: u64) -> Self {
        Self::with_spares(nodes, 0)
    }

    /// A cluster of which no node runs yet, and so many nodes more that are none of its first members.
    pub fn with_spares(first: u64, spares: u64) -> Self {
        let nodes = first + spares;
        Self {
            rig: R::new(nodes),
            config: Config::testing(),
            nodes: BTreeMap::new(),
            cuts: (1..=nodes).map(|node| (node, Cuts::default())).collect(),
            first,
            tickets: BTreeMap::new(),
        }
    }

    /// A cluster of which every node runs and knows a leader.
    pub async fn started(nodes: u64) -> Self {
        let mut cluster = Self::new(nodes);
        cluster.start_all().await;
        cluster.leader().await;
        cluster
    }

    /// Starts every node that does not run, all at once.
    pub async fn start_all(&mut self) {
        let this = &*self;
        let belongs = |node: &u64| *node <= this.first || this.tickets.contains_key(node);
        let missing = this.all().into_iter().filter(|node| belongs(node) && !this.nodes.contains_key(node));
        let starting = missing.map(|node| async move { (node, this.build(node).await) });
        let started = futures::future::join_all(starting).await;
        for (node, started) in started {
            self.nodes.insert(node, started.expect("the node starts"));
        }
    }

    /// Starts a node.
    pub async fn start(&mut self, node: u64) {
        self.try_start(node).await.expect("the node starts");
    }

    /// Starts a node, or says why it does not start.
    pub async fn try_start(&mut self, node: u64) -> Result<(), StartError> {
        let started = self.build(node).await?;
        self.nodes.insert(node, started);
        Ok(())
    }

    /// What a node calls its cluster: the bootstrap list, or the ticket that it was given.
    pub fn description(&self, node: u64) -> Membership {
        match self.tickets.get(&node) {
            Some(ticket) => Membership::join(ticket.clone()),
            None => Membership::bootstrap(self.rig.members().into_iter().take(self.first as usize)),
        }
    }

    /// The key and address of a node.
    pub fn member(&self, node: u64) -> Member {
        let member = self.rig.members().into_iter().find(|member| member.node_id.get() == node);
        member.expect("the rig has it")
    }

    /// The members, asked for and changed through a node that runs.
    pub fn members(&self, node: u64) -> Members {
        self.nodes[&node].members().with_timeout(LIMIT)
    }

    /// Adds a spare node as a learner, and has its ticket made.
    pub async fn invite(&mut self, via: u64, node: u64) {
        let members = self.members(via);
        members.add_learner(self.member(node)).await.expect("a healthy cluster");
        self.ticket(via, node).await;
    }

    /// Has the ticket made that a node joins with from now on.
    pub async fn ticket(&mut self, via: u64, node: u64) -> Ticket {
        let ticket = self.members(via).ticket(node).await.expect("it was added");
        self.tickets.insert(node, ticket.clone());
        ticket
    }

    /// Adds a spare node as a learner and starts it.
    pub async fn join(&mut self, via: u64, node: u64) {
        self.invite(via, node).await;
        self.start(node).await;
    }

    /// The voters and the learners, as a leader says.
    pub async fn voters_and_learners(&self, via: u64) -> (Vec<u64>, Vec<u64>) {
        use quorate::types::MembershipKind::Voter;
        let list = self.members(via).list().await.expect("a healthy cluster");
        let (voters, learners): (Vec<_>, Vec<_>) = list.into_iter().partition(|info| info.kind == Voter);
        let ids = |list: Vec<quorate::node::MemberInfo>| {
            list.into_iter().map(|info| info.member.node_id.get()).collect()
        };
        (ids(voters), ids(learners))
    }

    async fn build(&self, node: u64) -> Result<Node<Ledger>, StartError> {
        let storage = self.rig.open(node)?;
        let transport = Cut { inner: self.rig.transport(node).await, cuts: self.cuts[&node].clone() };
        Node::builder(Ledger::default())
            .storage(storage)
            .transport(transport)
            .cluster(self.description(node))
            .config(self.config.clone())
            .start()
            .await
    }

    /// Every node there could be.
    pub fn all(&self) -> Vec<u64> {
        self.cuts.keys().copied().collect()
    }

    /// Every node that runs.
    pub fn running(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// A node that runs.
    pub fn node(&self, node: u64) -> &Node<Ledger> {
        &self.nodes[&node]
    }

    /// A client at a node that runs.
    pub fn client(&self, node: u64) -> LedgerClient {
        self.nodes[&node].client().with_timeout(LIMIT)
    }

    /// Stops a node at once, without a word to anybody, and takes what it had not flushed.
    pub async fn stop_hard(&mut self, node: u64) {
        let stopping = self.nodes.remove(&node).expect("it runs");
        let mut status = stopping.status();
        drop(stopping);
        within("the node is down", status.until(|status| status.stopped().is_some())).await;
        self.rig.cut_power(node);
    }

    /// Stops a node in good order.
    pub async fn shut_down(&mut self, node: u64) {
        let stopping = self.nodes.remove(&node).expect("it runs");
        within("the node shuts down", stopping.shutdown()).await.expect("in good order");
    }

    /// Writes through `node`, and waits until its status shows as much: the index.
    pub async fn write_shown(&self, node: u64, command: LedgerCommand) -> LogIndex {
        let written = self.node(node).plain_client().write(&command).await.expect("a majority");
        let index = written.position.index;
        self.until(node, "shows what was written", |status| status.last_log >= Some(index)).await;
        index
    }

    /// Waits until `wanted` holds at a node.
    pub async fn until(&self, node: u64, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut status = self.nodes[&node].status();
        let reached = tokio::time::timeout(LIMIT, status.until(&wanted)).await;
        match reached {
            Ok(Some(reached)) => reached,
            _ => panic!("n{node} {what}: not within {LIMIT:?}; it is at {:?}", status.get()),
        }
    }

    /// Waits until one of the running nodes leads and all of them know it.
    pub async fn leader(&self) -> u64 {
        self.leader_of(&self.running()).await
    }

    /// Waits until one of `nodes` leads and all of them know it.
    pub async fn leader_of(&self, nodes: &[u64]) -> u64 {
        let agreed = async {
            loop {
                for node in nodes {
                    let status = self.nodes[node].status().get();
                    let agrees = |other: &u64| {
                        let other = self.nodes[other].status().get();
                        other.leader == Some(NodeId(*node)) && other.term == status.term
                    };
                    if status.role == Role::Leader && nodes.iter().all(agrees) {
                        return *node;
                    }
                }
                let mut changes: Vec<_> = nodes.iter().map(|node| self.nodes[node].status()).collect();
                let change = changes.iter_mut().map(|status| Box::pin(status.changed()));
                // A change between the look and the wait is the next look's: at most a moment later.
                let _ = tokio::time::timeout(Duration::from_millis(20), futures::future::select_all(change))
                    .await;
            }
        };
        within("the nodes agree on a leader", agreed).await
    }

    /// Cuts a node off from all others, both ways.
    pub fn isolate(&self, node: u64) {
        for member in self.rig.members() {
            if member.node_id.get() == node {
                for (other, cuts) in &self.cuts {
                    if *other != node {
                        cuts.cut(member.identity.clone());
                    }
                }
            } else {
                self.cuts[&node].cut(member.identity);
            }
        }
    }

    /// Cuts two nodes off from each other, both ways.
    pub fn cut(&self, one: u64, other: u64) {
        self.cuts[&one].cut(self.member(other).identity);
        self.cuts[&other].cut(self.member(one).identity);
    }

    /// Flips a byte in each of the next `frames` frames with entries from every node to every other.
    pub fn garble(&self, frames: u32) {
        for cuts in self.cuts.values() {
            self.rig.members().into_iter().for_each(|from| cuts.garble(from.identity, frames));
        }
    }

    /// Whether one node has received all the frames from another that were to be garbled.
    pub fn has_garbled(&self) -> bool {
        let members = self.rig.members();
        self.cuts.values().any(|cuts| members.iter().any(|from| cuts.to_garble(&from.identity) == 0))
    }

    /// Undoes every cut.
    pub fn heal(&self) {
        self.cuts.values().for_each(Cuts::heal);
    }

    /// Waits until every running node has applied everything that was acknowledged anywhere. What a
    /// status says is committed may be older than that.
    pub async fn settle(&self) {
        for node in self.nodes.keys() {
            let read = self.client(*node).len().await;
            assert!(read.is_ok(), "n{node} applies what is committed: {read:?}");
        }
    }

    /// Whether a node takes part.
    pub fn takes_part(&self, node: u64) -> bool {
        self.nodes[&node].status().get().phase == Phase::Running
    }
}
