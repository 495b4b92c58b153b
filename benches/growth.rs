//! What the storage plugin costs as its log grows: appends at three sizes of the log, restarts
//! after a crash, a large purge beside appends, and the file over many turnovers.
//!
//! `cargo bench -p quorate-benches --bench growth`. Prints Markdown. Criterion has no part in it:
//! most of these are single events.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate::storage::Storage;
use quorate_benches::load::runtime;
use quorate_benches::storage::figures::{Figure, Figures, median};
use quorate_benches::storage::plugin::{GROUP, Plugin};
use quorate_benches::storage::{ENTRY_BYTES, KEEP, Side};
use quorate_redb::RedbStorage;
use tokio::runtime::Runtime;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The first argument of the process that is killed.
const VICTIM: &str = "fill-and-wait-for-the-kill";

fn main() -> Result {
    let arguments: Vec<String> = env::args().collect();
    if let [_, mode, dir, entries] = arguments.as_slice()
        && mode == VICTIM
    {
        return victim(Path::new(dir), entries.parse()?);
    }
    // A test runner that asks for the names of tests is told that there are none.
    if arguments.iter().any(|argument| argument == "--list") {
        return Ok(());
    }
    let runtime = runtime();
    sizes(&runtime)?;
    restarts(&runtime)?;
    purge(&runtime)?;
    turnovers(&runtime)
}

fn scratch() -> Result<tempfile::TempDir> {
    Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}

/// Appends to logs of three sizes, in turns.
fn sizes(runtime: &Runtime) -> Result {
    let dir = scratch()?;
    let mut logs = Vec::new();
    for (name, entries) in [("100,000 entries", 100_000), ("1,000,000", 1_000_000), ("5,000,000", 5_000_000)]
    {
        let dir = dir.path().join(name);
        fs::create_dir(&dir)?;
        let plugin = Plugin::create(&dir, u64::MAX)?;
        runtime.block_on(plugin.fill(entries))?;
        logs.push((name, Arc::new(plugin)));
    }
    let mut figures = Figures::new(logs.iter().map(|(name, _)| *name).collect());
    for round in 0..9 {
        for (appenders, rounds) in [(1, 300), (64, 100), (1024, 20)] {
            for at in 0..logs.len() {
                let (name, log) = &logs[(at + round) % logs.len()];
                let figure = Figure::of(&[log.run(runtime, appenders, rounds)]);
                figures.add(appenders, name, figure.ok_or("nothing was appended")?);
            }
        }
    }
    println!("\nAppends by the size of the log\n\n{}", figures.table("100,000 entries"));
    Ok(())
}

/// Fills a log and goes on appending until the kill.
fn victim(dir: &Path, entries: u64) -> Result {
    let (runtime, plugin) = (runtime(), Arc::new(Plugin::create(dir, u64::MAX)?));
    runtime.block_on(plugin.fill(entries))?;
    println!("full");
    loop {
        plugin.run(&runtime, 16, 100);
    }
}

/// How long a storage takes to open after its process was killed while it wrote.
fn restarts(runtime: &Runtime) -> Result {
    println!("Restart after a crash\n\n| log | open, ms |\n|---|--:|");
    for (name, bytes) in [("256 MiB", 256 << 20), ("1 GiB", 1 << 30)] {
        let dir = scratch()?;
        let mut victim = Command::new(env::current_exe()?)
            .args([VICTIM.as_ref(), dir.path().as_os_str()])
            .arg((bytes / ENTRY_BYTES as u64).to_string())
            .stdout(Stdio::piped())
            .spawn()?;
        let full = victim.stdout.take().map(|out| BufReader::new(out).lines().next());
        // It writes on, so that the kill finds it in the middle of something.
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
        victim.kill()?;
        victim.wait()?;
        full.flatten().ok_or("the other process died before its time")??;
        let began = Instant::now();
        let storage = RedbStorage::open(dir.path().join("plugin"))?;
        let state = runtime.block_on(storage.open(GROUP))?;
        let took = began.elapsed();
        assert!(state.log.end * ENTRY_BYTES as u64 >= bytes, "{:?} is less than what was flushed", state.log);
        println!("| {name} | {:.0} |", took.as_secs_f64() * 1e3);
    }
    Ok(())
}

/// Appends while a million entries are purged, beside appends while nothing is.
fn purge(runtime: &Runtime) -> Result {
    const PURGED: u64 = 1_000_000;
    println!("\nAppends while 1,000,000 entries are purged, p99 in ms\n");
    println!("| appenders | alone | with the purge | ratio |\n|--:|--:|--:|--:|");
    for (appenders, rounds) in [(1, 3_000), (64, 2_000), (1024, 400)] {
        let dir = scratch()?;
        let plugin = Arc::new(Plugin::create(dir.path(), u64::MAX)?);
        let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..5 {
            runtime.block_on(plugin.fill(PURGED))?;
            let run = || plugin.run(runtime, appenders, rounds);
            let p99 = |run| Figure::of(&[run]).map(|figure| figure.p99.as_secs_f64() * 1e3);
            let before = p99(run()).ok_or("nothing was appended")?;
            plugin.purge_all_but(appenders as u64 * rounds);
            let after = p99(run()).ok_or("nothing was appended")?;
            alone.push(before);
            beside.push(after);
            ratios.push(after / before);
        }
        let of = |all| median(all).unwrap_or_default();
        println!("| {appenders} | {:.2} | {:.2} | {:.2} |", of(alone), of(beside), of(ratios));
    }
    Ok(())
}

/// The file while the log is replaced many times.
fn turnovers(runtime: &Runtime) -> Result {
    const KEPT: u64 = KEEP / 4;
    let dir = scratch()?;
    let plugin = Plugin::create(dir.path(), KEPT)?;
    println!("\nThe file while a log of 16 MiB is replaced\n\n| turnovers | log.redb, MiB |\n|--:|--:|");
    let file: PathBuf = dir.path().join("plugin").join("log.redb");
    for turnovers in 1..=50 {
        runtime.block_on(plugin.fill(KEPT))?;
        if [1, 2, 5, 10, 20, 30, 40, 50].contains(&turnovers) {
            println!("| {turnovers} | {} |", fs::metadata(&file)?.len() >> 20);
        }
    }
    Ok(())
}
