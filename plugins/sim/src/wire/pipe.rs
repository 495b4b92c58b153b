//! One direction of a stream: what is on its way, and who waits for it.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

/// Something on its way.
#[derive(Debug)]
pub(super) enum Item {
    Frame {
        bytes: Bytes,
        sent: Duration,
    },
    /// The sender has closed in good order.
    Close,
    /// The sender is gone.
    Reset,
}

/// One direction of a stream.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) from: u64,
    pub(super) to: u64,
    /// What is on its way, and when it arrives. Never before what was sent earlier.
    pub(super) queue: VecDeque<(Duration, Item)>,
    pub(super) queued_bytes: usize,
    last_due: Duration,
    /// Nothing arrives any more since then: the sender is gone and nobody says so.
    pub(super) silent_since: Option<Duration>,
    /// The end that sends was closed, or is gone.
    pub(super) sender_done: bool,
    /// The end that receives has failed, or is gone.
    pub(super) receiver_done: bool,
    pub(super) sender: Option<Waker>,
    pub(super) receiver: Option<Waker>,
}

impl Pipe {
    pub(super) fn new(from: u64, to: u64) -> Self {
        Self {
            from,
            to,
            queue: VecDeque::new(),
            queued_bytes: 0,
            last_due: Duration::ZERO,
            silent_since: None,
            sender_done: false,
            receiver_done: false,
            sender: None,
            receiver: None,
        }
    }

    /// Sends `item` off, to arrive at `due` or right after what was sent before.
    pub(super) fn push(&mut self, due: Duration, item: Item) {
        if self.receiver_done || self.silent_since.is_some() {
            return;
        }
        if let Item::Frame { bytes, .. } = &item {
            self.queued_bytes += bytes.len();
        }
        self.last_due = due.max(self.last_due);
        self.queue.push_back((self.last_due, item));
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let (_, item) = self.queue.pop_front()?;
        if let Item::Frame { bytes, .. } = &item {
            self.queued_bytes -= bytes.len();
        }
        Some(item)
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
    }
}
