//! Runs a fixed number of appends on one side of the `storage` bench, for profilers: criterion
//! decides by time how many it runs, so that two runs of it cannot be compared by what they cost
//! the processor.
//!
//! `valgrind --tool=callgrind target/release/examples/profile_storage quorate-redb 64 200000`: the
//! side, the appenders, and how many appends; without arguments a few, to see that it works.

use std::error::Error;

use quorate_benches::load::runtime;
use quorate_benches::storage::contest::{ENTRANTS, OURS};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        arguments = [OURS, "64", "1000"].map(str::to_owned).into();
    }
    let [name, appenders, appends] = arguments.as_slice() else {
        return Err("expected: <side> <appenders> <appends>".into());
    };
    let (runtime, dir) = (runtime(), tempfile::tempdir()?);
    let entrant = ENTRANTS.iter().find(|entrant| entrant.name == name).ok_or("no such side")?;
    let side = (entrant.create)(&runtime, dir.path())?;
    let appenders: usize = appenders.parse()?;
    let rounds = appends.parse::<u64>()? / appenders.max(1) as u64;
    let run = side.run(&runtime, appenders, rounds);
    println!("{} appends in {:?}", run.waits.len(), run.took);
    Ok(())
}
