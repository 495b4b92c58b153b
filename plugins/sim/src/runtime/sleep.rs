//! A sleep that sets one timer, however often it is polled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use madsim::time::TimeHandle;

use super::clock::in_simulated_time;

/// Waits for a time on the clock of the node that sleeps. Exact: madsim's own takes 1 ms or more.
#[must_use = "a future does nothing before it is polled"]
pub struct SimSleep {
    inner: madsim::time::Sleep,
    /// Whom the timer wakes. madsim's sleep sets another with every poll and can take none back.
    wakes: Option<Waker>,
}

impl SimSleep {
    /// Sleeps for `duration` of simulated time.
    pub(crate) fn exactly(duration: Duration) -> Self {
        // A time that madsim's instants cannot hold is as good as never.
        let at_most = Duration::from_hours(100 * 365 * 24);
        let mut inner = madsim::time::sleep(duration.min(at_most));
        let deadline = TimeHandle::current().now_instant() + duration.min(at_most);
        Pin::new(&mut inner).reset(deadline);
        Self { inner, wakes: None }
    }

    /// Sleeps for `duration` on the clock of this node.
    pub(super) fn new(duration: Duration) -> Self {
        Self::exactly(in_simulated_time(duration))
    }
}

impl Future for SimSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.inner.is_elapsed() {
            return Poll::Ready(());
        }
        if self.wakes.as_ref().is_some_and(|wakes| wakes.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.wakes = Some(cx.waker().clone());
        Pin::new(&mut self.inner).poll(cx)
    }
}
