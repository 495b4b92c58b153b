//! The two halves of a stream, as the contract wants them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Sink, Stream};

use super::pipe::Pipe;
use crate::error::TransportError;
use crate::transport::MAX_FRAME_BYTES;

/// Where frames go in.
pub(super) struct Sender {
    pub(super) pipe: Arc<Pipe>,
    /// Whether the length of a frame is checked: not at a peer that is hostile on purpose.
    pub(super) checked: bool,
}

impl Sink<Bytes> for Sender {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.pipe.poll_send_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, frame: Bytes) -> Result<(), TransportError> {
        if self.checked {
            assert!(!frame.is_empty(), "a frame has at least one byte");
            if frame.len() > MAX_FRAME_BYTES {
                return Err(TransportError::FrameTooLong { len: frame.len(), max: MAX_FRAME_BYTES });
            }
        }
        self.pipe.send(frame)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(self.pipe.check())
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(self.pipe.close())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.pipe.drop_sender();
    }
}

/// Where frames come out.
pub(super) struct Receiver {
    pub(super) pipe: Arc<Pipe>,
    /// `None` or an error was returned: nothing comes any more.
    pub(super) ended: bool,
}

impl Stream for Receiver {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let received = self.pipe.poll_receive(cx);
        self.ended = matches!(received, Poll::Ready(None | Some(Err(_))));
        received
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.pipe.drop_receiver();
    }
}
