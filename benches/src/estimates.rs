//! What criterion wrote down, as the table of ratios.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The groups in which both sides are measured begin with this.
pub const PAIRED: &str = "bare/";

/// One cell: calls per second of each side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Of the framework.
    pub quorate: Option<f64>,
    /// Of bare openraft.
    pub bare: Option<f64>,
}

/// Where criterion keeps its figures: as it decides itself, or the target directory that `program`
/// was built into.
pub fn home(program: &Path) -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("CRITERION_HOME") {
        return Some(home.into());
    }
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        return Some(PathBuf::from(target).join("criterion"));
    }
    // <target>/release/deps/ratio-0123456789abcdef
    Some(program.ancestors().nth(3)?.join("criterion"))
}

/// The cells of the paired groups, by group and by cell, in the order of their clients and bytes.
///
/// # Errors
/// When a file is there and cannot be read. No figures at all are an empty table.
pub fn cells(home: &Path) -> io::Result<BTreeMap<(String, Vec<u64>), Cell>> {
    let mut cells: BTreeMap<_, Cell> = BTreeMap::new();
    for dir in figures(home)? {
        let about = json(&dir.join("benchmark.json"))?;
        let text = |field: &str| about[field].as_str().unwrap_or_default();
        let Some(group) = text("group_id").strip_prefix(PAIRED) else { continue };
        let numbers = text("value_str").split(|c: char| !c.is_ascii_digit());
        let key = (group.to_owned(), numbers.filter_map(|number| number.parse().ok()).collect());
        let calls = about["throughput"]["Elements"].as_f64();
        let nanos = json(&dir.join("estimates.json"))?["mean"]["point_estimate"].as_f64();
        let (Some(calls), Some(nanos)) = (calls, nanos) else { continue };
        let cell = cells.entry(key).or_default();
        match text("function_id") {
            "quorate" => cell.quorate = Some(calls * 1e9 / nanos),
            "bare" => cell.bare = Some(calls * 1e9 / nanos),
            _ => {}
        }
    }
    Ok(cells)
}

/// The directories `<home>/<group>/<side>/<cell>/new` that there are.
fn figures(home: &Path) -> io::Result<Vec<PathBuf>> {
    let mut dirs = vec![home.to_owned()];
    for _ in 0..3 {
        let mut below = Vec::new();
        for dir in dirs.iter().filter(|dir| dir.is_dir()) {
            for entry in fs::read_dir(dir)? {
                below.push(entry?.path());
            }
        }
        dirs = below;
    }
    let figures = dirs.into_iter().map(|dir| dir.join("new"));
    Ok(figures.filter(|dir| dir.join("estimates.json").is_file()).collect())
}

fn json(path: &Path) -> io::Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// The table as Markdown.
pub fn table(cells: &BTreeMap<(String, Vec<u64>), Cell>) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("| workload | clients | bytes | quorate /s | bare /s | ratio |\n");
    out.push_str("|---|--:|--:|--:|--:|--:|\n");
    for ((group, numbers), cell) in cells {
        let number = |at: usize| numbers.get(at).map_or(String::new(), u64::to_string);
        let figure = |calls: Option<f64>| calls.map_or("-".into(), |calls| format!("{calls:.0}"));
        let ratio = match (cell.quorate, cell.bare) {
            (Some(quorate), Some(bare)) => format!("{:.2}", quorate / bare),
            _ => "-".into(),
        };
        let (clients, bytes) = (number(0), number(1));
        let (quorate, bare) = (figure(cell.quorate), figure(cell.bare));
        writeln!(out, "| {group} | {clients} | {bytes} | {quorate} | {bare} | {ratio} |")
            .expect("a string takes everything");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(home: &Path, side: &str, cell: &str, nanos: f64) {
        let dir = home.join("bare_write").join(side).join(cell).join("new");
        fs::create_dir_all(&dir).expect("a directory of ours");
        let about = serde_json::json!({
            "group_id": "bare/write", "function_id": side, "value_str": cell, "throughput": {"Elements": 64},
        });
        fs::write(dir.join("benchmark.json"), about.to_string()).expect("a file of ours");
        let estimates = serde_json::json!({"mean": {"point_estimate": nanos}});
        fs::write(dir.join("estimates.json"), estimates.to_string()).expect("a file of ours");
    }

    #[test]
    fn a_ratio_is_of_calls_per_second() {
        let home = tempfile::tempdir().expect("a directory of ours");
        assert!(cells(&home.path().join("nothing")).expect("no figures").is_empty());
        figure(home.path(), "quorate", "64 clients, 16 bytes", 1e6);
        figure(home.path(), "bare", "64 clients, 16 bytes", 2e6);
        figure(home.path(), "bare", "1 clients, 16 bytes", 2e6);
        let cells = cells(home.path()).expect("readable");
        let table = table(&cells);
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            ["| write | 1 | 16 | - | 32000 | - |", "| write | 64 | 16 | 64000 | 32000 | 2.00 |"]
        );
    }
}
