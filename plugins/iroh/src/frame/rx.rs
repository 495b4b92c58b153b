//! The receiving half.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use iroh::endpoint::RecvStream;
use quorate::error::TransportError;

use super::Closed;
use super::decode::{BadLength, Decoder};
use crate::error::{StreamError, StreamFailure};
use crate::wire::{code, quic_code};

/// How many chunks are taken from the connection under one lock: about a packet each.
const CHUNKS: usize = 32;

/// Frames out of a QUIC stream. Dropped before the peer finished, it tells the peer to stop.
#[derive(Debug)]
pub(crate) struct FrameRx {
    recv: RecvStream,
    /// Chunks taken and not used yet: `next..filled`.
    chunks: [Bytes; CHUNKS],
    next: usize,
    filled: usize,
    decoder: Decoder,
    /// Set with the end of the stream; after that there are no frames and no errors.
    ended: bool,
    closed: Closed,
}

impl FrameRx {
    pub(crate) fn new(recv: RecvStream, closed: Closed) -> Self {
        Self {
            recv,
            chunks: [const { Bytes::new() }; CHUNKS],
            next: 0,
            filled: 0,
            decoder: Decoder::default(),
            ended: false,
            closed,
        }
    }

    /// The next frame among the chunks at hand.
    fn next_buffered(&mut self) -> Result<Option<Bytes>, BadLength> {
        while self.next < self.filled {
            let chunk = &mut self.chunks[self.next];
            if chunk.is_empty() {
                // Frees the packet that the chunk is a slice of.
                *chunk = Bytes::new();
                self.next += 1;
            } else if let Some(frame) = self.decoder.next(chunk)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Takes more chunks; `false` when the peer has finished the stream.
    fn poll_chunks(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, StreamFailure>> {
        let read = pin!(self.recv.read_many_chunks(&mut self.chunks)).poll(cx);
        Poll::Ready(match ready!(read) {
            Ok(Some(filled)) => {
                (self.next, self.filled) = (0, filled);
                Ok(true)
            }
            Ok(None) if self.decoder.is_between_frames() => Ok(false),
            Ok(None) => Err(StreamFailure::Reset(StreamError::Truncated)),
            Err(error) => Err(error.into()),
        })
    }

    fn fail(&mut self, failure: &StreamFailure) -> Poll<Option<Result<Bytes, TransportError>>> {
        self.ended = true;
        self.chunks.fill(Bytes::new());
        Poll::Ready(Some(Err(failure.report(self.closed.is_set()))))
    }

    fn fail_length(&mut self, bad: BadLength) -> Poll<Option<Result<Bytes, TransportError>>> {
        let (failure, code) = match bad {
            BadLength::Empty => (StreamFailure::Reset(StreamError::EmptyFrame), code::EMPTY_FRAME),
            BadLength::TooLong(len) => (StreamFailure::TooLong { len }, code::FRAME_TOO_LONG),
        };
        // Fails when the stream has ended anyhow.
        let _ = self.recv.stop(quic_code(code));
        self.fail(&failure)
    }
}

impl Stream for FrameRx {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            match this.next_buffered() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) => {}
                Err(bad) => return this.fail_length(bad),
            }
            match ready!(this.poll_chunks(cx)) {
                Ok(more) => this.ended = !more,
                Err(failure) => return this.fail(&failure),
            }
        }
    }
}

impl Drop for FrameRx {
    fn drop(&mut self) {
        if !self.ended {
            // Fails when the stream was reset meanwhile.
            let _ = self.recv.stop(quic_code(code::ABANDONED));
        }
    }
}
