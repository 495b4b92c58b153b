//! Prints what `bare` measured last as a table: calls per second of both sides, and ours divided by
//! theirs. Measures nothing, and ignores the arguments of criterion.
//!
//! `cargo bench -p quorate-benches --bench ratio`

use std::error::Error;

use quorate_benches::estimates::{cells, home, table};

fn main() -> Result<(), Box<dyn Error>> {
    // A test runner that asks for the names of tests is told that there are none.
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let home = home(&program).ok_or("no directory of criterion's figures")?;
    let cells = cells(&home)?;
    if cells.is_empty() {
        println!("no figures in {}: run `cargo bench -p quorate-benches --bench bare`", home.display());
    } else {
        println!("\n{}", table(&cells));
    }
    Ok(())
}
