//! The receipt for a write: used once, when the write would survive a power cut.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::oneshot;

use crate::error::StorageError;

type Notify = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// A receipt that must be used exactly once. Dropping it unused reports a failure, so that a write
/// which a plugin forgot is never taken for a durable one. `Send`, not `Sync`.
///
/// That it is used no more than once its type sees to:
///
/// ```compile_fail,E0382
/// # let (flushed, _receipt) = quorate::storage::Flushed::pair();
/// flushed.durable();
/// flushed.durable();
/// ```
pub struct Flushed(Option<Notify>);

impl Flushed {
    /// A receipt that calls `notify` when it is used or dropped.
    pub fn new(notify: impl FnOnce(Result<(), StorageError>) + Send + 'static) -> Self {
        Self(Some(Box::new(notify)))
    }

    /// A receipt nobody waits for.
    pub fn ignored() -> Self {
        Self(None)
    }

    /// A receipt, and a future that resolves when it is used.
    pub fn pair() -> (Self, Receipt) {
        let (tx, rx) = oneshot::channel();
        // The waiter may have gone away: then nobody needs to know.
        (Self::new(move |result| drop(tx.send(result))), Receipt(rx))
    }

    /// The write and everything queued before it would survive a power cut.
    pub fn durable(mut self) {
        self.notify(Ok(()));
    }

    /// The write failed. The node stops.
    pub fn failed(mut self, error: StorageError) {
        self.notify(Err(error));
    }

    fn notify(&mut self, result: Result<(), StorageError>) {
        if let Some(notify) = self.0.take() {
            notify(result);
        }
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        self.notify(Err(StorageError::ReceiptDropped));
    }
}

impl fmt::Debug for Flushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flushed({})", if self.0.is_some() { "unused" } else { "used" })
    }
}

/// Resolves when the receipt it came with is used.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<(), StorageError>>);

impl Future for Receipt {
    type Output = Result<(), StorageError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|sent| sent.unwrap_or(Err(StorageError::ReceiptDropped)))
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_dropped_receipt_reports_a_failure() {
        let (flushed, receipt) = Flushed::pair();
        drop(flushed);
        assert!(matches!(block_on(receipt), Err(StorageError::ReceiptDropped)));
    }

    #[test]
    fn a_used_receipt_reports_once() {
        let (flushed, receipt) = Flushed::pair();
        flushed.durable();
        assert!(block_on(receipt).is_ok());
    }
}
