//! How long it takes to say whether a history is linearizable, by its length.
//!
//! `cargo bench -p quorate-sim --bench linear`. The histories are those of `tests/linear`, where the
//! steps are counted: of 20 clients, with 5 or 20 of a thousand writes of unknown outcome.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use quorate_sim::linear::register::Register;
use quorate_sim::linear::{Verdict, check};

#[path = "../tests/linear/histories.rs"]
mod histories;

use histories::{FAULTS, History, Shape, right, wrong};

/// Far more than any of these takes.
const BUDGET: usize = 1_000_000_000;

/// How many registers are not linearizable.
fn wrong_ones(history: &History) -> usize {
    let is_wrong = |verdict| match verdict {
        Verdict::Linearizable => false,
        Verdict::NotLinearizable { .. } => true,
        Verdict::Undecided => panic!("the budget is more than enough"),
    };
    history.values().filter(|operations| is_wrong(check(&Register, operations, BUDGET))).count()
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(400))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for (keys, unknown_per_mille) in [(50, 5), (50, 20), (1, 5), (1, 20)] {
        let registers = if keys == 1 { "register" } else { "registers" };
        let mut group =
            criterion.benchmark_group(format!("linear/{keys} {registers}, {unknown_per_mille} unknown"));
        group.sampling_mode(SamplingMode::Flat);
        for operations in [1_000, 10_000, 100_000] {
            let shape = Shape { operations, keys, clients: 20, unknown_per_mille };
            group.throughput(Throughput::Elements(operations as u64));
            let history = right(1, shape);
            assert_eq!(wrong_ones(&history), 0, "{shape:?}");
            group.bench_function(BenchmarkId::new("right", operations), |bencher| {
                bencher.iter(|| wrong_ones(black_box(&history)));
            });
            for fault in FAULTS {
                let (history, _) = wrong(1, shape, fault, operations * 19 / 20);
                assert_eq!(wrong_ones(&history), 1, "{shape:?}");
                group.bench_function(BenchmarkId::new(format!("{fault:?}"), operations), |bencher| {
                    bencher.iter(|| wrong_ones(black_box(&history)));
                });
            }
        }
        group.finish();
    }
    criterion.final_summary();
}
