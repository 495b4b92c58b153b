//! The framework beside bare openraft with glue written by hand, over the same storage and the same
//! wire: writes, and linearizable reads at the leader. Each cell is measured on both sides, one
//! right after the other; `ratio` prints them as a table.
//!
//! `cargo bench -p quorate-benches --bench bare --bench ratio`

use std::path::Path;

use criterion::Criterion;
use quorate_benches::bare::Bare;
use quorate_benches::estimates::PAIRED;
use quorate_benches::load::{CLIENTS, PAYLOADS, cell, criterion, payload, runtime};
use quorate_benches::ours::Ours;
use quorate_benches::plugins::Pair;
use tokio::runtime::Runtime;

fn main() {
    let (mut criterion, runtime) = (criterion(), runtime());
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for pair in Pair::ALL {
        let ours = runtime.block_on(Ours::start(pair, scratch));
        let bare = runtime.block_on(Bare::start(pair, scratch));
        writes(&mut criterion, &runtime, pair, &ours, &bare);
        if pair != Pair::RedbMemory {
            reads(&mut criterion, &runtime, pair, &ours, &bare);
        }
        runtime.block_on(ours.stop());
        runtime.block_on(bare.stop());
    }
    criterion.final_summary();
}

fn writes(criterion: &mut Criterion, runtime: &Runtime, pair: Pair, ours: &Ours, bare: &Bare) {
    let mut group = criterion.benchmark_group(format!("{PAIRED}write {}", pair.name()));
    for (clients, bytes) in CLIENTS.into_iter().flat_map(|clients| PAYLOADS.map(|bytes| (clients, bytes))) {
        let name = format!("{clients} clients, {bytes} bytes");
        let (client, value) = (ours.at_leader(), payload(bytes));
        let put = move || {
            let (client, value) = (client.clone(), value.clone());
            async move { client.put(value).await.expect("a healthy cluster") }
        };
        cell(&mut group, runtime, ("quorate", name.clone()), clients, put);
        let (client, value) = (bare.at_leader(), payload(bytes));
        let put = move || {
            let (client, value) = (client.clone(), value.clone());
            async move { client.put(value).await }
        };
        cell(&mut group, runtime, ("bare", name), clients, put);
    }
    group.finish();
}

fn reads(criterion: &mut Criterion, runtime: &Runtime, pair: Pair, ours: &Ours, bare: &Bare) {
    let mut group = criterion.benchmark_group(format!("{PAIRED}read {}", pair.name()));
    for clients in CLIENTS {
        let name = format!("{clients} clients");
        let client = ours.at_leader();
        let puts = move || {
            let client = client.clone();
            async move { client.puts().await.expect("a healthy cluster") }
        };
        cell(&mut group, runtime, ("quorate", name.clone()), clients, puts);
        let client = bare.at_leader();
        let puts = move || {
            let client = client.clone();
            async move { client.puts().await }
        };
        cell(&mut group, runtime, ("bare", name), clients, puts);
    }
    group.finish();
}
