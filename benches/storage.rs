//! The storage plugin beside the disk, a log file written for the bench, and redb with a row for
//! each entry: entries per second and waits by the number of appenders, as a table and a picture.
//!
//! `cargo bench -p quorate-benches --bench storage`

use std::error::Error;
use std::path::Path;

use quorate_benches::storage::contest::{self, ENTRANTS};

fn main() -> Result<(), Box<dyn Error>> {
    contest::main(&ENTRANTS, Path::new(env!("CARGO_TARGET_TMPDIR")), "storage")
}
