//! Tells when the writer has released the directory, to a task or to a thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use quorate::watch::Watched;

#[derive(Default)]
struct State {
    writer: Option<ThreadId>,
    done: bool,
}

/// Whether the writer has ended.
pub(crate) struct Done {
    state: Mutex<State>,
    changed: Condvar,
    watched: Watched<bool>,
}

impl Done {
    /// Not yet.
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), watched: Watched::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer runs, on this thread.
    pub(super) fn begin(&self) {
        self.lock().writer = Some(thread::current().id());
    }

    /// The writer has ended.
    pub(super) fn finish(&self) {
        self.lock().done = true;
        self.changed.notify_all();
        self.watched.set(true);
    }

    /// Waits for the end.
    pub(crate) async fn wait(&self) {
        let mut watcher = self.watched.watch();
        watcher.until(|done| *done).await;
    }

    /// Waits for the end on this thread, unless it is the writer's own, where a receipt dropped
    /// the storage: the writer ends by itself after that.
    pub(crate) fn wait_on_this_thread(&self) {
        let mut state = self.lock();
        while !state.done && state.writer != Some(thread::current().id()) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
