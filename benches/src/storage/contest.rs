//! How the sides take turns.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use tokio::runtime::Runtime;

use super::disk::Disk;
use super::figures::{Figure, Figures};
use super::group_commit::{Engine, GroupCommit};
use super::log_file::LogFile;
use super::plugin::Plugin;
use super::rows::Rows;
use super::{APPENDERS, Entrant, Side, plot};
use crate::estimates::home;
use crate::load::runtime;

/// What the tables call the plugin.
pub const OURS: &str = "quorate-redb";

/// And the disk alone, which has no entries.
const DISK: &str = "disk (flushes of 4 KiB)";

/// How many times the sides take turns. What else the machine does in the meantime moves the sides
/// of a round together, so that the median of the rounds' ratios is steadier than any figure.
const ROUNDS: usize = 7;

/// How many samples a round has of each cell.
const SAMPLES: usize = 10;

/// A criterion for short cells: a round has many of them, and their medians are what counts.
fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_millis(60))
        .measurement_time(Duration::from_millis(300))
        .nresamples(1_000)
        .without_plots()
        .configure_from_args()
}

/// Measures `sides` against each other, with each number of appenders, in rounds.
fn hold(criterion: &mut Criterion, runtime: &Runtime, sides: &[(&'static str, Box<dyn Side>)]) -> Figures {
    let mut figures = Figures::new(sides.iter().map(|(name, _)| *name).collect());
    for round in 1..=ROUNDS {
        for appenders in APPENDERS {
            let mut group = criterion.benchmark_group(format!("storage/{appenders} appenders"));
            group.sampling_mode(SamplingMode::Flat);
            // Nobody is always the one after the noisiest.
            let turn = (0..sides.len()).map(|at| &sides[(at + round) % sides.len()]);
            for (name, side) in turn {
                let elements = if *name == DISK { 1 } else { appenders };
                group.throughput(Throughput::Elements(elements as u64));
                let mut runs = Vec::new();
                group.bench_function(BenchmarkId::new(*name, format!("round {round}")), |bencher| {
                    bencher.iter_custom(|rounds| {
                        let run = side.run(runtime, appenders, rounds);
                        let took = run.took;
                        runs.push(run);
                        took
                    });
                });
                // Those before were to warm up.
                let measured = &runs[runs.len().saturating_sub(SAMPLES)..];
                if let Some(figure) = Figure::of(measured) {
                    figures.add(appenders, name, figure);
                }
            }
            group.finish();
        }
    }
    figures
}

/// Those that need no other crate than the plugin does.
pub const ENTRANTS: [Entrant; 6] = [
    Entrant { name: DISK, create: |_, dir| Ok(Box::new(Disk::create(dir)?)) },
    Entrant {
        name: OURS,
        create: |runtime, dir| Ok(Box::new(Arc::new(runtime.block_on(Plugin::warm(dir))?))),
    },
    Entrant { name: "log file", create: |_, dir| log(LogFile::in_segments(dir)?, 0) },
    Entrant { name: "log file, a ring", create: |_, dir| log(LogFile::ring(dir)?, 0) },
    Entrant {
        name: "redb, row per entry",
        create: |_, dir| Rows::warm(dir).and_then(|(rows, next)| log(rows, next)),
    },
    Entrant { name: "redb, row per entry, growing", create: |_, dir| log(Rows::growing(dir)?, 0) },
];

/// A log that `engine` keeps, with a thread of its own.
///
/// # Errors
/// None; what creates an engine has them.
pub fn log(engine: impl Engine, next: u64) -> Result<Box<dyn Side>, Box<dyn Error>> {
    Ok(Box::new(Arc::new(GroupCommit::start(engine, next))))
}

/// A whole bench: `entrants` keep their files below `scratch`; the table and the picture are called
/// `name`.
///
/// # Errors
/// When a file cannot be written.
pub fn main(entrants: &[Entrant], scratch: &Path, name: &str) -> Result<(), Box<dyn Error>> {
    let mut criterion = criterion();
    // A test runner that asks for the names of tests is told that there are none.
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    let (runtime, dir) = (runtime(), tempfile::tempdir_in(scratch)?);
    let create = |entrant: &Entrant| Ok((entrant.name, (entrant.create)(&runtime, dir.path())?));
    let sides = entrants.iter().map(create).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let load = || fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load().trim());
    let figures = hold(&mut criterion, &runtime, &sides);
    criterion.final_summary();
    if figures.is_empty() {
        return Ok(());
    }
    let home = home(&std::env::current_exe()?).ok_or("no directory for the figures")?;
    fs::create_dir_all(&home)?;
    let (table, picture) = (home.join(format!("{name}.md")), home.join(format!("{name}.svg")));
    fs::write(&table, figures.table(OURS))?;
    plot::write(&figures, "Durable appends of 200 B, by concurrent appenders", &picture)?;
    println!("load after: {}", load().trim());
    println!("\n{}\n{}\n{}", figures.table(OURS), table.display(), picture.display());
    Ok(())
}
