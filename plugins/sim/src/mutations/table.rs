//! What a hunt came to, as a table for a person.

use std::fmt::Write;

use super::{Found, Hunted, Survived};

/// A row for every bug: after how many seeds it was found, of how many it may take, the seed, by what,
/// and what else was wrong with the same run; and whether any survived.
pub fn table(hunted: &[Hunted]) -> String {
    let mut text = row("bug", "seeds", "limit", "seed", "found by");
    let mut survivors = 0;
    for Hunted { planted, outcome } in hunted {
        let limit = planted.within.to_string();
        text += &match outcome {
            Ok(Found { seeds, seed, finding, also }) => {
                let by = std::iter::once(finding.class()).chain(also.iter().cloned());
                let by = by.map(|class| short(&class)).collect::<Vec<_>>().join("; ");
                row(planted.name, &seeds.to_string(), &limit, &seed.to_string(), &by)
            }
            Err(survived) => {
                survivors += 1;
                match survived {
                    Survived::Unseen => row(planted.name, "-", &limit, "-", "nothing: IT SURVIVES"),
                    Survived::AlsoWithout { seed, finding } => {
                        let why = format!("{}, ALSO WITHOUT IT", short(&finding.class()));
                        row(planted.name, "-", &limit, &seed.to_string(), &why)
                    }
                }
            }
        };
    }
    let of = hunted.len();
    let _ = match survivors {
        0 => writeln!(text, "all {of} bugs are found"),
        _ => writeln!(text, "{survivors} of {of} bugs SURVIVE"),
    };
    text
}

fn row(bug: &str, seeds: &str, limit: &str, seed: &str, by: &str) -> String {
    format!("{bug:<26} {seeds:>5} {limit:>5} {seed:>6}  {by}\n")
}

/// The class of what was found, without the folders before a file.
fn short(class: &str) -> String {
    match class.strip_prefix("panic at ") {
        Some(place) => format!("a panic at {}", place.rsplit('/').next().unwrap_or(place)),
        None => class.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mutations::CATALOGUE;
    use crate::oracle::Violation;
    use crate::run::Finding;

    /// The cells of each row of a table that begins with code.
    fn rows(text: &str) -> Vec<Vec<&str>> {
        let rows = text.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
    }

    #[test]
    fn the_readme_names_every_bug_and_no_other() {
        let readme = include_str!("../../README.md");
        let (_, section) = readme.split_once("## Bugs put in on purpose").expect("the section");
        let (section, _) = section.split_once("\n## ").expect("its end");
        let told: Vec<String> = rows(section).iter().map(|row| row[..3].join(" | ")).collect();
        let there: Vec<String> =
            CATALOGUE.iter().map(|it| format!("`{}` | {} | {}", it.name, it.what, it.within)).collect();
        assert_eq!(told, there);
        let count = format!("{} bugs are in every build", CATALOGUE.len());
        assert!(section.contains(&count), "`{count}` is not in the README");
        // Who must have something to say is in bold.
        for (row, planted) in rows(section).iter().zip(CATALOGUE) {
            let bold: Vec<&str> = row[4].split("**").skip(1).step_by(2).collect();
            assert_eq!(bold, Vec::from_iter(planted.oracle), "{}", planted.name);
        }
    }

    #[test]
    fn a_row_says_what_found_a_bug_and_who_survived() {
        let violation = Violation { oracle: "durability", what: String::new(), at: Duration::ZERO };
        let found = Found {
            seeds: 3,
            seed: 9,
            finding: Finding::Violation(violation),
            also: ["votes", "panic at a/b.rs:7"].map(str::to_owned).into(),
        };
        let (one, other) = (&CATALOGUE[0], &CATALOGUE[1]);
        let mut hunted = vec![Hunted { planted: one, outcome: Ok(found) }];
        let words = |text: &str, line: usize| -> Vec<String> {
            text.lines().nth(line).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        };
        let text = table(&hunted);
        let numbers = [one.name, "3", &one.within.to_string(), "9"];
        assert_eq!(words(&text, 1)[..4], numbers);
        assert!(
            text.lines().nth(1).is_some_and(|row| row.ends_with("  durability; votes; a panic at b.rs:7"))
        );
        assert_eq!(text.lines().last(), Some("all 1 bugs are found"));
        let outcome = Err(Survived::Unseen);
        hunted.push(Hunted { planted: other, outcome });
        let finding = Finding::Hang(Duration::from_secs(1));
        hunted.push(Hunted { planted: other, outcome: Err(Survived::AlsoWithout { seed: 4, finding }) });
        let text = table(&hunted);
        assert_eq!(words(&text, 2)[..2], [other.name, "-"]);
        assert!(text.contains("nothing: IT SURVIVES") && text.contains("hang, ALSO WITHOUT IT"), "{text}");
        assert_eq!(text.lines().last(), Some("2 of 3 bugs SURVIVE"));
    }
}
