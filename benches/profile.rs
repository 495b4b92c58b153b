//! Runs a fixed number of writes on one side, for profilers: criterion decides by time how many it
//! runs, so that two runs of it cannot be compared by what they cost the processor.
//!
//! `perf stat target/release/examples/profile quorate memory+memory 64 256 200000`: the side
//! (`quorate` or `bare`), the plugins, the clients, the bytes of a command, and how many writes; without
//! arguments a few writes, to see that it works. It prints how long they took; what the profiler counts includes a fraction of a second for the start
//! of the cluster.

use std::error::Error;
use std::time::Duration;

use quorate_benches::bare::Bare;
use quorate_benches::load::{closed_loop, payload, runtime};
use quorate_benches::ours::Ours;
use quorate_benches::plugins::Pair;

async fn run(side: &str, pair: Pair, clients: usize, bytes: usize, rounds: u64) -> Option<Duration> {
    let (scratch, value) = (std::env::temp_dir(), payload(bytes));
    Some(match side {
        "quorate" => {
            let cluster = Ours::start(pair, &scratch).await;
            let client = cluster.at_leader();
            let put = move || {
                let (client, value) = (client.clone(), value.clone());
                async move { client.put(value).await.expect("a healthy cluster") }
            };
            let took = closed_loop(clients, rounds, put).await;
            cluster.stop().await;
            took
        }
        "bare" => {
            let cluster = Bare::start(pair, &scratch).await;
            let client = cluster.at_leader();
            let put = move || {
                let (client, value) = (client.clone(), value.clone());
                async move { client.put(value).await }
            };
            let took = closed_loop(clients, rounds, put).await;
            cluster.stop().await;
            took
        }
        _ => return None,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        arguments = ["quorate", "memory+memory", "1", "256", "500"].map(str::to_owned).into();
    }
    let [side, pair, clients, bytes, writes] = arguments.as_slice() else {
        return Err("expected: quorate|bare <plugins> <clients> <bytes> <writes>".into());
    };
    let pair = Pair::ALL.into_iter().find(|known| known.name() == pair).ok_or("no such plugins")?;
    let clients: usize = clients.parse()?;
    let rounds = writes.parse::<u64>()? / clients.max(1) as u64;
    let took = runtime().block_on(run(side, pair, clients, bytes.parse()?, rounds));
    let took = took.ok_or("no such side")?;
    println!("{} writes in {took:?}", rounds * clients as u64);
    Ok(())
}
