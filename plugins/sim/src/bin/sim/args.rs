//! What is asked for on the command line.

use std::fmt::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use quorate_sim::cluster::Setup;
use quorate_sim::mutations::{CATALOGUE, Mutation, of_name};

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

one run, as a timeline
  cargo sim --replay SEED [--hash HASH]
  cargo sim --plan FILE
    --hash HASH       what the trace came to before: says when it does not any more
    --html FILE       write the run as a page as well
    --brief           leave the calls of clients out
    --shrink SECONDS  make it smaller when it fails, this long (0)
    --out FOLDER      where to put the plan then (target/sim)

of any run
    --seconds S       how long faults happen, in simulated time (10)
    --limit SECONDS   give a run up after this real time (600)
    --mutation NAME   with a bug put in on purpose

exit status: 0 when nothing was found, 1 when something was, 2 for wrong use
";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Help,
    Campaign(Campaign),
    Replay(Replay),
}

/// How a seed becomes a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// How long faults happen.
    pub(crate) length: Duration,
    /// A bug put in on purpose.
    pub(crate) mutation: Option<Mutation>,
    /// The real time a run may take.
    pub(crate) limit: Duration,
}

impl Recipe {
    /// The run of a seed.
    pub(crate) fn setup(&self, seed: u64) -> Setup {
        Setup { mutation: self.mutation, ..Setup::of_seed(seed, self.length) }
    }

    /// Whether the faults are the full mix and the cluster is as it is shipped.
    pub(crate) fn is_full_mix(&self) -> bool {
        self.mutation.is_none()
    }

    /// The command that runs a seed again.
    pub(crate) fn command(&self, seed: u64, hash: Option<(u64, u64)>) -> String {
        let mut command = format!("cargo sim --replay {seed}");
        if self.length != LENGTH {
            let _ = write!(command, " --seconds {}", self.length.as_secs_f64());
        }
        if let Some(mutation) = self.mutation {
            let _ = write!(command, " --mutation {}", String::from(mutation));
        }
        if let Some((hash, _)) = hash {
            let _ = write!(command, " --hash {hash:016x}");
        }
        command
    }
}

/// Many runs.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Which run to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Seed(u64),
    Plan(PathBuf),
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// How long faults happen when nothing is said.
const LENGTH: Duration = Duration::from_secs(10);

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
    mutation: Option<Mutation>,
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
            "say what to run: `--seeds N`, `--minutes M`, `--replay SEED` or `--plan FILE`".to_owned()
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
        if name == "--brief" {
            once(&name, &mut given.brief, ())?;
        } else {
            let mut value = || inline.take().or_else(|| args.next()).ok_or(format!("`{name}` needs a value"));
            option(&name, &mut value, &mut given)?;
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
    Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())
}

fn mutation(name: &str) -> Result<Mutation, String> {
    of_name(name).map(|planted| planted.mutation).ok_or_else(|| {
        let all: Vec<&str> = CATALOGUE.iter().map(|planted| planted.name).collect();
        format!("there is no mutation `{name}`; there are {}", all.join(", "))
    })
}

fn asked(given: Given) -> Result<Asked, String> {
    let recipe = Recipe {
        length: given.seconds.unwrap_or(LENGTH),
        mutation: given.mutation,
        limit: given.limit.unwrap_or(Duration::from_mins(10)),
    };
    if recipe.length.is_zero() || recipe.limit.is_zero() {
        return Err("`--seconds` and `--limit` are more than 0".to_owned());
    }
    let jobs = given.jobs.unwrap_or(2);
    if jobs == 0 {
        return Err("`--jobs` is at least 1".to_owned());
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
        return Ok(Asked::Campaign(Campaign {
            recipe,
            from: given.from.unwrap_or(0),
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
    if matches!(which, Which::Plan(_)) && (given.seconds.is_some() || given.mutation.is_some()) {
        return Err("a plan says itself how long faults happen and which bug is put in".to_owned());
    }
    let (hash, html, brief) = (given.hash, given.html, given.brief.is_some());
    let shrink = given.shrink.unwrap_or_default();
    Ok(Asked::Replay(Replay { recipe, which, hash, html, brief, jobs, shrink, out }))
}
