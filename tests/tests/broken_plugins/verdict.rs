//! What a case says of a plugin.

use std::panic::catch_unwind;

/// How a case ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    Passed,
    /// It found something wrong.
    Failed(String),
    /// It waited for what never came.
    Hung(String),
}

type Cases = Vec<(&'static str, fn())>;

/// Runs the case of this name.
pub(crate) fn verdict(cases: &Cases, name: &str) -> Verdict {
    let case = cases.iter().find(|(case, _)| *case == name);
    let (_, case) = case.unwrap_or_else(|| panic!("the kit has no case `{name}`"));
    let Err(panic) = catch_unwind(case) else { return Verdict::Passed };
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
    if text.contains("did not end within") { Verdict::Hung(text) } else { Verdict::Failed(text) }
}

/// Fails unless each of the named cases finds something wrong, and says these words about it.
/// Returns what the first says.
pub(crate) fn assert_fails(cases: Cases, expected: &[(&str, &str)]) -> String {
    let mut said = Vec::new();
    for (name, words) in expected {
        match verdict(&cases, name) {
            Verdict::Failed(text) => {
                assert!(text.contains(words), "`{name}` fails, and does not say `{words}`: {text}");
                said.push(text);
            }
            other => panic!("`{name}` should have failed: {other:?}"),
        }
    }
    said.swap_remove(0)
}

/// Fails unless the named case waits for what never comes, and says this about what it was doing.
pub(crate) fn assert_hangs(cases: Cases, name: &str, words: &str) {
    match verdict(&cases, name) {
        Verdict::Hung(text) => {
            assert!(text.contains(words), "`{name}` hangs, and does not say `{words}`: {text}");
        }
        other => panic!("`{name}` should have hung: {other:?}"),
    }
}
