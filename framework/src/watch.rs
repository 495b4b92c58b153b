//! A value that can be watched, on any runtime.
//!
//! Waiters wake in the order in which they began to wait, so that a simulation is reproducible;
//! `tokio::sync::watch` wakes them in random order.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

struct State<T> {
    value: T,
    version: u64,
    closed: bool,
    /// Who waits, by when they began to.
    waiters: BTreeMap<u64, Waker>,
    next_waiter: u64,
}

/// Sets a value that [`Watcher`]s see. Dropping it ends their waits.
pub struct Watched<T>(Arc<Mutex<State<T>>>);

/// Sees the newest value of a [`Watched`].
pub struct Watcher<T> {
    state: Arc<Mutex<State<T>>>,
    seen: u64,
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Clone> Watched<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(State {
            value,
            version: 0,
            closed: false,
            waiters: BTreeMap::new(),
            next_waiter: 0,
        })))
    }

    /// Replaces the value and wakes every waiter; does nothing when it is the same.
    pub fn set(&self, value: T)
    where
        T: PartialEq,
    {
        let waiters = {
            let mut state = lock(&self.0);
            if state.value == value {
                return;
            }
            state.value = value;
            state.version += 1;
            std::mem::take(&mut state.waiters)
        };
        waiters.into_values().for_each(Waker::wake);
    }

    /// Changes the value in place and wakes every waiter if it differs afterwards.
    pub fn update(&self, change: impl FnOnce(&mut T))
    where
        T: PartialEq,
    {
        let waiters = {
            let mut state = lock(&self.0);
            let before = state.value.clone();
            change(&mut state.value);
            if state.value == before {
                return;
            }
            state.version += 1;
            std::mem::take(&mut state.waiters)
        };
        waiters.into_values().for_each(Waker::wake);
    }

    /// The value now.
    pub fn get(&self) -> T {
        lock(&self.0).value.clone()
    }

    /// Looks at the value now, without a copy of it. `look` must not touch this value in any other
    /// way: it is locked.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&lock(&self.0).value)
    }

    /// A watcher that has seen the value as it is now.
    pub fn watch(&self) -> Watcher<T> {
        let seen = lock(&self.0).version;
        Watcher { state: self.0.clone(), seen }
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        let waiters = {
            let mut state = lock(&self.0);
            state.closed = true;
            std::mem::take(&mut state.waiters)
        };
        waiters.into_values().for_each(Waker::wake);
    }
}

impl<T: Clone> Watcher<T> {
    /// A watcher of a value that never changes.
    pub fn fixed(value: T) -> Self {
        Watched::new(value).watch()
    }

    /// The value now.
    pub fn get(&self) -> T {
        lock(&self.state).value.clone()
    }

    /// Waits until the value differs from the one last returned by this method (or seen when the
    /// watcher was made), and returns it. `None` when it can change no more.
    pub fn changed(&mut self) -> impl Future<Output = Option<T>> + Send + use<'_, T>
    where
        T: Send,
    {
        Changed { watcher: self, waiter: None }
    }

    /// Waits until `wanted` holds and returns the value; `None` when it can change no more.
    pub async fn until(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Option<T>
    where
        T: Send,
    {
        let now = self.get();
        if wanted(&now) {
            return Some(now);
        }
        while let Some(value) = self.changed().await {
            if wanted(&value) {
                return Some(value);
            }
        }
        None
    }
}

/// A wait for the next change. Leaves nothing behind when it is dropped.
struct Changed<'a, T> {
    watcher: &'a mut Watcher<T>,
    waiter: Option<u64>,
}

impl<T: Clone> Future for Changed<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let mut state = lock(&this.watcher.state);
        if state.version != this.watcher.seen {
            this.watcher.seen = state.version;
            return Poll::Ready(Some(state.value.clone()));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        let waiter = *this.waiter.get_or_insert_with(|| {
            state.next_waiter += 1;
            state.next_waiter
        });
        state.waiters.insert(waiter, cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            lock(&self.watcher.state).waiters.remove(&waiter);
        }
    }
}

impl<T> Clone for Watcher<T> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), seen: self.seen }
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&lock(&self.0).value).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Watcher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watcher").field(&lock(&self.state).value).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_wait_that_is_given_up_leaves_nothing_behind() {
        let watched = Watched::new(1);
        let mut watcher = watched.watch();
        for _ in 0..3 {
            let mut cx = Context::from_waker(Waker::noop());
            let mut wait = std::pin::pin!(watcher.changed());
            assert!(wait.as_mut().poll(&mut cx).is_pending());
            assert_eq!(lock(&watched.0).waiters.len(), 1);
        }
        assert!(lock(&watched.0).waiters.is_empty());
    }

    #[test]
    fn a_watcher_sees_a_change_once_and_the_end() {
        let watched = Watched::new(1);
        let mut watcher = watched.watch();
        watched.set(1);
        watched.set(2);
        assert_eq!(block_on(watcher.changed()), Some(2));
        assert_eq!(block_on(watcher.until(|value| *value == 2)), Some(2));
        drop(watched);
        assert_eq!(block_on(watcher.changed()), None);
    }
}
