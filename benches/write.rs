//! Writes per second at the leader, by plugins, clients and bytes of the command.
//!
//! `cargo bench -p quorate-benches --bench write`

use std::path::Path;

use quorate_benches::load::{CLIENTS, PAYLOADS, cell, criterion, payload, runtime};
use quorate_benches::ours::Ours;
use quorate_benches::plugins::Pair;

fn main() {
    let (mut criterion, runtime) = (criterion(), runtime());
    for pair in Pair::ALL {
        let cluster = runtime.block_on(Ours::start(pair, Path::new(env!("CARGO_TARGET_TMPDIR"))));
        let client = cluster.at_leader();
        let mut group = criterion.benchmark_group(format!("write/{}", pair.name()));
        for (clients, bytes) in CLIENTS.into_iter().flat_map(|clients| PAYLOADS.map(|bytes| (clients, bytes)))
        {
            let (client, value) = (client.clone(), payload(bytes));
            let put = move || {
                let (client, value) = (client.clone(), value.clone());
                async move { client.put(value).await.expect("a healthy cluster") }
            };
            let name = format!("{clients} clients, {bytes} bytes");
            cell(&mut group, &runtime, ("quorate", name), clients, put);
        }
        group.finish();
        runtime.block_on(cluster.stop());
    }
    criterion.final_summary();
}
