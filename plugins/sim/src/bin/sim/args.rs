//! What is asked for on the command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use quorate_sim::cluster::LONGEST;
use quorate_sim::mutations::{CATALOGUE, Planted, of_name};
use quorate_sim::plan::Profile;

use crate::recipe::{LENGTH, Recipe};

/// Longer than anybody waits.
const YEAR: Duration = Duration::from_hours(365 * 24);

/// What `--help` shows.
pub(crate) const HELP: &str = "\
cargo sim: simulate clusters under faults, a seed a run

many runs
  cargo sim --seeds N [--from SEED] [--minutes M] [--jobs J]
    --seeds N         this many seeds; without it, until the minutes are over
    --from SEED       begin with this seed (0)
    --minutes M       begin no run after this long
    --jobs J          run this many at the same time (2)
    --twice N         run one seed in N twice and compare; 0 for none (20)
    --shrink SECONDS  make what is found smaller, this long; 0 for not at all (120)
    --out FOLDER      where to put the plans of what is found (target/sim)

bugs put in on purpose, each to be found within so many seeds
  cargo sim --mutations [--mutation NAME] [--from SEED] [--jobs J]
    --mutation NAME   look for this one alone

one run, as a timeline
  cargo sim --replay SEED [--hash HASH]
  cargo sim --plan FILE
    --hash HASH       what the trace came to before: fails when it does not any more
    --html FILE       write the run as a page as well
    --brief           leave the calls of clients out
    --shrink SECONDS  make it smaller when it fails, this long (0)
    --out FOLDER      where to put the plan then (target/sim)

of any run
    --profile NAME    what goes wrong: chaos, the full mix; disk, network, membership, clock (chaos)
    --seconds S       how long faults happen, in simulated time (10)
    --limit SECONDS   give a run up after this real time (600)
    --mutation NAME   with a bug put in on purpose, and without a profile the faults that look for it

exit status: 0 when nothing was found, 1 when something was or `--hash` is not the run's, 2 for wrong
use; of `--mutations` 0 when every bug was found and 1 when one was not
";

/// What to do.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Help,
    Campaign(Campaign),
    Replay(Replay),
    Mutations(Mutations),
}

/// Many runs.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) recipe: Recipe,
    pub(crate) from: u64,
    /// `None` when only the time ends it.
    pub(crate) seeds: Option<u64>,
    pub(crate) time: Option<Duration>,
    pub(crate) jobs: usize,
    pub(crate) twice_in: u64,
    pub(crate) shrink: Duration,
    pub(crate) out: PathBuf,
}

/// The hunt for bugs put in on purpose.
#[derive(Clone, Debug)]
pub(crate) struct Mutations {
    /// `None` for all of them.
    pub(crate) only: Option<&'static Planted>,
    pub(crate) from: u64,
    pub(crate) jobs: usize,
    pub(crate) limit: Duration,
}

/// Which run to look at.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    Seed(u64),
    Plan(PathBuf),
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    pub(crate) recipe: Recipe,
    pub(crate) which: Which,
    pub(crate) hash: Option<u64>,
    pub(crate) html: Option<PathBuf>,
    pub(crate) brief: bool,
    pub(crate) jobs: usize,
    pub(crate) shrink: Duration,
    pub(crate) out: PathBuf,
}

/// Every option, once.
#[derive(Default)]
struct Given {
    seeds: Option<u64>,
    from: Option<u64>,
    minutes: Option<Duration>,
    jobs: Option<usize>,
    twice: Option<u64>,
    shrink: Option<Duration>,
    out: Option<PathBuf>,
    replay: Option<u64>,
    plan: Option<PathBuf>,
    hash: Option<u64>,
    html: Option<PathBuf>,
    brief: Option<()>,
    seconds: Option<Duration>,
    limit: Option<Duration>,
    mutation: Option<&'static Planted>,
    mutations: Option<()>,
    profile: Option<Profile>,
}

/// Reads the arguments.
///
/// # Errors
/// What is wrong with them, for a person.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut given = Given::default();
    let mut args = args.peekable();
    if args.peek().is_none() {
        return Err(
            "say what to run: `--seeds N`, `--minutes M`, `--replay SEED`, `--plan FILE` or `--mutations`"
                .to_owned(),
        );
    }
    while let Some(arg) = args.next() {
        if arg == "--help" || arg == "-h" {
            return Ok(Asked::Help);
        }
        // Both `--seeds 7` and `--seeds=7`.
        let (name, mut inline) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value = || inline.take().or_else(|| args.next()).ok_or(format!("`{name}` needs a value"));
        match name.as_str() {
            "--brief" => once(&name, &mut given.brief, ())?,
            "--mutations" => once(&name, &mut given.mutations, ())?,
            _ => option(&name, &mut value, &mut given)?,
        }
        if let Some(value) = inline {
            return Err(format!("`{name}` takes no value, and was given `{value}`"));
        }
    }
    asked(given)
}

fn option(
    name: &str,
    value: &mut impl FnMut() -> Result<String, String>,
    given: &mut Given,
) -> Result<(), String> {
    match name {
        "--seeds" => once(name, &mut given.seeds, number(name, &value()?)?),
        "--from" => once(name, &mut given.from, number(name, &value()?)?),
        "--minutes" => once(name, &mut given.minutes, time(name, &value()?, 60.0)?),
        "--jobs" => once(name, &mut given.jobs, number(name, &value()?)?),
        "--twice" => once(name, &mut given.twice, number(name, &value()?)?),
        "--shrink" => once(name, &mut given.shrink, time(name, &value()?, 1.0)?),
        "--out" => once(name, &mut given.out, value()?.into()),
        "--replay" => once(name, &mut given.replay, number(name, &value()?)?),
        "--plan" => once(name, &mut given.plan, value()?.into()),
        "--hash" => {
            let hash = value()?;
            let wrong = |_| format!("`--hash` is a hash as a run prints it, not `{hash}`");
            once(name, &mut given.hash, u64::from_str_radix(&hash, 16).map_err(wrong)?)
        }
        "--html" => once(name, &mut given.html, value()?.into()),
        "--seconds" => once(name, &mut given.seconds, time(name, &value()?, 1.0)?),
        "--limit" => once(name, &mut given.limit, time(name, &value()?, 1.0)?),
        "--mutation" => once(name, &mut given.mutation, mutation(&value()?)?),
        "--profile" => once(name, &mut given.profile, value()?.parse()?),
        other => Err(format!("there is no `{other}`")),
    }
}

fn once<T>(name: &str, place: &mut Option<T>, value: T) -> Result<(), String> {
    if place.replace(value).is_some() { Err(format!("`{name}` stands there twice")) } else { Ok(()) }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{name}` takes a whole number, not `{value}`"))
}

fn time(name: &str, value: &str, unit: f64) -> Result<Duration, String> {
    let wrong = || format!("`{name}` takes a time, not `{value}`");
    let number: f64 = value.parse().map_err(|_| wrong())?;
    let seconds = number * unit;
    if seconds > YEAR.as_secs_f64() {
        return Err(format!("`{name}` takes at most a year, not `{value}`"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// The first seed, with so many from it on.
fn first(from: Option<u64>, seeds: u64) -> Result<u64, String> {
    let (from, last) = (from.unwrap_or(0), u64::MAX - seeds);
    if from > last { Err(format!("`--from` is at most {last} for {seeds} seeds")) } else { Ok(from) }
}

fn mutation(name: &str) -> Result<&'static Planted, String> {
    of_name(name).ok_or_else(|| {
        let all: Vec<&str> = CATALOGUE.iter().map(|planted| planted.name).collect();
        format!("there is no mutation `{name}`; there are {}", all.join(", "))
    })
}

fn asked(given: Given) -> Result<Asked, String> {
    let recipe = Recipe {
        length: given.seconds.unwrap_or(LENGTH),
        profile: given.profile,
        mutation: given.mutation,
        limit: given.limit.unwrap_or(Duration::from_mins(10)),
    };
    if recipe.length.is_zero() || recipe.limit.is_zero() {
        return Err("`--seconds` and `--limit` are more than 0".to_owned());
    }
    if recipe.length > LONGEST {
        return Err("`--seconds` is at most a day".to_owned());
    }
    let jobs = given.jobs.unwrap_or(2);
    if jobs == 0 {
        return Err("`--jobs` is at least 1".to_owned());
    }
    if given.mutations.is_some() {
        return mutations(&given, jobs, recipe.limit);
    }
    let out = given.out.unwrap_or_else(|| "target/sim".into());
    let which = match (given.replay, given.plan) {
        (Some(_), Some(_)) => return Err("`--replay` and `--plan` are two runs: choose one".to_owned()),
        (Some(seed), None) => Some(Which::Seed(seed)),
        (None, Some(plan)) => Some(Which::Plan(plan)),
        (None, None) => None,
    };
    let Some(which) = which else {
        if given.hash.is_some() || given.html.is_some() || given.brief.is_some() {
            return Err("`--hash`, `--html` and `--brief` are for one run: `--replay` or `--plan`".to_owned());
        }
        if given.seeds.is_none() && given.minutes.is_none() {
            return Err("say how much to run: `--seeds N` or `--minutes M`".to_owned());
        }
        if given.seeds == Some(0) {
            return Err("`--seeds` is at least 1".to_owned());
        }
        if given.minutes.is_some_and(|time| time.is_zero()) {
            return Err("`--minutes` is more than 0".to_owned());
        }
        return Ok(Asked::Campaign(Campaign {
            recipe,
            from: first(given.from, given.seeds.unwrap_or(1))?,
            seeds: given.seeds,
            time: given.minutes,
            jobs,
            twice_in: given.twice.unwrap_or(20),
            shrink: given.shrink.unwrap_or(Duration::from_mins(2)),
            out,
        }));
    };
    if given.seeds.is_some() || given.from.is_some() || given.minutes.is_some() || given.twice.is_some() {
        return Err("`--seeds`, `--from`, `--minutes` and `--twice` are for many runs".to_owned());
    }
    let about = given.seconds.is_some() || given.mutation.is_some() || given.profile.is_some();
    if matches!(which, Which::Plan(_)) && about {
        return Err("a plan says itself which faults happen, how long, and which bug is put in".to_owned());
    }
    let (hash, html, brief) = (given.hash, given.html, given.brief.is_some());
    let shrink = given.shrink.unwrap_or_default();
    Ok(Asked::Replay(Replay { recipe, which, hash, html, brief, jobs, shrink, out }))
}

fn mutations(given: &Given, jobs: usize, limit: Duration) -> Result<Asked, String> {
    let one_run = given.replay.is_some() || given.plan.is_some() || given.hash.is_some();
    let shown = given.html.is_some() || given.brief.is_some() || given.out.is_some();
    let much = given.seeds.is_some() || given.minutes.is_some() || given.twice.is_some();
    let runs = given.seconds.is_some() || given.profile.is_some() || given.shrink.is_some();
    if one_run || shown || much || runs {
        return Err(
            "`--mutations` takes `--mutation`, `--from`, `--jobs` and `--limit`: each bug says itself how \
                    long and among which faults it is looked for"
                .to_owned(),
        );
    }
    let looked_for =
        CATALOGUE.iter().filter(|planted| given.mutation.is_none_or(|it| it.name == planted.name));
    let from = first(given.from, looked_for.map(|planted| planted.within).max().unwrap_or(1))?;
    Ok(Asked::Mutations(Mutations { only: given.mutation, from, jobs, limit }))
}
