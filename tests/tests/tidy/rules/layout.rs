//! What lies where.

use std::collections::BTreeSet;

use crate::tree::{Finding, Rule, Tree, flags, none};

/// The root is a front door: what every visitor sees first.
fn root_is_a_front_door(tree: &Tree) -> Vec<Finding> {
    const RULE: Rule = Rule {
        rule: "the root holds the manifests, the documents, the licences and the six folders of the design",
        fix: "put it into the folder that it belongs to; plans and notes belong outside the repository",
    };
    const ALLOWED: [&str; 17] = [
        "Cargo.toml",
        "Cargo.lock",
        "framework",
        "macros",
        "plugins",
        "examples",
        "benches",
        "tests",
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "rust-toolchain.toml",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
    ];
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for file in &tree.files {
        let entry = file.path.split('/').next().unwrap_or_default();
        if !entry.starts_with('.') && !ALLOWED.contains(&entry) && seen.insert(entry) {
            findings.push(RULE.finding(file, 0, format!("`{entry}` in the root")));
        }
    }
    findings
}

/// A folder says what it owns.
fn folders_are_described(tree: &Tree) -> Vec<Finding> {
    const RULE: Rule = Rule {
        rule: "mod.rs, lib.rs and main.rs begin with `//!`",
        fix: "say in the first lines what the folder owns, and what it does not",
    };
    let roots = ["mod.rs", "lib.rs", "main.rs"];
    tree.rust()
        // Snippets that must not compile are shown whole in their messages.
        .filter(|file| roots.contains(&file.name()) && !file.path.contains("/tests/ui/"))
        .filter(|file| !["//! ", "#![doc = include_str!("].iter().any(|begin| file.text.starts_with(begin)))
        .map(|file| RULE.finding(file, 0, "begins without a description"))
        .collect()
}

/// Paths that exist on one machine only, each in two parts, or this file would have them.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Nothing points at the machine it was written on.
fn no_machine_paths(tree: &Tree) -> Vec<Finding> {
    const RULE: Rule = Rule {
        rule: "no absolute path of a developer's machine",
        fix: "use a path from the root of the repository, or a temporary folder",
    };
    let mut findings = Vec::new();
    for file in &tree.files {
        for path in MACHINE_PATHS {
            for (offset, _) in file.text.match_indices(path) {
                // In the middle of a longer path or an address it is somebody else's folder.
                let before = file.text[..offset].chars().next_back();
                if before.is_none_or(|c| !c.is_alphanumeric() && !"/._-$}~".contains(c)) {
                    findings.push(RULE.finding(file, offset, format!("`{path}`")));
                }
            }
        }
    }
    findings
}

#[test]
fn the_root_is_a_front_door() {
    none(&root_is_a_front_door(&Tree::here()));
    let tree = Tree::of(&[
        (".ci/run", ""),
        ("PLAN.md", ""),
        ("README.md", ""),
        ("notes/a.md", ""),
        ("notes/b.md", ""),
    ]);
    flags(&root_is_a_front_door(&tree), &[("PLAN.md", 1), ("notes/a.md", 1)]);
}

#[test]
fn every_folder_is_described() {
    none(&folders_are_described(&Tree::here()));
    let tree = Tree::of(&[("a/mod.rs", "mod b;\n"), ("b/lib.rs", "//! B.\n"), ("c/d.rs", "\n")]);
    flags(&folders_are_described(&tree), &[("a/mod.rs", 1)]);
}

#[test]
fn no_file_points_at_a_machine() {
    none(&no_machine_paths(&Tree::here()));
    let [work, root, home, users] = MACHINE_PATHS;
    let text = format!("a\nopen(\"{work}x\")\nhttps://a.b{home}c\n{root}y {users}\n");
    flags(&no_machine_paths(&Tree::of(&[("a.md", &text)])), &[("a.md", 2), ("a.md", 4), ("a.md", 4)]);
}
