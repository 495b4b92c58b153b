//! The framework's runtime over madsim's executor: simulated time, one thread, random scheduling.
//!
//! This folder owns what a runtime has to offer and what of it madsim lacks: clocks that differ
//! from node to node, a watch that wakes in order, a sleep that is cheap to poll. Channels and
//! locks are tokio's, which need no tokio runtime.

mod clock;
mod fault;
mod sleep;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use quorate::runtime::{AsyncRuntime, Bug, OptionalSend, Point, Runtime, Sight, TokioRuntime};

pub(crate) use self::clock::local_time;
pub use self::clock::{Clock, SimInstant, forget_clocks, set_clock, time};
pub use self::fault::{Points, fired, forget_faults, seen, set_faults};
pub use self::sleep::SimSleep;
pub use self::watch::{SimReceiver, SimRef, SimSender, SimWatch};
use crate::rng::Rng;

/// The simulated runtime.
pub struct SimRuntime(madsim::runtime::Runtime);

impl fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimRuntime")
    }
}

impl SimRuntime {
    /// A runtime whose schedule comes from `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default()))
    }
}

/// The time for something has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

impl std::error::Error for Elapsed {}

/// A future with a deadline.
pub struct SimTimeout<F> {
    future: Pin<Box<F>>,
    sleep: SimSleep,
}

impl<F: Future> Future for SimTimeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut self.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}

impl Runtime for SimRuntime {
    fn reaches(point: Point) -> bool {
        fault::reaches(point)
    }

    async fn pause(point: Point) {
        if fault::reaches(point) {
            SimSleep::exactly(fault::moment()).await;
        }
    }

    fn saw(sight: Sight) {
        fault::saw(sight);
    }

    fn planted(bug: Bug) -> bool {
        fault::planted(bug)
    }
}

impl AsyncRuntime for SimRuntime {
    type JoinError = madsim::task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = madsim::task::JoinHandle<T>;
    type Sleep = SimSleep;
    type Instant = SimInstant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = SimTimeout<T>;
    type ThreadLocalRng = Rng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = SimWatch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        madsim::task::spawn(future)
    }

    fn sleep(duration: Duration) -> SimSleep {
        SimSleep::new(duration)
    }

    fn sleep_until(deadline: SimInstant) -> SimSleep {
        SimSleep::exactly(deadline.left())
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> SimTimeout<F> {
        SimTimeout { future: Box::pin(future), sleep: SimSleep::new(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: SimInstant, future: F) -> SimTimeout<F> {
        SimTimeout { future: Box::pin(future), sleep: SimSleep::exactly(deadline.left()) }
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> Rng {
        Rng::new(madsim::rand::random())
    }

    fn new(_threads: usize) -> Self {
        Self::seeded(0)
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    /// A simulation has one thread, so the work is done on it, as a task of its own.
    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let task = madsim::task::spawn(async move { f() });
        async move { task.await.map_err(io::Error::from) }
    }
}
