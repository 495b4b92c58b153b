//! Panics that a report tells of: they are kept, and printed by nobody. What panics once is run many
//! times while it is made smaller.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use super::finding::Panicked;

/// A panic as it was seen. To put a backtrace into words takes long, and most are not told.
struct Seen {
    place: String,
    message: String,
    backtrace: Backtrace,
}

thread_local! {
    /// On a thread whose panics are kept: those there were.
    static SEEN: RefCell<Option<Vec<Seen>>> = const { RefCell::new(None) };
}

/// Why something failed, thrown where there is no `Result` for it.
pub(crate) struct Failed(pub(crate) String);

/// From now on the panics of this thread are kept. Every other goes where it went before.
pub(crate) fn keep() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            let kept = SEEN.try_with(|kept| match &mut *kept.borrow_mut() {
                None => false,
                Some(kept) => {
                    kept.push(seen(info));
                    true
                }
            });
            if !kept.unwrap_or(false) {
                before(info);
            }
        }));
    });
    SEEN.set(Some(Vec::new()));
}

/// The first panic of this thread that was kept and not told yet: the cause of those after it.
pub(crate) fn first() -> Panicked {
    let kept = SEEN.with_borrow_mut(|kept| kept.as_mut().map(std::mem::take)).unwrap_or_default();
    match kept.into_iter().next() {
        Some(Seen { place, message, backtrace }) => {
            let captured = backtrace.status() == BacktraceStatus::Captured;
            Panicked {
                place,
                message,
                backtrace: if captured { backtrace.to_string() } else { String::new() },
            }
        }
        // Another hook was set meanwhile.
        None => Panicked {
            place: "an unknown place".to_owned(),
            message: "another panic hook took the message".to_owned(),
            backtrace: String::new(),
        },
    }
}

/// What `call` returns, or where it panicked and what it said. On a thread whose panics are not kept it
/// is printed as well.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    let before = SEEN.with_borrow(|kept| kept.as_ref().map(Vec::len));
    let ended = catch_unwind(AssertUnwindSafe(call));
    if ended.is_ok() {
        // Whoever caught one inside has told it.
        SEEN.with_borrow_mut(|kept| {
            if let (Some(kept), Some(before)) = (kept, before) {
                kept.truncate(before);
            }
        });
    }
    ended.map_err(|panic| {
        let seen = SEEN.with_borrow_mut(|kept| {
            let mut since = kept.as_mut()?.drain(before?..);
            let first = since.next();
            drop(since);
            first
        });
        match seen {
            Some(Seen { place, message, .. }) => format!("panicked at {place}: {message}"),
            None => format!("panicked: {}", crate::observe::panic_text(&*panic)),
        }
    })
}

fn seen(info: &PanicHookInfo<'_>) -> Seen {
    let place =
        info.location().map_or_else(String::new, |at| format!("{}:{}", of_crate(at.file()), at.line()));
    let failed = info.payload().downcast_ref().map(|Failed(why)| &**why);
    let message = info.payload_as_str().or(failed).unwrap_or("no message").to_owned();
    Seen { place, message, backtrace: Backtrace::capture() }
}

/// A file as its crate has it: without where this machine keeps the crates of others.
fn of_crate(file: &str) -> &str {
    let cached = file.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/'));
    cached.map_or(file, |(_index, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_another_crate_says_which() {
        assert_eq!(of_crate("cargo/registry/src/index-1949/redb-4.6.0/src/db.rs"), "redb-4.6.0/src/db.rs");
        assert_eq!(of_crate("plugins/sim/src/lib.rs"), "plugins/sim/src/lib.rs");
    }

    #[test]
    fn what_is_caught_is_told_once_and_what_came_before_it_stays() {
        let told = std::thread::spawn(|| {
            keep();
            let _ = catch_unwind(|| panic!("one"));
            let caught = guarded(|| -> () { panic!("two {}", 2) });
            (caught, first().message, first().message)
        });
        let (caught, one, nothing) = told.join().expect("nothing is left to panic");
        let caught = caught.expect_err("it panics");
        assert!(caught.starts_with(&format!("panicked at {}:", file!())), "{caught}");
        assert!(caught.ends_with(": two 2"), "{caught}");
        assert_eq!((&*one, &*nothing), ("one", "another panic hook took the message"));
    }
}
