//! The files of the project, and what is wrong with them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the project.
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    /// Its text; empty when it is not UTF-8.
    pub(crate) text: String,
}

impl File {
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// The files that belong to the project.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// The project that this test was built from.
    pub(crate) fn here() -> Self {
        let root = root();
        let mut paths = tracked(&root).unwrap_or_else(|| walk(&root));
        paths.sort();
        let read = |path: String| {
            // A file that is deleted and not yet committed is gone.
            let bytes = std::fs::read(root.join(&path)).ok()?;
            Some(File { path, text: String::from_utf8(bytes).unwrap_or_default() })
        };
        let files: Vec<File> = paths.into_iter().filter_map(read).collect();
        assert!(files.iter().any(|file| file.path == "framework/src/lib.rs"), "{} is empty", root.display());
        Self { files }
    }

    /// A tree for the control of a rule.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Self { files: files.iter().map(file).collect() }
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.has_extension("rs"))
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// What git tracks; `None` outside a clone. What a user's runs leave behind is thereby left alone.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().ok()?;
    let list = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let paths: Vec<String> = list.split_terminator('\0').map(str::to_owned).collect();
    (!paths.is_empty()).then_some(paths)
}

/// Every file, for a copy without git.
fn walk(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str) {
                found.push(path.replace('\\', "/"));
            }
        }
    }
    found
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// From 1.
    pub(crate) line: usize,
    /// What the rule forbids or asks for.
    pub(crate) rule: &'static str,
    pub(crate) found: String,
    /// What to do.
    pub(crate) fix: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, found, fix } = self;
        write!(f, "{path}:{line}: {found}\n    rule: {rule}\n    fix:  {fix}")
    }
}

/// A rule: what it is about, what to do, and how to find what breaks it.
pub(crate) struct Rule {
    pub(crate) rule: &'static str,
    pub(crate) fix: &'static str,
}

impl Rule {
    pub(crate) fn finding(&self, file: &File, offset: usize, found: impl Into<String>) -> Finding {
        let line = line_of(&file.text, offset);
        Finding { path: file.path.clone(), line, rule: self.rule, found: found.into(), fix: self.fix }
    }
}

/// The line, from 1, of a byte.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text[..offset].matches('\n').count()
}

/// Fails with everything that was found.
#[track_caller]
pub(crate) fn none(findings: &[Finding]) {
    let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} finding(s)\n{}\n", list.len(), list.join("\n"));
}

/// The control of a rule: it must flag these lines of these files and nothing else.
#[track_caller]
pub(crate) fn flags(findings: &[Finding], places: &[(&str, usize)]) {
    let found: Vec<(&str, usize)> =
        findings.iter().map(|finding| (finding.path.as_str(), finding.line)).collect();
    assert_eq!(found, places);
}
