//! Linearizable reads per second, at the leader and at a follower, by plugins and clients.
//!
//! `cargo bench -p quorate-benches --bench read`

use std::path::Path;

use quorate_benches::load::{CLIENTS, cell, criterion, payload, runtime};
use quorate_benches::ours::Ours;
use quorate_benches::plugins::Pair;

fn main() {
    let (mut criterion, runtime) = (criterion(), runtime());
    for pair in [Pair::MemoryMemory, Pair::RedbIroh] {
        let cluster = runtime.block_on(Ours::start(pair, Path::new(env!("CARGO_TARGET_TMPDIR"))));
        runtime.block_on(cluster.at_leader().put(payload(16))).expect("a healthy cluster");
        let mut group = criterion.benchmark_group(format!("read/{}", pair.name()));
        for (place, client) in [("leader", cluster.at_leader()), ("follower", cluster.at_follower())] {
            for clients in CLIENTS {
                let client = client.clone();
                let puts = move || {
                    let client = client.clone();
                    async move { assert_eq!(client.puts().await.expect("a healthy cluster"), 1) }
                };
                cell(&mut group, &runtime, (place, format!("{clients} clients")), clients, puts);
            }
        }
        group.finish();
        runtime.block_on(cluster.stop());
    }
    criterion.final_summary();
}
