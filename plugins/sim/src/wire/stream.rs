//! The two halves of a stream, as the transport contract wants them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Sink;
use quorate::error::TransportError;
use quorate::transport::{Duplex, MAX_FRAME_BYTES};

use super::Wire;
use super::hub::Hub;
use super::pipe::Item;
use crate::moment::Moment;
use crate::runtime::{SimSleep, time};

/// How many bytes a direction takes before its sender has to wait.
const QUEUE_BYTES: usize = 1 << 20;

pub(super) fn reset() -> TransportError {
    TransportError::Reset { source: None }
}

/// The halves of the end `side` of a stream.
pub(super) fn halves(wire: &Wire, stream: u64, side: usize) -> Duplex {
    let tx = Sender { wire: wire.clone(), stream, side };
    let rx = Receiver { wire: wire.clone(), stream, side, timer: None, ended: false };
    Duplex::new(tx, rx)
}

struct Sender {
    wire: Wire,
    stream: u64,
    side: usize,
}

impl Sender {
    /// Whether this end is there. Of its peer's end it learns only what arrives from there.
    fn check(&self, hub: &Hub) -> Result<(), TransportError> {
        let pipe = hub.streams.get(&self.stream).map(|stream| &stream.pipes[self.side]).ok_or_else(reset)?;
        if pipe.sender_done { Err(reset()) } else { Ok(()) }
    }
}

impl Sink<Bytes> for Sender {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut hub = self.wire.lock();
        self.check(&hub)?;
        let Some(stream) = hub.streams.get_mut(&self.stream) else { return Poll::Ready(Err(reset())) };
        let pipe = &mut stream.pipes[self.side];
        if pipe.queued_bytes >= QUEUE_BYTES {
            pipe.sender = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, frame: Bytes) -> Result<(), TransportError> {
        assert!(!frame.is_empty(), "a frame has at least one byte");
        if frame.len() > MAX_FRAME_BYTES {
            return Err(TransportError::FrameTooLong { len: frame.len(), max: MAX_FRAME_BYTES });
        }
        let mut hub = self.wire.lock();
        self.check(&hub)?;
        hub.send(self.stream, self.side, Item::Frame { bytes: frame, sent: time() });
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(self.check(&self.wire.lock()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut hub = self.wire.lock();
        if hub.streams.get(&self.stream).is_some_and(|stream| !stream.pipes[self.side].sender_done) {
            hub.send(self.stream, self.side, Item::Close);
            if let Some(stream) = hub.streams.get_mut(&self.stream) {
                stream.pipes[self.side].sender_done = true;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let woken = self.wire.lock().drop_sender(self.stream, self.side);
        woken.wake();
    }
}

struct Receiver {
    wire: Wire,
    stream: u64,
    side: usize,
    /// Until something arrives, or the stream is given up.
    timer: Option<(Duration, SimSleep)>,
    /// `None` or an error was returned: nothing comes any more.
    ended: bool,
}

enum Next {
    At(Duration),
    Never,
    Now(Option<Result<Bytes, TransportError>>),
}

impl Receiver {
    fn next(&self, hub: &mut Hub, cx: &mut Context<'_>) -> Next {
        let (now, into) = (time(), 1 - self.side);
        let blocked = hub.blocked_since(self.stream, into);
        let (limit, id) = (hub.idle_limit, self.stream);
        let Some(stream) = hub.streams.get_mut(&id) else { return Next::Now(Some(Err(reset()))) };
        let pipe = &mut stream.pipes[into];
        if pipe.receiver_done {
            return Next::Now(Some(Err(reset())));
        }
        pipe.receiver = Some(cx.waker().clone());
        if let Some(since) = blocked {
            if now < since + limit {
                return Next::At(since + limit);
            }
            hub.events.idle += 1;
            return Next::Now(Some(Err(reset())));
        }
        let Some((due, _)) = pipe.queue.front() else { return Next::Never };
        if *due > now {
            return Next::At(*due);
        }
        Next::Now(self.arrived(hub, now))
    }

    fn arrived(&self, hub: &mut Hub, now: Duration) -> Option<Result<Bytes, TransportError>> {
        let pipe = &mut hub.streams.get_mut(&self.stream)?.pipes[1 - self.side];
        let (item, from, to, dead) = (pipe.pop()?, pipe.from, pipe.to, pipe.silent_since.is_some());
        let sender = pipe.sender.take();
        let received = match item {
            Item::Frame { bytes: frame, sent } => {
                hub.events.frames += 1;
                hub.events.posthumous += u64::from(dead);
                hub.trace.mark(now, "frame", to, &(from, sent, &frame));
                hub.trace.record(now, || Moment::Frame { from, to, bytes: frame.len(), sent });
                Some(Ok(frame))
            }
            Item::Close => None,
            Item::Reset => {
                hub.events.resets += 1;
                Some(Err(reset()))
            }
        };
        // Only schedules a task; the lock is not taken in it.
        sender.into_iter().for_each(std::task::Waker::wake);
        received
    }
}

impl futures::Stream for Receiver {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            let next = this.next(&mut this.wire.lock(), cx);
            let at = match next {
                Next::Never => return Poll::Pending,
                Next::Now(received) => {
                    this.ended = !matches!(received, Some(Ok(_)));
                    if matches!(received, Some(Err(_))) {
                        this.wire.lock().fail(this.stream, this.side).wake();
                    }
                    return Poll::Ready(received);
                }
                Next::At(at) => at,
            };
            if this.timer.as_ref().is_none_or(|(set, _)| *set != at) {
                this.timer = Some((at, SimSleep::exactly(at.saturating_sub(time()))));
            }
            let Some((_, sleep)) = &mut this.timer else { return Poll::Pending };
            if Pin::new(sleep).poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.timer = None;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let woken = self.wire.lock().drop_receiver(self.stream, self.side);
        woken.wake();
    }
}
