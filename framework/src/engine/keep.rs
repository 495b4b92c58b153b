//! Calls to the library that are always seen through.
//!
//! Whoever calls the library while its core stops joins the core's task, the first to come for all
//! others. If that one is dropped half-way the library loses the join, and every later call panics.
//! Requests of peers are dropped half-way as a matter of course: with their stream, or at a deadline.
//! So a call that its caller gives up goes to a task that waits for its end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, Stream, StreamExt};

use super::runtime::{Runtime, Select2};

type GivenUp = mpsc::UnboundedSender<BoxFuture<'static, ()>>;

/// Sees calls through that were given up. Its task ends with the last of them, once this is dropped.
#[derive(Clone, Debug)]
pub(super) struct Keeper(GivenUp);

impl Keeper {
    pub(super) fn start<RT: Runtime>() -> Self {
        let (tx, mut given_up) = mpsc::unbounded();
        // Not among the tasks that end when told to: it ends when nothing is left to see through,
        // and everything it waits for ends when the core does.
        drop(RT::spawn(async move {
            let mut calls = FuturesUnordered::new();
            loop {
                let ended = async {
                    match calls.next().await {
                        Some(()) => (),
                        None => futures::future::pending().await,
                    }
                };
                match RT::select2(given_up.next(), ended).await {
                    Select2::First(Some(call)) => calls.push(call),
                    Select2::First(None) => break,
                    Select2::Second(()) => {}
                }
            }
            while calls.next().await.is_some() {}
        }));
        Self(tx)
    }

    /// A call that goes on when it is dropped, once it has begun.
    pub(super) fn call<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Kept<T> {
        Kept { call: Some(call.boxed()), begun: false, given_up: self.0.clone() }
    }

    /// Answers of which the one that is waited for is still waited for when they are dropped.
    pub(super) fn answers<T: Send + 'static>(
        &self,
        answers: impl Stream<Item = T> + Send + 'static,
    ) -> KeptAnswers<T> {
        KeptAnswers { answers: Some(answers.boxed()), given_up: self.0.clone() }
    }
}

/// A call that is seen through.
pub(super) struct Kept<T: Send + 'static> {
    /// `None` once it has ended.
    call: Option<BoxFuture<'static, T>>,
    begun: bool,
    given_up: GivenUp,
}

impl<T: Send + 'static> Future for Kept<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let call = self.call.as_mut().expect("a future is not polled after its end");
        let output = std::task::ready!(call.poll_unpin(cx));
        self.call = None;
        Poll::Ready(output)
    }
}

impl<T: Send + 'static> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take().filter(|_| self.begun) {
            // Without the task the runtime is gone, and with it whoever could call again.
            drop(self.given_up.unbounded_send(call.map(drop).boxed()));
        }
    }
}

/// Answers that are seen through.
pub(super) struct KeptAnswers<T: Send + 'static> {
    /// `None` once it has ended.
    answers: Option<BoxStream<'static, T>>,
    given_up: GivenUp,
}

impl<T: Send + 'static> Stream for KeptAnswers<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(answers) = self.answers.as_mut() else { return Poll::Ready(None) };
        let answer = std::task::ready!(answers.poll_next_unpin(cx));
        if answer.is_none() {
            self.answers = None;
        }
        Poll::Ready(answer)
    }
}

impl<T: Send + 'static> Drop for KeptAnswers<T> {
    fn drop(&mut self) {
        if let Some(answers) = self.answers.take() {
            drop(self.given_up.unbounded_send(answers.into_future().map(drop).boxed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc as blocking};

    use openraft::metrics::MetricsRecorder;

    use super::*;
    use crate::engine::rig;
    use crate::engine::{ReadIndexError, wire};
    use crate::host::{Call, Status};
    use crate::types::NodeId;

    /// Dropped with the core, behind the channel that calls come in by: holds up the end of the
    /// core's task for as long as the test likes.
    #[derive(Debug)]
    struct HeldUp {
        reached: blocking::Sender<()>,
        release: Mutex<blocking::Receiver<()>>,
    }

    impl Drop for HeldUp {
        fn drop(&mut self) {
            let _ = self.reached.send(());
            let _ = self.release.lock().expect("no panic").recv();
        }
    }

    impl MetricsRecorder for HeldUp {
        fn record_apply_batch(&self, _: u64) {}
        fn record_append_batch(&self, _: u64) {}
        fn record_write_batch(&self, _: u64) {}
        fn set_current_term(&self, _: u64) {}
        fn set_last_log_index(&self, _: u64) {}
        fn set_committed_index(&self, _: u64) {}
        fn set_applied_index(&self, _: u64) {}
        fn set_snapshot_index(&self, _: u64) {}
        fn set_purged_index(&self, _: u64) {}
        fn set_server_state(&self, _: u8) {}
        fn increment_vote(&self) {}
        fn increment_heartbeat(&self) {}
        fn increment_append(&self) {}
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn a_call_given_up_while_the_core_stops_does_not_spoil_later_ones() {
        let rig = rig::start(2).await;
        let group = &rig.group;
        let (reached, waiting) = blocking::channel();
        let (release, held) = blocking::channel();
        let recorder: Arc<dyn MetricsRecorder> = Arc::new(HeldUp { reached, release: Mutex::new(held) });
        group.raft().set_metrics_recorder(Some(recorder)).await.expect("it runs");
        group.raft().external_request(|_| panic!("on purpose")).await.expect("it runs");
        tokio::task::spawn_blocking(move || waiting.recv()).await.expect("no panic").expect("the core ends");

        let request = wire::vote_request(&rig::vote_request(2));
        let mut first = Box::pin(group.answer(NodeId(2), Call::Vote, request.clone()));
        assert!(futures::poll!(first.as_mut()).is_pending(), "it waits for the end of the core's task");
        drop(first);
        release.send(()).expect("it is held up");

        assert_eq!(group.answer(NodeId(2), Call::Vote, request).await.status, Status::Stopped);
        assert_eq!(group.read_index().await, Err(ReadIndexError::Stopped));
        assert_eq!(group.stop().await, Err(()), "it had panicked");
    }

    #[tokio::test]
    async fn a_call_that_was_not_begun_is_never_made() {
        let keeper = Keeper::start::<crate::engine::runtime::TokioRuntime>();
        let made = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = made.clone();
        drop(keeper.call(async move { flag.store(true, std::sync::atomic::Ordering::Relaxed) }));
        keeper.call(async {}).await;
        drop(keeper);
        assert_eq!(Arc::strong_count(&made), 1, "it was dropped, not kept");
        assert!(!made.load(std::sync::atomic::Ordering::Relaxed));
    }
}
