//! Bugs put in on purpose: each must be found within so many seeds, or the oracles prove nothing.

use std::time::Duration;

use quorate_sim::mutations::{CATALOGUE, Mutation, Planted, hunt_all, of_name, table};

const LIMIT: Duration = Duration::from_mins(10);
/// How many bugs are looked for at the same time.
const JOBS: usize = 2;

/// Where the seeds begin, when not at 0: another run of luck.
fn from() -> u64 {
    std::env::var("QUORATE_SIM_CAMPAIGN_FROM").map_or(0, |from| from.parse().expect("a whole number"))
}

/// Looks for bugs and prints what came of it; all of them must be found.
fn assert_found(bugs: impl Iterator<Item = &'static Planted>) {
    let bugs: Vec<&Planted> = bugs.collect();
    let hunted = hunt_all(&bugs, from(), JOBS, LIMIT, |hunted| println!("{hunted}"));
    println!("{}", table(&hunted));
    let survivors: Vec<String> =
        hunted.iter().filter(|hunted| hunted.outcome.is_err()).map(ToString::to_string).collect();
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

/// Those that a few seeds find, and those that are all that shows that an oracle fires; or those that are
/// named in `QUORATE_SIM_BUGS`, with commas between them, or `all`.
#[test]
fn bugs_put_in_on_purpose_are_found() {
    let named = std::env::var("QUORATE_SIM_BUGS").unwrap_or_default();
    let asked_for = |planted: &&Planted| match named.as_str() {
        "" => planted.within <= 10 || planted.oracle.is_some(),
        "all" => true,
        _ => named.split(',').any(|name| name == planted.name),
    };
    assert_found(CATALOGUE.iter().filter(asked_for));
}

#[test]
fn bugs_have_names_of_their_own_by_which_they_are_found() {
    assert!(CATALOGUE.len() >= 20);
    for planted in CATALOGUE {
        let of_name = of_name(planted.name).expect("in the catalogue");
        assert_eq!((of_name.mutation, of_name.what), (planted.mutation, planted.what));
        assert_eq!(Mutation::try_from(String::from(planted.mutation)), Ok(planted.mutation));
    }
    assert!(of_name("no-such-bug").is_none());
}
