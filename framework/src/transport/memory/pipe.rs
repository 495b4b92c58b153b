//! One direction of a stream: a queue of frames over a link.
//!
//! What an end does travels like a frame: over a link that is cut, neither a close nor a reset
//! arrives, and the other end is left half-open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::links::Link;
use crate::error::TransportError;
use crate::transport::MAX_FRAME_BYTES;

/// How a sender has ended its direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// In good order: the frames queued still arrive.
    Closed,
    /// Not so: they do not.
    Reset,
}

/// Which ends of a pipe a fault is felt at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Sender,
    Receiver,
    Both,
}

struct Item {
    frame: Bytes,
    /// The delay of the link, begun when the frame was sent.
    due: Option<BoxFuture<'static, ()>>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    queued_bytes: usize,
    /// What the sender has said; travels over the link.
    end: Option<End>,
    /// The delay of a close.
    end_due: Option<BoxFuture<'static, ()>>,
    /// The receiver listens no more; travels over the link back.
    deaf: bool,
    /// An end was told, by its own transport, that the stream is gone.
    sender_failed: bool,
    receiver_failed: bool,
    /// Nothing crosses any more, whatever becomes of the link.
    silent: bool,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

pub(super) struct Pipe {
    link: Arc<Link>,
    back: Arc<Link>,
    /// A sender waits when this many bytes are queued.
    queue_bytes: usize,
    state: Mutex<State>,
}

fn reset() -> TransportError {
    TransportError::Reset { source: None }
}

impl Pipe {
    /// A pipe over `link`, known to both links so that their faults reach it.
    pub(super) fn new(link: &Arc<Link>, back: &Arc<Link>, queue_bytes: usize) -> Arc<Self> {
        let pipe = Arc::new(Self {
            link: link.clone(),
            back: back.clone(),
            queue_bytes,
            state: Mutex::new(State::default()),
        });
        link.carry(&pipe, true);
        back.carry(&pipe, false);
        pipe
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the sender knows that nobody listens: until the link back lets it know, what it
    /// sends queues up, as in the buffers of a real network.
    fn sender_is_told(&self, state: &State) -> bool {
        state.sender_failed || (state.deaf && !state.silent && !self.back.is_blocked())
    }

    /// Changes the state and wakes both ends afterwards.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let (sender, receiver) = {
            let mut state = self.lock();
            change(&mut state);
            (state.sender.take(), state.receiver.take())
        };
        sender.into_iter().chain(receiver).for_each(Waker::wake);
    }

    /// Lets both ends look again: a link has changed.
    pub(super) fn wake(&self) {
        self.change(|_| ());
    }

    /// Fails the ends named at once, and tells the other end, as far as the link lets it.
    pub(super) fn fail(&self, side: Side) {
        self.change(|state| {
            if side != Side::Receiver {
                state.sender_failed = true;
                state.reset_by_sender();
            }
            if side != Side::Sender {
                state.receiver_failed = true;
                state.deaf = true;
            }
        });
    }

    /// Lets nothing cross any more: neither frames nor the news of an end.
    pub(super) fn silence(&self) {
        self.change(|state| state.silent = true);
    }

    pub(super) fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut state = self.lock();
        if state.end.is_some() || self.sender_is_told(&state) {
            return Poll::Ready(Err(reset()));
        }
        if state.queued_bytes < self.queue_bytes {
            return Poll::Ready(Ok(()));
        }
        state.sender = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn send(&self, frame: Bytes) -> Result<(), TransportError> {
        // Made outside the lock: it is the test's own code.
        let due = self.link.delay(frame.len());
        let receiver = {
            let mut state = self.lock();
            if state.end.is_some() || self.sender_is_told(&state) {
                return Err(reset());
            }
            state.queued_bytes += frame.len();
            state.queue.push_back(Item { frame, due });
            state.receiver.take()
        };
        receiver.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Whether the stream still stands, as far as the sender can know.
    pub(super) fn check(&self) -> Result<(), TransportError> {
        let state = self.lock();
        if state.end == Some(End::Reset) || self.sender_is_told(&state) {
            return Err(reset());
        }
        Ok(())
    }

    pub(super) fn close(&self) -> Result<(), TransportError> {
        self.check()?;
        let due = self.link.delay(0);
        self.change(|state| {
            if state.end.is_none() {
                state.end = Some(End::Closed);
                state.end_due = due;
            }
        });
        Ok(())
    }

    /// The sender is dropped: unless it was closed before, this is a reset.
    pub(super) fn drop_sender(&self) {
        self.change(|state| {
            if state.end.is_none() {
                state.reset_by_sender();
            }
        });
    }

    /// The receiver is dropped.
    pub(super) fn drop_receiver(&self) {
        self.change(State::stop_listening);
    }

    /// The next frame; `None` after a close. The caller asks no more after an error or `None`.
    pub(super) fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportError>>> {
        let mut state = self.lock();
        if state.receiver_failed {
            return Poll::Ready(Some(Err(reset())));
        }
        state.receiver = Some(cx.waker().clone());
        if state.silent || self.link.is_blocked() {
            return Poll::Pending;
        }
        if state.end == Some(End::Reset) {
            return Poll::Ready(Some(Err(reset())));
        }
        let State { queue, end, end_due, .. } = &mut *state;
        let due = match queue.front_mut() {
            Some(item) => &mut item.due,
            None if *end == Some(End::Closed) => end_due,
            None => return Poll::Pending,
        };
        if let Some(delay) = due {
            if delay.poll_unpin(cx).is_pending() {
                return Poll::Pending;
            }
            *due = None;
        }
        let Some(item) = state.queue.pop_front() else { return Poll::Ready(None) };
        let len = item.frame.len();
        state.queued_bytes -= len;
        let received = if len > MAX_FRAME_BYTES {
            state.stop_listening();
            Err(TransportError::FrameTooLong { len, max: MAX_FRAME_BYTES })
        } else {
            Ok(item.frame)
        };
        let sender = state.sender.take();
        drop(state);
        sender.into_iter().for_each(Waker::wake);
        Poll::Ready(Some(received))
    }
}

impl State {
    /// Frames on their way are lost with the stream, as a reset of a real one loses them.
    fn reset_by_sender(&mut self) {
        self.end = Some(End::Reset);
        self.queue.clear();
        self.queued_bytes = 0;
    }

    fn stop_listening(&mut self) {
        self.deaf = true;
        self.queue.clear();
        self.queued_bytes = 0;
    }
}
