//! What Rust sources may not contain.

use crate::code::{closing, code_only, is_word, test_items, words};
use crate::tree::{File, Finding, Rule, Tree, flags, none};

/// Nothing is left for later.
fn nothing_is_left_for_later(tree: &Tree) -> Vec<Finding> {
    const RULE: Rule = Rule {
        rule: "no stub, no debug print, no note to self",
        fix: "finish it, or take it out and say in the changelog or the documentation what is missing",
    };
    const MACROS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
    // In two parts, or this file would have them.
    const NOTES: [&str; 2] = [concat!("FIX", "ME"), concat!("X", "XX")];
    let mut findings = Vec::new();
    for file in tree.rust() {
        let code = code_only(&file.text);
        for stub in MACROS {
            let found = code.match_indices(stub).map(|(at, _)| at);
            let found = found.filter(|at| *at == 0 || !is_word(code.as_bytes()[at - 1]));
            findings.extend(found.map(|at| RULE.finding(file, at, format!("`{stub}`"))));
        }
        for note in NOTES {
            findings.extend(words(&file.text, note).map(|at| RULE.finding(file, at, format!("`{note}`"))));
        }
    }
    findings
}

/// Tests that may be ignored: the file and the reason.
const MAY_IGNORE: &[(&str, &str)] = &[(
    "framework/src/testing/storage/mod.rs",
    "where a plugin author's harness cannot cut the power, the kit says of each crash case that it did not run",
)];

/// Every test that is written is run.
fn every_test_runs(tree: &Tree) -> Vec<Finding> {
    const RULE: Rule = Rule {
        rule: "no ignored test, and no ignored example in a document",
        fix: "make it fast and reliable and run it, or delete it; mark text that is not Rust as `text`",
    };
    // In two parts, or this file would have it.
    const EXAMPLE: &str = concat!("```", "ignore");
    let mut findings = Vec::new();
    for file in tree.rust() {
        let code = code_only(&file.text);
        for (at, _) in code.match_indices("#[") {
            let attribute = &code[at..closing(&code, at + 1)];
            let allowed = MAY_IGNORE.iter().any(|(path, _)| *path == file.path);
            if words(attribute, "ignore").next().is_some() && !allowed {
                findings.push(RULE.finding(file, at, format!("`{attribute}`")));
            }
        }
        findings.extend(
            file.text.match_indices(EXAMPLE).map(|(at, _)| RULE.finding(file, at, format!("`{EXAMPLE}`"))),
        );
    }
    findings
}

/// Tests that may sleep: the file and the reason.
const MAY_SLEEP: &[(&str, &str)] = &[
    ("framework/src/engine/send_snapshot.rs", "its time is paused, and it sleeps as long as a disk takes"),
    (
        "plugins/redb/tests/storage/disk_full.rs",
        "it gives the storage a clock of its own in the place of the one that sleeps",
    ),
    ("plugins/sim/src/runtime/tests.rs", "it tests sleeping itself, and its time is simulated"),
];

/// A sleep in a test is a race that is lost on a busy machine.
fn tests_do_not_sleep(tree: &Tree, may_sleep: &[(&str, &str)]) -> Vec<Finding> {
    const RULE: Rule = Rule {
        rule: "no sleep in a test",
        fix: "wait for a named condition with a limit; a file with a good reason goes into `MAY_SLEEP` with it",
    };
    let mut findings = Vec::new();
    for file in tree.rust() {
        let found = sleeps(file);
        let allowed = may_sleep.iter().any(|(path, _)| *path == file.path);
        if allowed && found.is_empty() {
            findings.push(RULE.finding(
                file,
                0,
                "is in `MAY_SLEEP` and does not sleep: take it off the list",
            ));
        } else if !allowed {
            findings.extend(found.into_iter().map(|at| RULE.finding(file, at, "sleeps")));
        }
    }
    findings
}

/// Every call of something named `sleep` in the tests of `file`.
fn sleeps(file: &File) -> Vec<usize> {
    let code = code_only(&file.text);
    let path = format!("/{}", file.path);
    let all =
        ["/tests/", "/testing/"].iter().any(|folder| path.contains(folder)) || file.name() == "tests.rs";
    let tests = test_items(&code);
    ["sleep", "sleep_until"]
        .iter()
        .flat_map(|name| words(&code, name).map(move |at| (at, at + name.len())))
        .filter(|(at, end)| code[*end..].starts_with(['(', ':']) && !code[..*at].ends_with("fn "))
        .filter(|(at, _)| all || tests.iter().any(|range| range.contains(at)))
        .map(|(at, _)| at)
        .collect()
}

#[test]
fn nothing_in_the_sources_is_left_for_later() {
    none(&nothing_is_left_for_later(&Tree::here()));
    let note = format!("// {}: later\n", concat!("FIX", "ME"));
    let tree = Tree::of(&[
        (
            "a.rs",
            "fn a() { todo!() }\n// todo!()\nfn b() { unimplemented!(\"c\") }\nlet d = \"dbg!(e)\"; dbg!(f);\n",
        ),
        ("b.rs", &note),
        ("c.md", &note),
    ]);
    flags(&nothing_is_left_for_later(&tree), &[("a.rs", 1), ("a.rs", 3), ("a.rs", 4), ("b.rs", 1)]);
}

#[test]
fn every_test_that_is_written_runs() {
    let here = Tree::here();
    none(&every_test_runs(&here));
    for (path, reason) in MAY_IGNORE {
        assert!(!reason.is_empty(), "`MAY_IGNORE` has no reason for {path}");
        assert!(here.files.iter().any(|file| file.path == *path), "`MAY_IGNORE` lists {path}, which is gone");
    }
    let tree = Tree::of(&[
        ("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n#[cfg_attr(b, ignore)]\nfn ignore() {}\n"),
        ("b.rs", concat!("/// ```", "ignore\n/// a\n/// ```\nfn a() {}\n/// ```text\n")),
    ]);
    flags(&every_test_runs(&tree), &[("a.rs", 2), ("a.rs", 4), ("b.rs", 1)]);
}

#[test]
fn no_test_sleeps() {
    let here = Tree::here();
    none(&tests_do_not_sleep(&here, MAY_SLEEP));
    for (path, reason) in MAY_SLEEP {
        assert!(!reason.is_empty(), "`MAY_SLEEP` has no reason for {path}");
        assert!(here.files.iter().any(|file| file.path == *path), "`MAY_SLEEP` lists {path}, which is gone");
    }

    let library =
        "fn a() { rt::sleep(b) }\n#[cfg(test)]\nmod tests {\n    fn c() { std::thread::sleep(d) }\n}\n";
    let tree = Tree::of(&[
        ("plugins/a/src/lib.rs", library),
        ("tests/tests/b.rs", "use tokio::time::sleep;\n// sleep(1)\nsleep(c).await;\nfn sleep() {}\n"),
        ("framework/src/d/tests.rs", "time::sleep_until(e).await;\n"),
    ]);
    let places = [("plugins/a/src/lib.rs", 4), ("tests/tests/b.rs", 3), ("framework/src/d/tests.rs", 1)];
    flags(&tests_do_not_sleep(&tree, &[]), &places);
    let stale = [("tests/tests/b.rs", "because"), ("tests/tests/c.rs", "because")];
    let tree = Tree::of(&[("tests/tests/b.rs", "sleep(c)"), ("tests/tests/c.rs", "\n")]);
    flags(&tests_do_not_sleep(&tree, &stale), &[("tests/tests/c.rs", 1)]);
}
