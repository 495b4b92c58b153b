//! `cargo sim`: many seeds, one of them to look at, or the hunt for bugs put in on purpose.
//!
//! This folder owns the command line. What a campaign, a timeline and a smaller run are is the
//! library's, where a user's own tests find it too.

#[cfg(madsim)]
mod args;
#[cfg(madsim)]
mod campaign;
#[cfg(madsim)]
mod mutations;
#[cfg(madsim)]
mod recipe;
#[cfg(madsim)]
mod replay;

use std::process::ExitCode;

/// Nothing was found.
#[cfg(madsim)]
const FINE: u8 = 0;
/// Something was found.
#[cfg(madsim)]
const FOUND: u8 = 1;
/// It was asked for something that there is not.
const WRONG_USE: u8 = 2;

#[cfg(madsim)]
fn main() -> ExitCode {
    use self::args::Asked;
    let code = match args::parse(std::env::args().skip(1)) {
        Ok(Asked::Help) => {
            print!("{}", args::HELP);
            Ok(FINE)
        }
        Ok(Asked::Campaign(campaign)) => campaign::campaign(&campaign),
        Ok(Asked::Replay(replay)) => replay::replay(&replay),
        Ok(Asked::Mutations(asked)) => Ok(mutations::mutations(&asked)),
        Err(wrong) => Err(wrong),
    };
    ExitCode::from(code.unwrap_or_else(|wrong| {
        eprintln!("cargo sim: {wrong}\n`cargo sim --help` says what there is");
        WRONG_USE
    }))
}

/// Without the cfg there is no simulation, and nothing must look like one that found nothing.
#[cfg(not(madsim))]
fn main() -> ExitCode {
    eprintln!("cargo sim: {}", quorate_sim::__nothing_is_simulated!());
    ExitCode::from(WRONG_USE)
}
