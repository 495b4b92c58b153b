//! Which code runs: a seed means another run in any other.

use std::process::Command;

/// The commit that is checked out where the run was started, and whether files differ from it; `None`
/// where git does not say.
pub(crate) fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let changed = if changed.trim().is_empty() { "" } else { ", with changes" };
    Some(format!("{}{changed}", commit.trim()))
}
