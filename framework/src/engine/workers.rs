//! Threads that may block, for the calls of a machine on a disk: one for each call would cost more
//! than most of the calls.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::executor::block_on;

use super::runtime::Runtime;

/// How many threads answer queries, beside the one that applies and flushes.
const READERS: usize = 3;

type Job = Box<dyn FnOnce() + Send>;

type Queue = mpsc::UnboundedSender<Job>;

/// A thread that changes the machine, and a few that only look: what the log waits for never stands
/// behind a query. They end when this is closed or dropped.
pub(super) struct Workers {
    writer: Queue,
    readers: Queue,
}

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
        Ok(Some(Self { writer: employ::<RT>(1), readers: employ::<RT>(READERS) }))
    }

    /// Changes the machine, one call after the other. An error when the call panicked.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        run(&self.writer, call).await
    }

    /// Looks at the machine. An error when the call panicked.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        run(&self.readers, call).await
    }

    /// Takes no more calls: the threads end with those that were made, whoever still holds this.
    pub(super) fn close(&self) {
        self.writer.close_channel();
        self.readers.close_channel();
    }
}

fn employ<RT: Runtime>(threads: usize) -> Queue {
    let (tx, rx) = mpsc::unbounded();
    let queue = Arc::new(Mutex::new(rx));
    for _ in 0..threads {
        let queue = queue.clone();
        // What a runtime does before the first poll is its own business.
        let working = RT::spawn_blocking(move || work(&queue));
        drop(RT::spawn(async move { drop(working.await) }));
    }
    tx
}

async fn run<T: Send + 'static>(queue: &Queue, call: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (tx, rx) = oneshot::channel();
    let job: Job = Box::new(move || {
        // Nobody waits any more: then the outcome is nobody's.
        let _ = tx.send(call());
    });
    queue.unbounded_send(job).map_err(|_| io::Error::other("no thread is left that may block"))?;
    rx.await.map_err(|_| io::Error::other("a call of the machine panicked"))
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

    async fn employed() -> Workers {
        Workers::start::<TokioRuntime>().await.expect("tokio").expect("it has threads")
    }

    #[tokio::test]
    async fn queries_run_beside_each_other_and_a_panic_is_told() {
        let workers = employed().await;
        let (tx, rx) = std::sync::mpsc::channel();
        let waits = workers.read(move || rx.recv().expect("sent by the other"));
        let sends = workers.read(move || tx.send(7).expect("awaited"));
        assert_eq!(futures::join!(waits, sends).0.expect("no panic"), 7);
        for _ in 0..2 * READERS {
            let error = workers.read(|| panic!("as it was told")).await.map(|()| 0).expect_err("it panics");
            assert_eq!(error.to_string(), "a call of the machine panicked");
        }
        assert_eq!(workers.read(|| 8).await.expect("the threads live on"), 8);
    }

    #[tokio::test]
    async fn what_the_log_waits_for_never_stands_behind_queries() {
        let workers = employed().await;
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let queries = (0..2 * READERS).map(|_| {
            let held = held.clone();
            workers.read(move || held.lock().unwrap_or_else(PoisonError::into_inner).recv())
        });
        let queries = futures::future::join_all(queries);
        let applied = async {
            let applied = workers.write(|| 7).await;
            drop(release);
            applied
        };
        assert_eq!(futures::join!(queries, applied).1.expect("no panic"), 7);
    }

    #[test]
    fn the_threads_end_when_it_is_closed_although_it_is_held() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let workers = runtime.block_on(employed());
        workers.close();
        // Waits for every blocking call that has begun.
        drop(runtime);
        assert!(block_on(workers.read(|| ())).is_err());
    }
}
