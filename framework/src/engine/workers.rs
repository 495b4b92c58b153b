//! Threads that may block, for the calls of a machine on a disk: one for each call would cost more
//! than most of the calls.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::executor::block_on;

use super::runtime::Runtime;

/// One applies or flushes, the others answer queries.
const WORKERS: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads with one queue. They end when this is dropped.
pub(super) struct Workers(mpsc::UnboundedSender<Job>);

/// Whether blocking work has a thread of its own. A simulated runtime runs it on the thread of
/// everything else, and waiting there would be for ever.
pub(super) async fn blocking_has_its_own_thread<RT: Runtime>() -> io::Result<bool> {
    let caller = std::thread::current().id();
    RT::spawn_blocking(move || std::thread::current().id() != caller).await
}

impl Workers {
    /// `None` where blocking work has no thread of its own.
    pub(super) async fn start<RT: Runtime>() -> io::Result<Option<Self>> {
        if !blocking_has_its_own_thread::<RT>().await? {
            return Ok(None);
        }
        let (tx, rx) = mpsc::unbounded();
        let queue = Arc::new(Mutex::new(rx));
        for _ in 0..WORKERS {
            let queue = queue.clone();
            // What a runtime does before the first poll is its own business.
            let working = RT::spawn_blocking(move || work(&queue));
            drop(RT::spawn(async move { drop(working.await) }));
        }
        Ok(Some(Self(tx)))
    }

    /// Runs `call` on one of the threads. An error when it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (tx, rx) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody waits any more: then the outcome is nobody's.
            let _ = tx.send(call());
        });
        self.0.unbounded_send(job).map_err(|_| io::Error::other("no thread is left that may block"))?;
        rx.await.map_err(|_| io::Error::other("a call of the machine panicked"))
    }
}

#[allow(clippy::disallowed_methods, reason = "the thread is there to wait")]
fn work(queue: &Mutex<mpsc::UnboundedReceiver<Job>>) {
    loop {
        // One waits for a job, the others for their turn.
        let job = block_on(queue.lock().unwrap_or_else(PoisonError::into_inner).next());
        let Some(job) = job else { return };
        // What panicked has told whoever waits, by dropping the sender.
        drop(catch_unwind(AssertUnwindSafe(job)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::runtime::TokioRuntime;

    #[tokio::test]
    async fn calls_run_beside_each_other_and_a_panic_is_told() {
        let workers = Workers::start::<TokioRuntime>().await.expect("tokio").expect("it has threads");
        let (tx, rx) = std::sync::mpsc::channel();
        let waits = workers.run(move || rx.recv().expect("sent by the other"));
        let sends = workers.run(move || tx.send(7).expect("awaited"));
        assert_eq!(futures::join!(waits, sends).0.expect("no panic"), 7);
        for _ in 0..2 * WORKERS {
            let error = workers.run(|| panic!("as it was told")).await.map(|()| 0).expect_err("it panics");
            assert_eq!(error.to_string(), "a call of the machine panicked");
        }
        assert_eq!(workers.run(|| 8).await.expect("the threads live on"), 8);
    }
}
