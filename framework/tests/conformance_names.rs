//! Contract and kit name each other: every bullet of a contract names a case, every case that a
//! contract names exists, and a contract names every case of its kit.

use quorate::testing::{durable_machine, state_machine, storage, transport};

/// What the `# Contract` and `# Conformance` sections of a source say.
#[derive(Debug, Default, PartialEq)]
struct Named<'a> {
    /// Each bullet of a contract, with the words in backquotes in it.
    bullets: Vec<(&'a str, Vec<&'a str>)>,
    /// The words in backquotes of the sections about conformance.
    listed: Vec<&'a str>,
}

#[derive(Clone, Copy)]
enum Section {
    Contract,
    Conformance,
    Other,
}

fn named(source: &str) -> Named<'_> {
    let mut named = Named::default();
    let mut section = Section::Other;
    for line in source.lines() {
        let Some(doc) = line.trim_start().strip_prefix("///") else {
            section = Section::Other;
            continue;
        };
        let doc = doc.trim();
        let words = doc.split('`').skip(1).step_by(2);
        match (doc, section) {
            ("# Contract", _) => section = Section::Contract,
            ("# Conformance", _) => section = Section::Conformance,
            (heading, _) if heading.starts_with("# ") => section = Section::Other,
            (_, Section::Conformance) => named.listed.extend(words),
            (bullet, Section::Contract) if bullet.starts_with("- ") => {
                named.bullets.push((bullet, words.collect()));
            }
            (_, Section::Contract) => {
                if let Some((_, all)) = named.bullets.last_mut() {
                    all.extend(words);
                }
            }
            (_, Section::Other) => {}
        }
    }
    // The macro that runs the kit is named beside the cases.
    named.listed.retain(|name| !name.starts_with("quorate::"));
    named
}

fn assert_they_agree<'a>(
    source: &str,
    cases: impl Iterator<Item = &'a str>,
    bullets: usize,
    at_least: usize,
) {
    let cases: Vec<&str> = cases.collect();
    assert!(cases.len() >= at_least, "the kit has only {} cases", cases.len());
    let named = named(source);
    assert!(named.bullets.len() >= bullets, "bullets: {:#?}", named.bullets);
    for (bullet, words) in &named.bullets {
        assert!(words.iter().any(|word| cases.contains(word)), "no case is named by the bullet {bullet:?}");
        // Other words in backquotes are methods; a case that is gone looks like a case.
        for word in words.iter().filter(|word| {
            word.matches('_').count() >= 2 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        }) {
            assert!(
                cases.contains(word),
                "the bullet {bullet:?} names `{word}`, which is no case of the kit"
            );
        }
    }
    for name in &named.listed {
        assert!(cases.contains(name), "the contract names `{name}`, which is no case of the kit");
    }
    for case in &cases {
        let in_bullets = named.bullets.iter().any(|(_, words)| words.contains(case));
        assert!(in_bullets || named.listed.contains(case), "the contract does not name the case `{case}`");
    }
}

#[test]
fn the_storage_contract_and_its_kit_name_each_other() {
    let source =
        [include_str!("../src/storage/mod.rs"), include_str!("../src/storage/snapshot.rs")].join("\n");
    assert_they_agree(&source, storage::cases(), 12, 50);
}

#[test]
fn the_transport_contract_and_its_kit_name_each_other() {
    assert_they_agree(include_str!("../src/transport/mod.rs"), transport::cases(), 7, 20);
}

#[test]
fn the_state_machine_contract_and_its_kit_name_each_other() {
    assert_they_agree(include_str!("../src/state_machine/mod.rs"), state_machine::cases(), 4, 10);
}

#[test]
fn the_contract_of_a_machine_on_a_disk_and_its_kit_name_each_other() {
    assert_they_agree(include_str!("../src/state_machine/durable.rs"), durable_machine::cases(), 13, 14);
}

#[test]
fn sections_and_bullets_are_told_apart() {
    let source = "/// `none`\n/// # Contract\n/// - One\n///   (`a_b_c`, `x`).\n/// - Two.\n///\n/// # Errors\n/// `no`\n\
                  /// # Conformance\n/// `quorate::it!`: `d`.\nfn f() {}\n/// `none`\n";
    let bullets = vec![("- One", vec!["a_b_c", "x"]), ("- Two.", vec![])];
    assert_eq!(named(source), Named { bullets, listed: vec!["d"] });
}
