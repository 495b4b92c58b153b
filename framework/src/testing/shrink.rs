//! Random sequences that are shrunk when they fail.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use super::Seeded;

/// How long the search for a shorter sequence may take, in ms: much less than a case may.
const SHRINK_MS: u32 = 20_000;

/// What one attempt did, a line a step. Kept outside of the attempt, so that it is there after a
/// panic.
pub(super) type Script = RefCell<Vec<String>>;

/// Draws `count` sequences of steps and attempts each.
///
/// # Panics
/// When an attempt fails, after looking for a shorter sequence that fails too: with what was wrong,
/// the steps of the shortest, and how to replay them.
pub(super) fn sequences<T: Debug + Clone>(
    count: u32,
    strategy: &impl Strategy<Value = Vec<T>>,
    attempt: impl Fn(&[T], &Script) -> Result<(), String>,
) {
    let seed = Seeded::announced_seed();
    let config = Config {
        cases: count,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_time: SHRINK_MS,
        max_shrink_iters: u32::MAX,
        ..Config::default()
    };
    let script = Script::default();
    // How many were attempted until one failed, and how long that one was.
    let (number, length, all_passed) = (Cell::new(0_u32), Cell::new(0), Cell::new(true));
    let result = TestRunner::new(config).run(strategy, |steps| {
        script.borrow_mut().clear();
        let so_far = all_passed.replace(false);
        if so_far {
            number.set(number.get() + 1);
            length.set(steps.len());
        }
        attempt(&steps, &script).map_err(TestCaseError::fail)?;
        all_passed.set(so_far);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("the kit itself could not draw a sequence: {reason}"),
        Err(TestError::Fail(wrong, steps)) => {
            let (wrong, steps) = with_fewer(wrong.to_string(), steps, |steps| {
                script.borrow_mut().clear();
                catch_unwind(AssertUnwindSafe(|| attempt(steps, &script)))
            });
            // Once more, for its script: the last one attempted may have been a shorter one that passed.
            script.borrow_mut().clear();
            let again = match catch_unwind(AssertUnwindSafe(|| attempt(&steps, &script))) {
                Ok(Ok(())) => "\n(It passed when it was tried once more: it depends on timing too.)",
                Ok(Err(_)) | Err(_) => "",
            };
            let script = script.borrow();
            let lines =
                script.iter().enumerate().map(|(place, line)| format!("  {:>2}. {line}\n", place + 1));
            panic!(
                "{wrong}\n\nThe fewest steps found that show it (sequence {} of {count} had {}):\n{}{again}\n\
                 seed {seed}: replay with {}={seed}\n",
                number.get(),
                length.get(),
                lines.collect::<String>(),
                Seeded::SEED_VARIABLE,
            )
        }
    }
}

/// Takes out every step without which `steps` still fail: the search makes steps simpler after it has
/// tried to do without them, and then more of them may be of no use.
fn with_fewer<T: Clone>(
    mut wrong: String,
    mut steps: Vec<T>,
    attempt: impl Fn(&[T]) -> thread::Result<Result<(), String>>,
) -> (String, Vec<T>) {
    let mut place = 0;
    while place < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(place);
        match attempt(&fewer) {
            Ok(Err(other)) => (wrong, steps, place) = (other, fewer, 0),
            // What panicked before panics in the same words.
            Err(_) => (steps, place) = (fewer, 0),
            Ok(Ok(())) => place += 1,
        }
    }
    (wrong, steps)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;

    use super::*;

    #[test]
    fn a_sequence_that_fails_is_told_in_its_fewest_steps() {
        // Wrong is a 7 with anything but another 7 behind it.
        let attempt = |steps: &[u8], script: &Script| {
            for pair in steps.windows(2) {
                script.borrow_mut().push(format!("{pair:?}"));
                if pair[0] == 7 && pair[1] != 7 {
                    return Err(format!("{} follows 7", pair[1]));
                }
            }
            Ok(())
        };
        let search = || sequences(200, &vec(0_u8..10, 1..50), attempt);
        let text = catch_unwind(search).expect_err("it is found").downcast_ref::<String>().cloned();
        let text = text.expect("a message");
        assert!(text.starts_with("0 follows 7\n\nThe fewest steps found that show it (sequence "), "{text}");
        assert!(text.contains("):\n   1. [7, 0]\n\nseed "), "{text}");
    }

    #[test]
    fn sequences_that_pass_are_all_attempted() {
        let attempts = Cell::new(0);
        sequences(12, &vec(0_u8..10, 1..50), |_, _| {
            attempts.set(attempts.get() + 1);
            Ok(())
        });
        assert_eq!(attempts.get(), 12);
    }
}
