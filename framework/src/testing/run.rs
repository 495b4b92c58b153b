//! Runs one case on a thread of its own, within a limit.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

type Note = Arc<Mutex<String>>;

thread_local! {
    /// What the case on this thread is doing, for the report if it never ends.
    static NOTE: RefCell<Option<Note>> = const { RefCell::new(None) };
}

/// Says what the case on this thread does next, in words that follow `the last thing it did was to`.
pub(super) fn doing(what: impl Into<String>) {
    NOTE.with_borrow(|note| {
        if let Some(note) = note {
            *note.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
        }
    });
}

/// Runs `body`; panics as it does, or when it takes longer than `limit`.
///
/// A case that hangs cannot be stopped from outside: its thread is left behind, and ends with the
/// process.
pub(super) fn run(case: &str, limit: Duration, body: impl FnOnce() + Send + 'static) {
    let (running, ended) = mpsc::channel::<()>();
    let note = Note::default();
    let noted = note.clone();
    #[allow(clippy::disallowed_methods, reason = "a case that hangs must not hang the test with it")]
    let thread = thread::Builder::new()
        .name(case.to_owned())
        .spawn(move || {
            // Dropped at the end of the case, and when it panics.
            let _running = running;
            NOTE.set(Some(noted));
            body();
        })
        .expect("a thread for the case");
    match ended.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => {
            let note = note.lock().unwrap_or_else(PoisonError::into_inner);
            let last = if note.is_empty() { "begin" } else { &note };
            panic!(
                "conformance case `{case}` did not end within {limit:?}: the last thing it did was to {last}"
            )
        }
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
    }
    if let Err(panic) = thread.join() {
        eprintln!(
            "conformance case `{case}` failed; what it asks for is in its documentation and its source"
        );
        resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_case_that_panics_or_hangs_fails() {
        run("passes", Duration::from_mins(1), || ());
        let panics = catch_unwind(|| run("panics", Duration::from_mins(1), || panic!("on purpose")));
        assert_eq!(panics.expect_err("fails").downcast_ref(), Some(&"on purpose"));

        let (forever, never) = mpsc::channel::<()>();
        let hangs = catch_unwind(|| {
            run("hangs", Duration::from_millis(200), move || {
                doing("wait for ever");
                never.recv().expect("never");
            });
        });
        let text = hangs.expect_err("fails").downcast_ref::<String>().cloned();
        assert_eq!(
            text.as_deref(),
            Some(
                "conformance case `hangs` did not end within 200ms: the last thing it did was to wait for ever"
            )
        );
        drop(forever);
    }
}
