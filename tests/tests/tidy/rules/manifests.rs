//! Who may depend on whom, as cargo reads the manifests.

use std::process::Command;

use serde_json::{Value, json};

use crate::tree::{Finding, Rule, Tree, flags, none, root};

/// The packages of the workspace, as `cargo metadata` describes them.
pub(super) fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs: it runs this test");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    match metadata["packages"].take() {
        Value::Array(packages) if !packages.is_empty() => packages,
        other => panic!("cargo metadata lists no packages: {other}"),
    }
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The packages that are never published, and may therefore use any plugin.
const UNPUBLISHED: [&str; 3] = ["quorate-examples", "quorate-benches", "quorate-tests"];
/// In two parts, or this file would name it.
const ENGINE: &str = concat!("open", "raft");

/// The one plugin that uses another: what the simulator runs is a node as it is shipped, with the
/// default storage on a disk that is simulated. Nothing depends on the simulator in turn.
const SIMULATOR_AND_STORAGE: (&str, &str) = ("quorate-sim", "quorate-redb");

/// Why `package` may not depend on `dependency`; `None` when it may.
fn refusal(members: &[&str], package: &Value, dependency: &Value) -> Option<Rule> {
    let (name, wanted) = (text(package, "name"), text(dependency, "name"));
    if (name, wanted) == SIMULATOR_AND_STORAGE {
        return None;
    }
    let plugin = text(package, "manifest_path").replace('\\', "/").contains("/plugins/");
    if plugin && members.contains(&wanted) && wanted != "quorate" {
        return Some(Rule {
            rule: "a plugin depends on `quorate` and on no other crate of the workspace, for its tests either; only the simulator runs the default storage",
            fix: "move what both need into `quorate`, and tests over two plugins into tests/",
        });
    }
    if wanted.starts_with("quorate-") && wanted != "quorate-macros" && !UNPUBLISHED.contains(&name) {
        return Some(Rule {
            rule: "only examples/, benches/ and tests/ depend on plugins",
            fix: "take the plugin as a value of its trait",
        });
    }
    if wanted == "iroh" && !["quorate-iroh", "quorate-examples"].contains(&name) {
        return Some(Rule {
            rule: "iroh and its hundreds of crates are a dependency of plugins/iroh and examples/ only",
            fix: "use what `quorate-iroh` offers, or let it offer more",
        });
    }
    let exact = text(dependency, "req").starts_with('=');
    // The simulator's bench is beside one of the bare engine: for development alone.
    let bench = name == "quorate-sim" && text(dependency, "kind") == "dev";
    if wanted == ENGINE && (!exact || !(bench || ["quorate", "quorate-benches"].contains(&name))) {
        return Some(Rule {
            rule: "the consensus engine is a dependency of framework/ and of benches only, and of one exact version",
            fix: "depend on `quorate`; pin the engine with `=` in the root's Cargo.toml",
        });
    }
    None
}

fn dependencies_are_few(tree: &Tree, packages: &[Value]) -> Vec<Finding> {
    let members: Vec<&str> = packages.iter().map(|package| text(package, "name")).collect();
    let mut findings = Vec::new();
    for package in packages {
        let path = text(package, "manifest_path").replace('\\', "/");
        let file = tree.files.iter().find(|file| {
            file.name() == "Cargo.toml"
                && file.path.contains('/')
                && path.ends_with(&format!("/{}", file.path))
        });
        let file = file.unwrap_or_else(|| panic!("{path} is not in the tree"));
        for dependency in package["dependencies"].as_array().expect("a list") {
            let Some(rule) = refusal(&members, package, dependency) else { continue };
            let wanted = text(dependency, "name");
            let offset = file.text.find(&format!("\n{wanted}")).map_or(0, |at| at + 1);
            findings.push(rule.finding(file, offset, format!("depends on `{wanted}`")));
        }
    }
    findings
}

/// Lints are shared, and a package that forgets to say so has none.
fn lints_are_shared(tree: &Tree) -> Vec<Finding> {
    const RULE: Rule = Rule {
        rule: "every package takes the lints of the workspace",
        fix: "add `[lints]` with `workspace = true`",
    };
    tree.files
        .iter()
        .filter(|file| file.name() == "Cargo.toml" && file.text.contains("[package]"))
        .filter(|file| !file.text.contains("[lints]\nworkspace = true"))
        .map(|file| RULE.finding(file, 0, "has no shared lints"))
        .collect()
}

#[test]
fn dependencies_go_one_way() {
    none(&dependencies_are_few(&Tree::here(), &packages()));

    let package = |name: &str, path: &str, dependencies: &[(&str, &str)]| {
        let dependencies: Vec<Value> =
            dependencies.iter().map(|(name, req)| json!({ "name": name, "req": req })).collect();
        let path = format!("/x/{path}/Cargo.toml");
        json!({ "name": name, "manifest_path": path, "dependencies": dependencies })
    };
    let packages = [
        package(
            "quorate",
            "framework",
            &[("quorate-macros", "^0.1"), (ENGINE, "=0.10.0"), ("quorate-redb", "*")],
        ),
        package("quorate-macros", "macros", &[("syn", "^3"), ("iroh", "^1")]),
        package(
            "quorate-redb",
            "plugins/redb",
            &[("quorate", "^0.1"), ("quorate-macros", "^0.1"), ("redb", "^4")],
        ),
        package("quorate-iroh", "plugins/iroh", &[("quorate", "^0.1"), ("iroh", "^1"), (ENGINE, "=0.10.0")]),
        package(
            "quorate-sim",
            "plugins/sim",
            &[("quorate", "^0.1"), ("quorate-redb", "^0.1"), ("quorate-iroh", "^0.1")],
        ),
        package("quorate-tests", "tests", &[("quorate", "^0.1"), ("quorate-redb", "^0.1")]),
        package("quorate-benches", "benches", &[(ENGINE, "^0.10.0")]),
    ];
    let manifest = |name: &str| format!("[dependencies]\nsyn.workspace = true\n{name}.workspace = true\n");
    let tree = Tree::of(&[
        ("Cargo.toml", ""),
        ("framework/Cargo.toml", &manifest("quorate-redb")),
        ("macros/Cargo.toml", &manifest("iroh")),
        ("plugins/redb/Cargo.toml", &manifest("quorate-macros")),
        ("plugins/iroh/Cargo.toml", &manifest(ENGINE)),
        ("plugins/sim/Cargo.toml", &manifest("quorate-iroh")),
        ("tests/Cargo.toml", ""),
        ("benches/Cargo.toml", &manifest(ENGINE)),
    ]);
    let places = ["framework", "macros", "plugins/redb", "plugins/iroh", "plugins/sim", "benches"];
    let places = places.map(|folder| format!("{folder}/Cargo.toml"));
    flags(&dependencies_are_few(&tree, &packages), &places.each_ref().map(|path| (path.as_str(), 3)));
}

#[test]
fn every_package_has_the_shared_lints() {
    none(&lints_are_shared(&Tree::here()));
    let tree = Tree::of(&[
        ("Cargo.toml", "[workspace]\n"),
        ("a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n"),
        ("b/Cargo.toml", "[package]\n\n[lints.rust]\n"),
    ]);
    flags(&lints_are_shared(&tree), &[("b/Cargo.toml", 1)]);
}
