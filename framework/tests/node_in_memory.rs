//! Nodes in memory, with a machine written by hand.

#![allow(clippy::disallowed_methods, reason = "tests run on tokio")]

use std::io::{Read, Write};
use std::time::Duration;

use quorate::client::Consistency;
use quorate::node::config::Config;
use quorate::state_machine::{
    ApplyContext, ArgumentReader, ArgumentWriter, DecodeError, EncodeError, QueryContext, RestoreError,
    StateMachine, Wire,
};
use quorate::storage::MemoryStorage;
use quorate::transport::{MemoryNetwork, Transport};
use quorate::types::Member;
use quorate::{Cluster, Node};

#[derive(Default)]
struct Counter(u64);
struct Add(u64);
struct Get;
#[derive(Debug, PartialEq)]
struct Total(u64);

impl Wire for Add {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        ArgumentWriter::new(out, 1, "add").argument("n", &self.0)
    }
    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ArgumentReader::new(input)?.item("add");
        let n = reader.argument("n")?;
        reader.finish()?;
        Ok(Self(n))
    }
    fn label(&self) -> &'static str {
        "add"
    }
}

impl Wire for Get {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        ArgumentWriter::new(out, 1, "get");
        Ok(())
    }
    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        ArgumentReader::new(input)?.finish().map(|()| Self)
    }
    fn label(&self) -> &'static str {
        "get"
    }
}

impl Wire for Total {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        ArgumentWriter::new(out, 1, "total").argument("n", &self.0)
    }
    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        Add::decode(input).map(|add| Self(add.0))
    }
    fn label(&self) -> &'static str {
        "total"
    }
}

impl StateMachine for Counter {
    const NAME: &'static str = "counter";
    const VERSION: u32 = 1;
    type Command = Add;
    type Response = Total;
    type Query = Get;
    type Answer = Total;
    type Snapshot = u64;

    fn apply(&mut self, _: &mut ApplyContext, command: Add) -> Total {
        self.0 += command.0;
        Total(self.0)
    }
    fn query(&self, _: &QueryContext, _: Get) -> Total {
        Total(self.0)
    }
    fn snapshot(&self) -> u64 {
        self.0
    }
    fn write(snapshot: u64, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&snapshot.to_le_bytes())
    }
    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_stops_and_the_others_go_on() {
    let network = MemoryNetwork::new();
    let endpoints: Vec<_> = (1..=3).map(|n| network.endpoint(&format!("n{n}"))).collect();
    let members: Vec<Member> = (1_u64..)
        .zip(&endpoints)
        .map(|(node, transport)| Member::new(node, transport.identity(), transport.address()))
        .collect();
    let mut nodes = Vec::new();
    for transport in endpoints {
        let node = Node::builder(Counter::default())
            .storage(MemoryStorage::new())
            .transport(transport)
            .cluster(Cluster::bootstrap(members.clone()))
            .config(Config::testing())
            .start()
            .await
            .expect("a fresh node starts");
        nodes.push(node);
    }
    for (before, node) in (0..).zip(&nodes) {
        let applied = node.plain_client().write(&Add(1)).await.expect("a healthy cluster");
        assert_eq!(applied.response, Total(before + 1));
    }
    let leader = nodes[0].status().get().leader.expect("there is one");
    let at = usize::try_from(leader.get()).expect("small") - 1;
    nodes.remove(at).shutdown().await.expect("in good order");
    for node in &nodes {
        node.plain_client().write(&Add(1)).await.expect("a majority");
        for consistency in [Consistency::Linearizable, Consistency::Stale { at_most: Duration::from_secs(1) }]
        {
            let client = node.plain_client().with_consistency(consistency);
            assert!(client.read(&Get).await.expect("a majority").0 >= 4);
        }
    }
    for node in nodes {
        node.shutdown().await.expect("in good order");
    }
}

/// Compiles only if every call of a node can be spawned.
#[tokio::test]
async fn every_call_of_a_node_can_be_spawned() {
    fn sent<F: Future + Send + 'static>(future: F) -> F {
        future
    }
    let transport = MemoryNetwork::new().endpoint("n1");
    let members = [Member::new(1, transport.identity(), transport.address())];
    let starting = Node::builder(Counter::default())
        .storage(MemoryStorage::new())
        .transport(transport)
        .cluster(Cluster::bootstrap(members))
        .config(Config::testing())
        .start();
    let node = sent(starting).await.expect("a cluster of one");
    let client = node.plain_client();
    let (writer, reader) = (client.clone(), client);
    let written = tokio::spawn(async move { writer.write(&Add(2)).await }).await.expect("no panic");
    assert_eq!(written.expect("a cluster of one").response, Total(2));
    let read = tokio::spawn(async move { reader.read(&Get).await }).await.expect("no panic");
    assert_eq!(read, Ok(Total(2)));
    let stopped = sent(async move {
        node.transfer_leader(node.id()).await;
        node.shutdown().await
    });
    assert_eq!(tokio::spawn(stopped).await.expect("no panic"), Ok(()));
}
