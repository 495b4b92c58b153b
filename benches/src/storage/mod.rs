//! The storage plugin beside what else could keep a log: always durable, in one run, interleaved.
//!
//! This folder owns the sides of the contest and how they are loaded, measured and shown. It does
//! not know what a node does with a storage: an entry here is bytes, and an append is of one entry,
//! as from that many proposers at once.

pub mod contest;
pub mod disk;
#[allow(clippy::cast_precision_loss, reason = "counts of a bench, far below 2^52")]
pub mod figures;
pub mod group_commit;
pub mod log_file;
#[allow(clippy::cast_precision_loss, reason = "numbers of appenders")]
pub mod plot;
pub mod plugin;
pub mod rows;

use std::error::Error;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How many appenders there are at once.
pub const APPENDERS: [usize; 4] = [1, 64, 256, 1024];

/// How many bytes an entry has.
pub const ENTRY_BYTES: usize = 200;

/// How much of the log is kept: older entries are purged, as a node does after a snapshot, so that
/// every file is as large and as warm as it is after days.
pub const KEEP_BYTES: u64 = 64 << 20;

/// How many entries that is.
pub const KEEP: u64 = KEEP_BYTES / ENTRY_BYTES as u64;

/// What makes a side, in a directory that it may share with others.
pub type Create = fn(&Runtime, &Path) -> Result<Box<dyn Side>, Box<dyn Error>>;

/// One of the contest.
#[derive(Clone, Copy)]
pub struct Entrant {
    /// What the tables call it.
    pub name: &'static str,
    /// Makes it.
    pub create: Create,
}

/// Something that keeps a log, or the disk alone.
pub trait Side {
    /// Lets `appenders` appenders each append `rounds` entries, one after the other.
    fn run(&self, runtime: &Runtime, appenders: usize, rounds: u64) -> Run;
}

/// What one run took.
#[derive(Clone, Debug)]
pub struct Run {
    /// From the first append to the last receipt.
    pub took: Duration,
    /// How long each append waited for its receipt.
    pub waits: Vec<Duration>,
}

/// Appends one entry. The receipt resolves when the entry would survive a power cut.
pub trait Append: Send + Sync + 'static {
    /// Resolves once the entry is durable.
    type Receipt: Future<Output = Result<(), Self::Error>> + Send;
    /// Why it is not.
    type Error: Debug;

    /// Appends `entry` at the end of the log.
    fn append(&self, entry: Bytes) -> Self::Receipt;
}

impl<T: Append> Side for Arc<T> {
    fn run(&self, runtime: &Runtime, appenders: usize, rounds: u64) -> Run {
        runtime.block_on(closed_loop(self, appenders, rounds))
    }
}

async fn closed_loop<A: Append>(log: &Arc<A>, appenders: usize, rounds: u64) -> Run {
    let started = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..appenders {
        let log = log.clone();
        running.spawn(async move {
            let mut waits = Vec::with_capacity(rounds as usize);
            for _ in 0..rounds {
                let began = Instant::now();
                // Encoded by whoever proposes it: an entry is a buffer of its own.
                log.append(Bytes::copy_from_slice(&[0xa5; ENTRY_BYTES])).await.expect("a healthy disk");
                waits.push(began.elapsed());
            }
            waits
        });
    }
    let mut all = Vec::with_capacity(appenders);
    while let Some(ended) = running.join_next().await {
        all.push(ended.expect("an appender succeeds"));
    }
    Run { took: started.elapsed(), waits: all.concat() }
}
