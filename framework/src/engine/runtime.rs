//! The asynchronous runtime that everything in the framework is generic over: tokio for users, a
//! simulated one in tests.

use std::future::Future;
use std::time::Duration;

pub use openraft::AsyncRuntime;
pub use openraft::async_runtime::*;
pub use openraft::impls::TokioRuntime;
pub use openraft::{OptionalSend, OptionalSync};

pub use super::fault::{Bug, Point, Sight};
use crate::watch::{Watched, Watcher};

/// What everything in the framework runs on: the library's runtime, and what a simulated run may
/// do to it. Where it is not overridden nothing is done, at no cost.
pub trait Runtime: AsyncRuntime {
    /// Whether what is rare at `point` happens now.
    #[inline]
    fn reaches(point: Point) -> bool {
        let _ = point;
        false
    }

    /// A moment at `point`, or none.
    #[inline]
    fn pause(point: Point) -> impl Future<Output = ()> + Send {
        let _ = point;
        std::future::ready(())
    }

    /// Something rare has happened.
    #[inline]
    fn saw(sight: Sight) {
        let _ = sight;
    }

    /// Whether this run has this bug.
    #[inline]
    fn planted(bug: Bug) -> bool {
        let _ = bug;
        false
    }
}

impl Runtime for TokioRuntime {}

/// Waits for `future`, at most until `deadline`; `None` when it has passed.
pub(crate) async fn before<RT: Runtime, F: Future + Send>(
    deadline: RT::Instant,
    future: F,
) -> Option<F::Output> {
    RT::timeout_at(deadline, future).await.ok()
}

/// Now, on the runtime's clock.
pub(crate) fn now<RT: Runtime>() -> RT::Instant {
    <RT::Instant as Instant>::now()
}

/// How long until `deadline`; zero when it has passed.
pub(crate) fn left<RT: Runtime>(deadline: RT::Instant) -> Duration {
    let now = now::<RT>();
    if deadline > now { deadline - now } else { Duration::ZERO }
}

/// A random number from the runtime.
pub(crate) fn random<RT: Runtime>() -> u64 {
    use rand_core::Rng as _;
    RT::thread_rng().next_u64()
}

/// Tasks that end when told to. The runtime cannot abort a task and a dropped handle detaches it,
/// so every task is raced with this signal.
#[derive(Debug)]
pub(crate) struct Tasks {
    stop: Watched<bool>,
    running: std::sync::Arc<Watched<usize>>,
}

/// Counts a task as ended when dropped, even when it panics.
struct Running(std::sync::Arc<Watched<usize>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.update(|running| *running -= 1);
    }
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { stop: Watched::new(false), running: std::sync::Arc::new(Watched::new(0)) }
    }

    /// Runs `future` until it ends or [`Self::stop`] is called.
    pub(crate) fn spawn<RT: Runtime>(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.watch();
        self.running.update(|running| *running += 1);
        let running = Running(self.running.clone());
        drop(RT::spawn(async move {
            let _running = running;
            let stopped = async { stop.until(|stop| *stop).await };
            RT::select2(stopped, future).await;
        }));
    }

    /// Whether [`Self::stop`] was called.
    pub(crate) fn stopping(&self) -> Watcher<bool> {
        self.stop.watch()
    }

    /// Ends every task, and waits until each has.
    pub(crate) async fn stop(&self) {
        self.stop.set(true);
        self.running.watch().until(|running| *running == 0).await;
    }
}
