//! A watch that wakes its receivers in the order in which they began to wait.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll, Waker};

use quorate::runtime::watch::{RecvError, SendError};
use quorate::runtime::{OptionalSend, OptionalSync, Watch, WatchReceiver, WatchSender};

/// Watches whose wake order is the same in every run; tokio's wake in random order.
#[derive(Debug)]
pub struct SimWatch;

#[derive(Default)]
struct Waiting {
    version: u64,
    senders: usize,
    receivers: usize,
    waiters: BTreeMap<u64, Waker>,
    next: u64,
}

struct Shared<T> {
    value: RwLock<T>,
    waiting: Mutex<Waiting>,
}

impl<T> Shared<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> SimRef<'_, T> {
        SimRef(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn wake(&self, change: impl FnOnce(&mut Waiting)) {
        let waiters = {
            let mut waiting = self.waiting();
            change(&mut waiting);
            std::mem::take(&mut waiting.waiters)
        };
        waiters.into_values().for_each(Waker::wake);
    }
}

/// Looks at the value; it cannot change meanwhile.
pub struct SimRef<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for SimRef<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Sets the value.
pub struct SimSender<T>(Arc<Shared<T>>);

/// Sees the newest value.
pub struct SimReceiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Clone for SimSender<T> {
    fn clone(&self) -> Self {
        self.0.waiting().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for SimSender<T> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.senders -= 1;
        if waiting.senders == 0 {
            drop(waiting);
            self.0.wake(|_| ());
        }
    }
}

impl<T> Clone for SimReceiver<T> {
    fn clone(&self) -> Self {
        self.shared.waiting().receivers += 1;
        Self { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Drop for SimReceiver<T> {
    fn drop(&mut self) {
        self.shared.waiting().receivers -= 1;
    }
}

impl Watch for SimWatch {
    type Sender<T: OptionalSend + OptionalSync> = SimSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = SimReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = SimRef<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (SimSender<T>, SimReceiver<T>) {
        let waiting = Waiting { senders: 1, receivers: 1, ..Waiting::default() };
        let shared = Arc::new(Shared { value: RwLock::new(init), waiting: Mutex::new(waiting) });
        (SimSender(shared.clone()), SimReceiver { shared, seen: 0 })
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<SimWatch, T> for SimSender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.waiting().receivers == 0 {
            return Err(SendError(value));
        }
        *self.0.value.write().unwrap_or_else(PoisonError::into_inner) = value;
        self.0.wake(|waiting| waiting.version += 1);
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let modified = modify(&mut self.0.value.write().unwrap_or_else(PoisonError::into_inner));
        if modified {
            self.0.wake(|waiting| waiting.version += 1);
        }
        modified
    }

    fn borrow_watched(&self) -> SimRef<'_, T> {
        self.0.look()
    }

    fn subscribe(&self) -> SimReceiver<T> {
        let mut waiting = self.0.waiting();
        waiting.receivers += 1;
        SimReceiver { shared: self.0.clone(), seen: waiting.version }
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<SimWatch, T> for SimReceiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        Changed { receiver: self, waiter: None }.await
    }

    fn borrow_watched(&self) -> SimRef<'_, T> {
        self.shared.look()
    }

    fn borrow_and_update(&mut self) -> SimRef<'_, T> {
        self.seen = self.shared.waiting().version;
        self.shared.look()
    }
}

/// A wait for the next change. Leaves nothing behind when it is dropped.
struct Changed<'a, T> {
    receiver: &'a mut SimReceiver<T>,
    waiter: Option<u64>,
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut waiting = this.receiver.shared.waiting();
        if waiting.version != this.receiver.seen {
            this.receiver.seen = waiting.version;
            return Poll::Ready(Ok(()));
        }
        if waiting.senders == 0 {
            return Poll::Ready(Err(RecvError(())));
        }
        let waiter = *this.waiter.get_or_insert_with(|| {
            waiting.next += 1;
            waiting.next
        });
        waiting.waiters.insert(waiter, cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.receiver.shared.waiting().waiters.remove(&waiter);
        }
    }
}
