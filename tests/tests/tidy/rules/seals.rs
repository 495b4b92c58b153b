//! What may name what.

use crate::code::{closing, code_only, is_word};
use crate::tree::{File, Finding, Rule, Tree, flags, none};

/// In two parts, or this file would name it.
const ENGINE: &str = concat!("open", "raft");

/// The consensus engine is named in one folder: its API breaks with every release.
fn engine_is_sealed(tree: &Tree) -> Vec<Finding> {
    const RULE: Rule = Rule {
        rule: "the consensus engine is named in framework/src/engine/, in benches/, in manifests and in markdown only",
        fix: "say `the engine`, and keep its types behind framework/src/engine/",
    };
    let allowed = |file: &File| {
        let folders = ["framework/src/engine/", "benches/", "plugins/sim/benches/"];
        folders.iter().any(|folder| file.path.starts_with(folder))
            || ["Cargo.toml", "Cargo.lock"].contains(&file.name())
            || file.has_extension("md")
    };
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| !allowed(file)) {
        for (offset, _) in file.text.to_ascii_lowercase().match_indices(ENGINE) {
            findings.push(RULE.finding(file, offset, format!("names `{ENGINE}`")));
        }
    }
    findings
}

/// The folders of the framework that others build on, and what they may not name.
fn layers(folder: &str) -> &'static [&'static str] {
    match folder {
        "types" => &[
            "client",
            "engine",
            "error",
            "node",
            "state_machine",
            "storage",
            "testing",
            "transport",
            "watch",
        ],
        "storage" | "transport" | "state_machine" | "error" => &["engine", "node"],
        _ => &[],
    }
}

/// Contracts do not know what is built on them.
fn layers_hold(tree: &Tree) -> Vec<Finding> {
    const RULE: Rule = Rule {
        rule: "types/ names no other folder; storage/, transport/, state_machine/ and error/ name neither node/ nor engine/",
        fix: "move what is shared down into types/, or the user of it up into node/ or engine/",
    };
    let mut findings = Vec::new();
    for file in tree.rust() {
        let Some(path) = file.path.strip_prefix("framework/src/") else { continue };
        let folder = path.split('/').next().unwrap_or_default();
        for (offset, path) in crate_paths(&code_only(&file.text)) {
            // The errors of a start include a wrong configuration, which is told with its fields.
            let told = folder == "error" && path.starts_with("node::config");
            let first = path.split("::").next().unwrap_or_default();
            if layers(folder).contains(&first) && !told {
                findings.push(RULE.finding(file, offset, format!("names `crate::{path}` from {folder}/")));
            }
        }
    }
    findings
}

/// Every path that begins with `crate::`, without the `crate::`; of a group, each path in it.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let path_at = |at: usize| {
        let length = code[at..].bytes().take_while(|byte| is_word(*byte) || *byte == b':').count();
        (at, code[at..at + length].to_owned())
    };
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let at = at + start.len();
        if code.as_bytes().get(at) != Some(&b'{') {
            found.push(path_at(at));
            continue;
        }
        let mut depth = 0;
        let mut begins = false;
        for inner in at..closing(code, at) {
            match code.as_bytes()[inner] {
                b'{' => (depth, begins) = (depth + 1, depth == 0),
                b'}' => depth -= 1,
                b',' => begins = depth == 1,
                byte if begins && is_word(byte) => {
                    found.push(path_at(inner));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn the_engine_is_named_in_its_folder_only() {
    none(&engine_is_sealed(&Tree::here()));
    let text = format!("//! One.\nuse {ENGINE}::Raft;\n");
    let allowed =
        ["framework/src/engine/mod.rs", "framework/Cargo.toml", "README.md", "benches/benches/rival.rs"];
    let tree =
        Tree::of(&[("framework/src/node/mod.rs", &text), ("clippy.toml", "# Open".to_owned().as_str())]);
    flags(&engine_is_sealed(&tree), &[("framework/src/node/mod.rs", 2)]);
    for path in allowed {
        flags(&engine_is_sealed(&Tree::of(&[(path, &text)])), &[]);
    }
}

#[test]
fn contracts_do_not_know_what_is_built_on_them() {
    none(&layers_hold(&Tree::here()));
    let tree = Tree::of(&[
        (
            "framework/src/storage/mod.rs",
            "//! See [`crate::node`].\nuse crate::types::LogId;\nuse crate::engine::Log;\n",
        ),
        (
            "framework/src/transport/rpc.rs",
            "use crate::{\n    types::Member,\n    error::{node, A},\n    node::Node,\n};\n",
        ),
        ("framework/src/types/ids.rs", "type A = crate::error::BoxError;\n"),
        (
            "framework/src/error/start.rs",
            "use crate::node::config::ConfigError;\nuse crate::node::handle::Handle;\n",
        ),
        ("framework/src/client/mod.rs", "use crate::node::handle::Handle;\n"),
    ]);
    flags(
        &layers_hold(&tree),
        &[
            ("framework/src/storage/mod.rs", 3),
            ("framework/src/transport/rpc.rs", 4),
            ("framework/src/types/ids.rs", 1),
            ("framework/src/error/start.rs", 2),
        ],
    );
}
