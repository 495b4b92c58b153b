//! A bank on three nodes, whose tellers pay at the same time on different nodes: money is conserved.
//!
//! `bank.rs` is the machine. That money is conserved under crashes, partitions and torn disks as well is
//! an invariant in a test of one line: `plugins/sim/tests/machines/bank.rs`.
//!
//! `cargo run --release --example bank`

mod bank;

use std::error::Error;

use futures::future::try_join_all;
use quorate::node::config::Config;
use quorate::storage::MemoryStorage;
use quorate::transport::{MemoryNetwork, Transport};
use quorate::types::Member;
use quorate::{Cluster, Node};

use crate::bank::{AccountId, Bank, BankClient, GIFT, Refusal};

/// Starts three nodes in this process, in memory.
async fn start() -> Result<Vec<Node<Bank>>, Box<dyn Error>> {
    let network = MemoryNetwork::new();
    let transports = ["one", "two", "three"].map(|name| network.endpoint(name));
    let members: Vec<Member> = (1..)
        .zip(&transports)
        .map(|(id, transport)| Member::new(id, transport.identity(), transport.address()))
        .collect();
    let mut nodes = Vec::new();
    for transport in transports {
        let node = Node::builder(Bank::default())
            .storage(MemoryStorage::new())
            .transport(transport)
            .cluster(Cluster::bootstrap(members.clone()))
            // Patient, because all three share a machine that may be busy with something else.
            .config(Config::development())
            .start();
        nodes.push(node.await?);
    }
    Ok(nodes)
}

/// Pays 70 from each account into the next, round and round; says how often there was not enough.
async fn teller(client: BankClient, accounts: &[AccountId], rounds: usize) -> Result<u64, Box<dyn Error>> {
    let mut overdrafts = 0;
    let pairs = accounts.iter().zip(accounts.iter().cycle().skip(1));
    for (from, to) in pairs.cycle().take(rounds * accounts.len()) {
        match client.transfer(*from, *to, 70).await? {
            Ok(()) => {}
            Err(Refusal::Overdraft) => overdrafts += 1,
            Err(refusal) => return Err(format!("an account that was opened is gone: {refusal:?}").into()),
        }
    }
    Ok(overdrafts)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nodes = start().await?;
    let mut accounts = Vec::new();
    for (owner, node) in ["ada", "bob", "cy"].into_iter().zip(&nodes) {
        accounts.push(node.client().open(owner.into()).await?);
    }
    println!("three accounts are open, each with {GIFT}");

    let (one, other) = (&nodes[0].client(), &nodes[2].client());
    let hasty = one.transfer(accounts[0], accounts[1], 5 * GIFT).await?;
    println!("ada pays 500: {hasty:?}");
    // Two of them would like to empty an account: one can.
    let both = tokio::join!(
        one.transfer(accounts[1], accounts[0], GIFT),
        other.transfer(accounts[1], accounts[2], GIFT)
    );
    println!("two take all that bob has, at once: {:?} and {:?}", both.0?, both.1?);

    let tellers = nodes.iter().map(|node| teller(node.client(), &accounts, 30));
    let overdrafts: u64 = try_join_all(tellers).await?.into_iter().sum();
    println!("three tellers have paid 270 times; {overdrafts} times there was not enough");
    for (id, node) in accounts.iter().zip(&nodes) {
        let account = node.client().account(*id).await?.ok_or("an account is gone")?;
        println!("  {} has {}", account.owner, account.money);
    }
    let money = nodes[1].client().money().await?;
    for node in &nodes {
        node.shutdown().await?;
    }
    println!("{money} are there, and {} were given", GIFT * accounts.len() as u64);
    Ok(())
}
