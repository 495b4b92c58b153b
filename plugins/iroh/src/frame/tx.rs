//! The sending half.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures::Sink;
use iroh::endpoint::SendStream;
use quorate::error::TransportError;
use quorate::transport::MAX_FRAME_BYTES;

use super::{Closed, LENGTH_BYTES};
use crate::error::{StreamError, StreamFailure};
use crate::wire::{code, quic_code};

/// How many bytes may be queued before the sink wants to write them.
const QUEUE_BYTES: usize = 64 << 10;
/// Up to this length a frame is copied into the batch: cheaper than a segment of its own, which
/// QUIC would copy anyhow when it is shorter than a packet.
const COPY_BYTES: usize = 4 << 10;

/// Frames into a QUIC stream. Queued frames go out together. Dropped without being closed, it
/// resets the stream: a QUIC stream on its own would finish it, and the peer would take what it
/// got for all there was.
#[derive(Debug)]
pub(crate) struct FrameTx {
    send: SendStream,
    /// Short frames and the lengths of long ones, not yet a chunk.
    batch: BytesMut,
    /// What is to be written, from `written` on.
    chunks: Vec<Bytes>,
    written: usize,
    /// The bytes in `batch` and `chunks`.
    queued: usize,
    failure: Option<StreamFailure>,
    finished: bool,
    closed: Closed,
}

impl FrameTx {
    pub(crate) fn new(send: SendStream, closed: Closed) -> Self {
        Self {
            send,
            batch: BytesMut::new(),
            chunks: Vec::new(),
            written: 0,
            queued: 0,
            failure: None,
            finished: false,
            closed,
        }
    }

    fn queue(&mut self, frame: Bytes) {
        let len = frame.len();
        self.batch.put_u32_le(len as u32);
        if len <= COPY_BYTES {
            self.batch.extend_from_slice(&frame);
        } else {
            self.chunks.push(self.batch.split().freeze());
            self.chunks.push(frame);
        }
        self.queued += LENGTH_BYTES + len;
    }

    /// Writes everything queued.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.check()?;
        if !self.batch.is_empty() {
            self.chunks.push(self.batch.split().freeze());
        }
        while self.written < self.chunks.len() {
            let mut rest = &mut self.chunks[self.written..];
            let before = rest.len();
            let wrote = ready!(pin!(self.send.write_many_chunks(&mut rest)).poll(cx));
            let done = before - rest.len();
            match wrote {
                Ok(bytes) => {
                    self.written += done;
                    self.queued -= bytes;
                }
                Err(error) => return Poll::Ready(Err(self.fail(error.into()))),
            }
        }
        self.chunks.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn check(&self) -> Result<(), TransportError> {
        match &self.failure {
            Some(failure) => Err(failure.report(self.closed.is_set())),
            None => Ok(()),
        }
    }

    fn fail(&mut self, failure: StreamFailure) -> TransportError {
        self.chunks.clear();
        self.batch.clear();
        (self.written, self.queued) = (0, 0);
        let error = failure.report(self.closed.is_set());
        self.failure = Some(failure);
        error
    }

    fn reset(&mut self, code: u32) {
        // Fails when the stream or its connection has ended anyhow.
        let _ = self.send.reset(quic_code(code));
    }
}

impl Sink<Bytes> for FrameTx {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let this = self.get_mut();
        if this.queued < QUEUE_BYTES {
            return Poll::Ready(this.check());
        }
        this.poll_write(cx)
    }

    fn start_send(self: Pin<&mut Self>, frame: Bytes) -> Result<(), TransportError> {
        let this = self.get_mut();
        this.check()?;
        let (failure, code) = match frame.len() {
            0 => (StreamFailure::Reset(StreamError::EmptyFrame), code::EMPTY_FRAME),
            len if len > MAX_FRAME_BYTES => (StreamFailure::TooLong { len }, code::FRAME_TOO_LONG),
            _ => {
                this.queue(frame);
                return Ok(());
            }
        };
        this.reset(code);
        Err(this.fail(failure))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.get_mut().poll_write(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let this = self.get_mut();
        if this.finished {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_write(cx))?;
        this.finished = true;
        // Fails when the peer has stopped the stream: it wanted no more of it.
        let _ = this.send.finish();
        this.failure = Some(StreamFailure::Reset(StreamError::Ended));
        Poll::Ready(Ok(()))
    }
}

impl Drop for FrameTx {
    fn drop(&mut self) {
        if !self.finished {
            self.reset(code::ABANDONED);
        }
    }
}
