//! How long files and functions are. Guidance is printed, the limit fails.

use crate::code::{code_only, functions};
use crate::tree::{Finding, Rule, Tree, flags, none};

struct Limits {
    file: usize,
    function: usize,
}

const GUIDANCE: Limits = Limits { file: 500, function: 100 };
const LIMIT: Limits = Limits { file: 700, function: 150 };

fn longer_than(tree: &Tree, limits: &Limits) -> Vec<Finding> {
    const RULE: Rule = Rule {
        rule: "files of about 400 lines and functions of about 70; 700 and 150 at most",
        fix: "split it where its parts can be named: one concept a file, one thought a function",
    };
    let mut findings = Vec::new();
    for file in tree.rust() {
        let lines = file.text.lines().count();
        if lines > limits.file {
            findings.push(RULE.finding(file, 0, format!("the file has {lines} lines")));
        }
        let code = code_only(&file.text);
        for (name, range) in functions(&code) {
            let lines = code[range.clone()].lines().count();
            if lines > limits.function {
                findings.push(RULE.finding(file, range.start, format!("`{name}` has {lines} lines")));
            }
        }
    }
    findings
}

#[test]
fn files_and_functions_are_short() {
    let tree = Tree::here();
    for finding in longer_than(&tree, &GUIDANCE) {
        println!("guidance: {}:{}: {}", finding.path, finding.line, finding.found);
    }
    none(&longer_than(&tree, &LIMIT));

    let long = format!("//! A.\nfn short() {{}}\nfn long() {{\n{}}}\n", "    go();\n".repeat(149));
    flags(&longer_than(&Tree::of(&[("a.rs", &long)]), &LIMIT), &[("a.rs", 3)]);
    flags(&longer_than(&Tree::of(&[("a.rs", &"\n".repeat(701))]), &LIMIT), &[("a.rs", 1)]);
    flags(&longer_than(&Tree::of(&[("a.rs", &"\n".repeat(700))]), &LIMIT), &[]);
}
