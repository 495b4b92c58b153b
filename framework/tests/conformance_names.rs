//! Every case that the contract names exists in its kit.

use quorate::testing::{state_machine, storage, transport};

/// The names in backquotes in the `# Conformance` sections of a source file.
fn named(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in source.lines() {
        let Some(doc) = line.trim_start().strip_prefix("///") else {
            inside = false;
            continue;
        };
        match doc.trim() {
            "# Conformance" => inside = true,
            other if other.starts_with("# ") => inside = false,
            _ if inside => names.extend(doc.split('`').skip(1).step_by(2)),
            _ => {}
        }
    }
    // The macro that runs the kit is named beside the cases.
    names.retain(|name| !name.starts_with("quorate::"));
    names
}

fn assert_all_exist<'a>(source: &str, cases: impl Iterator<Item = &'a str>, at_least: usize) {
    let cases: Vec<&str> = cases.collect();
    let named = named(source);
    assert!(named.len() >= at_least, "only {named:?} was found in the contract");
    for name in &named {
        assert!(cases.contains(name), "the contract names `{name}`, which is no case of the kit");
    }
    for case in &cases {
        assert!(named.contains(case), "the contract does not name the case `{case}`");
    }
}

#[test]
fn the_storage_contract_names_every_case() {
    let source =
        [include_str!("../src/storage/mod.rs"), include_str!("../src/storage/snapshot.rs")].join("\n");
    assert_all_exist(&source, storage::cases(), 40);
}

#[test]
fn the_transport_contract_names_every_case() {
    assert_all_exist(include_str!("../src/transport/mod.rs"), transport::cases(), 20);
}

#[test]
fn the_state_machine_contract_names_every_case() {
    assert_all_exist(include_str!("../src/state_machine/mod.rs"), state_machine::cases(), 9);
}
