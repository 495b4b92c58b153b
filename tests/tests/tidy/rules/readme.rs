//! What the README tells a visitor to type.

use serde_json::{Value, json};

use super::manifests::{packages, text};
use crate::tree::{File, Finding, Rule, Tree, flags, none};

const RULE: Rule = Rule {
    rule: "every cargo command in README.md can be typed, and `cargo test` is one of them",
    fix: "correct the command, or add the example, test or feature that it names",
};

fn commands_exist(tree: &Tree, packages: &[Value]) -> Vec<Finding> {
    let Some(readme) = tree.files.iter().find(|file| file.path == "README.md") else {
        let missing = File { path: "README.md".to_owned(), text: String::new() };
        return vec![RULE.finding(&missing, 0, "is missing")];
    };
    let commands = commands(&readme.text);
    let aliases = aliases(tree);
    let mut findings = Vec::new();
    if !commands.iter().any(|(_, command)| command == "cargo test") {
        findings.push(RULE.finding(readme, 0, "does not show `cargo test`"));
    }
    for (offset, command) in commands {
        if let Some(why) = mistake(packages, &aliases, &command) {
            findings.push(RULE.finding(readme, offset, format!("`{command}`: {why}")));
        }
    }
    findings
}

/// Every cargo command, in code spans and at the beginning of a line.
fn commands(text: &str) -> Vec<(usize, String)> {
    let is_start = |at: usize| {
        let before = text[..at].trim_end_matches("$ ");
        before.is_empty() || before.ends_with(['\n', '`'])
    };
    let command = |at: usize| {
        let rest = &text[at..];
        let end = rest.find(['\n', '`', '#']).unwrap_or(rest.len());
        (at, rest[..end].trim().to_owned())
    };
    text.match_indices("cargo ").map(|(at, _)| at).filter(|at| is_start(*at)).map(command).collect()
}

/// The subcommands that `.cargo/config.toml` adds.
fn aliases(tree: &Tree) -> Vec<&str> {
    let config = tree.files.iter().find(|file| file.path == ".cargo/config.toml");
    let section = config.and_then(|config| config.text.split_once("[alias]\n")).map_or("", |(_, rest)| rest);
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim()).collect()
}

/// What `command` names that is not there.
fn mistake(packages: &[Value], aliases: &[&str], command: &str) -> Option<String> {
    const SUBCOMMANDS: [&str; 10] =
        ["add", "bench", "build", "check", "clippy", "doc", "fmt", "nextest", "run", "test"];
    let spaced = command.replace('=', " ");
    let words: Vec<&str> = spaced.split_whitespace().take_while(|word| *word != "--").collect();
    let subcommand = words.get(1).copied().unwrap_or_default();
    if !SUBCOMMANDS.contains(&subcommand) && !aliases.contains(&subcommand) {
        return Some(format!("no such subcommand as `{subcommand}`"));
    }
    if subcommand == "run" && !words.contains(&"--example") {
        return Some("there is nothing to run but examples".to_owned());
    }
    let target = |kind: &str, name: &str| {
        let targets = packages.iter().filter_map(|package| package["targets"].as_array()).flatten();
        let mut names = targets.filter(|target| target["kind"] == json!([kind]));
        names.any(|target| text(target, "name") == name)
    };
    words.windows(2).find_map(|pair| {
        let exists = match *pair {
            ["--example", name] => target("example", name),
            ["--test", name] => target("test", name),
            ["--bench", name] => target("bench", name),
            ["-p" | "--package", name] => packages.iter().any(|package| text(package, "name") == name),
            ["--features", names] => names
                .split(',')
                .all(|name| packages.iter().any(|package| package["features"].get(name).is_some())),
            _ => true,
        };
        (!exists).then(|| format!("`{}` does not exist", pair.join(" ")))
    })
}

#[test]
fn the_commands_in_the_readme_exist() {
    none(&commands_exist(&Tree::here(), &packages()));

    let targets = json!([{ "name": "counter", "kind": ["example"] }, { "name": "kill", "kind": ["test"] }]);
    let packages = [json!({ "name": "quorate", "targets": targets, "features": { "testing": [] } })];
    let text = "\
        Run `cargo run --release --example counter` or `cargo run`.\n\
        ```sh\n\
        $ cargo test --features testing # all\n\
        cargo test --test counter\n\
        cargo bench --bench=write\n\
        cargo test -p quorate --features tests -- --test-threads 1\n\
        cargo fly\n\
        cargo test\n\
        ```\n\
        A cargo of words.\n";
    let at = |line| ("README.md", line);
    flags(
        &commands_exist(&Tree::of(&[("README.md", text)]), &packages),
        &[at(1), at(4), at(5), at(6), at(7)],
    );
    let config = (".cargo/config.toml", "[alias]\nfly = \"run\"\n[build]\nsoar = []\n");
    let text = "```sh\ncargo test\ncargo fly --far\ncargo soar\n```\n";
    flags(&commands_exist(&Tree::of(&[("README.md", text), config]), &packages), &[at(4)]);
    flags(&commands_exist(&Tree::of(&[("README.md", "# A\n")]), &packages), &[at(1)]);
    flags(&commands_exist(&Tree::of(&[]), &packages), &[at(1)]);
}
