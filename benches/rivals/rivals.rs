//! The `storage` bench with two more sides: fjall and raft-engine.
//!
//! `cargo bench --manifest-path benches/rivals/Cargo.toml`

use std::error::Error;
use std::path::Path;

use quorate_benches::storage::Entrant;
use quorate_benches::storage::contest::{self, ENTRANTS};
use quorate_rivals::fjall_log::FjallLog;
use quorate_rivals::raft_log::RaftLog;

fn main() -> Result<(), Box<dyn Error>> {
    let mut entrants = ENTRANTS.to_vec();
    entrants.push(Entrant { name: "raft-engine", create: |_, dir| contest::log(RaftLog::create(dir)?, 1) });
    entrants.push(Entrant { name: "fjall", create: |_, dir| contest::log(FjallLog::create(dir)?, 0) });
    contest::main(&entrants, Path::new(env!("CARGO_TARGET_TMPDIR")), "rivals")
}
