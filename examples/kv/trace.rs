//! What the program says about itself, on stderr, for whoever operates it.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Failure;

/// What is said without `RUST_LOG`. What is beneath the framework warns many times a second while a
/// peer is down.
const DEFAULT: &str = "error,quorate=info,kv=info";
/// How many lines may wait for whoever reads stderr. Then they are dropped: a reader that is slow or
/// gone must not hold up the node.
const WAITING: usize = 4_096;
/// How long the end of the program waits for its last lines.
const PATIENCE: Duration = Duration::from_secs(1);

enum Said {
    Line(Vec<u8>),
    /// Answered when all before it is out.
    Flush(SyncSender<()>),
}

/// Writes out what is left when it is dropped.
pub(super) struct Trace(SyncSender<Said>);

/// Starts to write what `RUST_LOG` asks for, as in `info` or `warn,quorate_iroh=debug`.
///
/// # Errors
/// When `RUST_LOG` makes no sense.
pub(super) fn start() -> Result<Trace, Failure> {
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty());
    let wanted = wanted.unwrap_or_else(|| DEFAULT.to_owned());
    let targets: Targets = wanted.parse().map_err(|error| format!("RUST_LOG is `{wanted}`: {error}"))?;
    let (lines, waiting) = sync_channel(WAITING);
    std::thread::Builder::new().name("stderr".to_owned()).spawn(move || write_out(&waiting))?;
    let writer = lines.clone();
    let format = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        // It would say so on stderr.
        .log_internal_errors(false)
        .with_writer(move || Lines(writer.clone()));
    tracing_subscriber::registry().with(format).with(targets).try_init()?;
    Ok(Trace(lines))
}

fn write_out(said: &Receiver<Said>) {
    for said in said {
        match said {
            // Nobody is left who could be told that nobody reads.
            Said::Line(line) => drop(io::stderr().write_all(&line)),
            Said::Flush(done) => drop(done.send(())),
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let (done, flushed) = sync_channel(1);
        if self.0.try_send(Said::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(PATIENCE);
        }
    }
}

struct Lines(SyncSender<Said>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.try_send(Said::Line(line.to_vec()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
