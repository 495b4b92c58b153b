//! The clients, and how criterion drives them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How many clients there are at once.
pub const CLIENTS: [usize; 3] = [1, 64, 256];

/// How many bytes a command carries.
pub const PAYLOADS: [usize; 2] = [16, 256];

/// A value of `len` bytes. Cheap to clone, as the clients share it.
pub fn payload(len: usize) -> Bytes {
    Bytes::from(vec![0xa5; len])
}

/// A criterion that needs about three seconds per cell: a few long samples, as a sample of a loaded
/// cluster is an average over thousands of calls already.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(400))
        .measurement_time(Duration::from_secs(2))
        .nresamples(10_000)
        .configure_from_args()
}

/// The runtime that everything of a bench runs on: nodes, clients and measurement.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads")
}

/// Measures how many calls of `call` per second `clients` clients get through, under the name
/// `side` and `cell` in `group`.
///
/// One iteration is one call by each client.
pub fn cell<Call, Done>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    (side, cell): (&str, String),
    clients: usize,
    call: Call,
) where
    Call: Fn() -> Done + Clone + Send + 'static,
    Done: Future<Output: Send> + Send + 'static,
{
    group.throughput(Throughput::Elements(clients as u64)).sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::new(side, cell), |bencher| {
        bencher.to_async(runtime).iter_custom(|rounds| closed_loop(clients, rounds, call.clone()));
    });
}

/// Runs `clients` clients at once, each of which calls `rounds` times, one call after the other; the
/// time until the last one is done.
pub async fn closed_loop<Call, Done>(clients: usize, rounds: u64, call: Call) -> Duration
where
    Call: Fn() -> Done + Clone + Send + 'static,
    Done: Future<Output: Send> + Send + 'static,
{
    let started = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let call = call.clone();
        running.spawn(async move {
            for _ in 0..rounds {
                black_box(call().await);
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("a client's call succeeds");
    }
    started.elapsed()
}
