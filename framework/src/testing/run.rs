//! Runs one case on a thread of its own, within a limit.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What a case is doing, and how many times it has said so.
type Note = Arc<Mutex<(u64, String)>>;

thread_local! {
    /// What the case on this thread is doing, for the report.
    static NOTE: RefCell<Option<Note>> = const { RefCell::new(None) };
}

fn read(note: &Note) -> (u64, String) {
    note.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Says what the case on this thread does next, in words that follow `the last thing it did was to`.
pub(super) fn doing(what: impl Into<String>) {
    NOTE.with_borrow(|note| {
        if let Some(note) = note {
            let mut note = note.lock().unwrap_or_else(PoisonError::into_inner);
            *note = (note.0 + 1, what.into());
        }
    });
}

/// Runs `body`; panics as it does, or when it takes longer than `limit`, or when a thing that it said
/// it does takes longer than a quarter of that.
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
    if let Err(waited) = wait(&ended, limit, &note) {
        let (said, last) = read(&note);
        let last = if said == 0 { "begin" } else { &last };
        panic!(
            "conformance case `{case}` did not end within {waited:?}: it hangs, or is too slow for the `LIMIT` of its \
             harness; the last thing it did was to {last}"
        );
    }
    if let Err(panic) = thread.join() {
        let (said, last) = read(&note);
        if said > 0 {
            eprintln!("conformance case `{case}` failed; the last thing it did was to {last}");
        }
        eprintln!("what `{case}` asks for is said in its documentation, in `quorate::testing`");
        resume_unwind(panic);
    }
}

/// Waits for the end of a case. Fails with how long it was waited for.
fn wait(ended: &mpsc::Receiver<()>, limit: Duration, note: &Note) -> Result<(), Duration> {
    let begun = Instant::now();
    let mut last = (0, begun);
    loop {
        match ended.recv_timeout(limit / 40) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let said = read(note).0;
        if said != last.0 {
            last = (said, Instant::now());
        }
        // A case that says nothing has the whole limit.
        if said > 0 && last.1.elapsed() > limit / 4 {
            return Err(limit / 4);
        }
        if begun.elapsed() > limit {
            return Err(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_case_that_panics_or_hangs_fails() {
        run("passes", Duration::from_mins(1), || ());
        let panics = catch_unwind(|| run("panics", Duration::from_mins(1), || panic!("on purpose")));
        assert_eq!(panics.expect_err("fails").downcast_ref(), Some(&"on purpose"));

        let hangs = |limit: Duration, noted: bool| {
            let (forever, never) = mpsc::channel::<()>();
            let run = || {
                run("hangs", limit, move || {
                    if noted {
                        doing("wait for ever");
                    }
                    never.recv().expect("never");
                });
            };
            let text =
                catch_unwind(AssertUnwindSafe(run)).expect_err("fails").downcast_ref::<String>().cloned();
            drop(forever);
            text.expect("a message")
        };
        let text = "it hangs, or is too slow for the `LIMIT` of its harness; the last thing it did was to";
        let silent = format!("conformance case `hangs` did not end within 200ms: {text} begin");
        assert_eq!(hangs(Duration::from_millis(200), false), silent);
        // A quarter of the limit is enough for one thing.
        let noted = format!("conformance case `hangs` did not end within 1s: {text} wait for ever");
        assert_eq!(hangs(Duration::from_secs(4), true), noted);
    }
}
