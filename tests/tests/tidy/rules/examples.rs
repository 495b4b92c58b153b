//! What CI runs of the examples.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::manifests::{packages, text};
use crate::tree::{File, Finding, Rule, Tree, flags, none};

const LIST: &str = ".ci/examples";
const RULE: Rule = Rule {
    rule: "every example is run to its end in CI, as .ci/examples says, and it lists no other",
    fix: "add or correct its line in .ci/examples",
};

fn examples_are_run(tree: &Tree, packages: &[Value]) -> Vec<Finding> {
    let missing = File { path: LIST.to_owned(), text: String::new() };
    let list = tree.files.iter().find(|file| file.path == LIST).unwrap_or(&missing);
    let targets = packages.iter().filter_map(|package| package["targets"].as_array()).flatten();
    let examples = targets.filter(|target| target["kind"] == json!(["example"]));
    let mut unlisted: BTreeSet<&str> = examples.map(|target| text(target, "name")).collect();

    let mut findings = Vec::new();
    let mut offset = 0;
    for line in list.text.split_inclusive('\n') {
        if let Some(why) = mistake(tree, line.trim_end(), &mut unlisted) {
            findings.push(RULE.finding(list, offset, why));
        }
        offset += line.len();
    }
    findings.extend(unlisted.iter().map(|name| RULE.finding(list, 0, format!("`{name}` is not listed"))));
    findings
}

fn mistake(tree: &Tree, line: &str, unlisted: &mut BTreeSet<&str>) -> Option<String> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut fields = line.splitn(3, '|');
    let (Some(name), Some(how), Some(what)) = (fields.next(), fields.next(), fields.next()) else {
        return Some(format!("`{line}` has not three fields"));
    };
    if !unlisted.remove(name) {
        return Some(format!("`{name}` is no example, or stands here twice"));
    }
    if how == "test" {
        let exists = tree.files.iter().any(|file| file.path == what);
        return (!exists).then(|| format!("`{what}` does not exist"));
    }
    if how.parse::<u32>().is_err() || what.is_empty() {
        return Some(format!("`{line}` has no seconds, or no last line to check"));
    }
    None
}

#[test]
fn every_example_is_run() {
    none(&examples_are_run(&Tree::here(), &packages()));

    let example = |name: &str| json!({ "name": name, "kind": ["example"] });
    let targets = ["counter", "fleet", "kv", "slow", "lost"].map(example);
    let packages = [json!({ "name": "examples", "targets": targets })];
    let list = "# A comment.\ncounter|60|^the count is\nfleet|60|\nkv|test|tests/kv.rs\nslow|soon|done\ncounter|1|a\nb\n";
    let tree = Tree::of(&[(LIST, list), ("tests/fleet.rs", "")]);
    let at = |line| (LIST, line);
    flags(&examples_are_run(&tree, &packages), &[at(3), at(4), at(5), at(6), at(7), at(1)]);
    flags(&examples_are_run(&Tree::of(&[]), &packages[..]), &[at(1); 5]);
}
