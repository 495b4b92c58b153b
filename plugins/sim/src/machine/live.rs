//! A life of the machine: it is told commands one after the other, in a world of its own.
//!
//! A world is a fresh thread in a simulation. Its seed decides the time of day, the random numbers
//! that the system gives, and with them the order of hash maps; each can be made another one while
//! the others stay. A machine that is what it must be lives every life alike.

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use quorate::runtime::AsyncRuntime;
use quorate::state_machine::{ApplyContext, QueryContext, Wire};
use quorate::types::{ClusterId, GroupId, LogId, LogTime, Position, Term};

use super::outline::Outline;
use super::seen::reply_text;
use super::subject::{Simulated, Subject};
use super::tables::caught;
use super::value::Value;
use crate::rng::Rng;
use crate::run::panics::Failed;
use crate::run::{Finding, panics};
use crate::runtime::{SimRuntime, SimSleep};

/// A command, where it stands in the log, and what is asked after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) position: Position,
    pub(super) term: u64,
    pub(super) time: LogTime,
    pub(super) command: Bytes,
    pub(super) queries: Vec<Bytes>,
}

impl Step {
    pub(super) fn apply_context(&self, cluster: ClusterId) -> ApplyContext {
        ApplyContext::new(cluster, GroupId::MAIN, Term(self.term), self.position, self.time)
    }

    pub(super) fn query_context(&self) -> QueryContext {
        let applied = LogId { term: Term(self.term), index: self.position.index };
        QueryContext::new(Some(applied), self.time)
    }
}

/// How a life differs from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Of the world.
    pub(super) seed: u64,
    /// Hours pass between commands.
    pub(super) time_passes: bool,
    /// How many hash maps there were before.
    pub(super) hash_maps: u32,
    /// How many random numbers were drawn before.
    pub(super) draws: u32,
    pub(super) trips: Trips,
}

/// When a machine is replaced by one that restored its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trips {
    Never,
    /// Before some commands, chosen by this seed. The snapshot is written after the command.
    Some(u64),
    /// Before every command. The snapshot is written after the command.
    EachLate,
    /// Before every command. The snapshot is written at once.
    EachAtOnce,
}

impl Trips {
    fn at(self, step: &Step) -> bool {
        match self {
            Self::Never => false,
            // By the position, so that leaving out other commands moves no trip.
            Self::Some(seed) => Rng::new(seed ^ step.position.index.get()).chance(150),
            Self::EachLate | Self::EachAtOnce => true,
        }
    }
}

/// Everything that a life showed after a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) response: String,
    pub(super) answers: Vec<String>,
    pub(super) state: Option<u64>,
    /// The state of the machine that restored a snapshot of before the command.
    pub(super) restored: Option<u64>,
}

/// What was asked of the machine, or of whoever wrote the test, when it panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// A command or query, as a person writes it, or another method that a cluster calls.
    Call(String),
    /// A method that is about snapshots.
    Snapshot(&'static str),
    /// To make a machine.
    Begin,
    /// To draw a call.
    Draw,
    /// To plan faults.
    Plan,
    /// To show its state.
    Look,
}

/// Why a life ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The message begins with where it panicked.
    Panicked {
        doing: Doing,
        message: String,
    },
    /// An error of its tables.
    Failed {
        doing: Doing,
        why: String,
    },
    Broken {
        invariant: &'static str,
        why: String,
        restored: bool,
    },
    NotWritten {
        why: String,
    },
    NotRestored {
        why: String,
    },
    Deadline {
        due: LogTime,
        now: LogTime,
    },
}

/// A life.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    pub(super) shown: Vec<Shown>,
    /// At the command of this number.
    pub(super) end: Option<End>,
    /// The state before a command, where it was asked for.
    pub(super) portraits: BTreeMap<usize, (Option<Value>, Option<Outline>)>,
}

impl Life {
    /// The first command after which the two differ.
    pub(super) fn parts(&self, other: &Self) -> Option<usize> {
        let alike = |(a, b): &(&Shown, &Shown)| {
            (&a.response, &a.answers, a.state) == (&b.response, &b.answers, b.state)
        };
        let same = self.shown.iter().zip(&other.shown).take_while(alike).count();
        let whole = self.shown.len() == same && other.shown.len() == same;
        if whole && self.end == other.end { None } else { Some(same) }
    }
}

/// A machine is lived on a thread of its own, since hash maps are seeded once a thread.
pub(super) fn in_a_world<T: Send, F: Future<Output = T>>(seed: u64, life: impl FnOnce() -> F + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            panics::keep();
            let mut world = SimRuntime::seeded(seed);
            catch_unwind(AssertUnwindSafe(|| world.block_on(async { life().await })))
                .map_err(|_| Finding::Panic(panics::first()))
        });
        let ended = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Nobody has printed it.
        ended.unwrap_or_else(|panic| panic!("{panic}"))
    })
}

/// Lives `log`, with portraits before the commands in `portraits`.
pub(super) fn live<M: Simulated>(
    subject: &Subject<M>,
    cluster: ClusterId,
    log: &[Step],
    way: Way,
    portraits: &[usize],
) -> Life {
    in_a_world(way.seed, || async {
        // The keys of hash maps are drawn at the first one, and counted up from there.
        for _ in 0..=way.hash_maps {
            let _ = RandomState::new();
        }
        for _ in 0..way.draws {
            let _ = madsim::rand::random::<u64>();
        }
        let begin = || guarded(|| Doing::Begin, || (subject.initial)());
        let (main, spare) = match begin().and_then(|main| Ok((main, begin()?))) {
            Ok(both) => both,
            Err(end) => return Life { end: Some(end), ..Life::default() },
        };
        let mut living = Living { subject, cluster, way, main, spare, life: Life::default() };
        let mut rng = Rng::new(way.seed);
        for (number, step) in log.iter().enumerate() {
            if way.time_passes {
                SimSleep::exactly(rng.millis(1..20_000_000)).await;
            }
            if let Err(end) = living.step(number, step, portraits.contains(&number)) {
                living.life.end = Some(end);
                break;
            }
        }
        if portraits.contains(&log.len()) && living.life.end.is_none() {
            living.portrait(log.len());
        }
        living.life
    })
}

/// Whether the state is looked at after the command of this number. A long history grows a large
/// state, and to look at it after each command is the square of that; what is found is looked at again
/// in a history that is short.
pub(super) fn looked_at(number: u64) -> bool {
    number < 64 || number.is_multiple_of(16)
}

/// Catches what the machine throws.
pub(super) fn guarded<T>(doing: impl FnOnce() -> Doing, call: impl FnOnce() -> T) -> Result<T, End> {
    match panics::guarded(|| caught(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Failed(why))) => Err(End::Failed { doing: doing(), why }),
        Err(message) => Err(End::Panicked { doing: doing(), message }),
    }
}

/// The same, on a thread of its own: nobody prints it.
pub(super) fn guarded_apart<T: Send>(doing: Doing, call: impl FnOnce() -> T + Send) -> Result<T, End> {
    let keep = || {
        panics::keep();
        guarded(|| doing, call)
    };
    std::thread::scope(|scope| {
        scope.spawn(keep).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Catches what a method throws that is about snapshots.
fn guarded_snapshot<T>(method: &'static str, call: impl FnOnce() -> T) -> Result<T, End> {
    guarded(|| Doing::Snapshot(method), call)
}

struct Living<'a, M: Simulated> {
    subject: &'a Subject<M>,
    cluster: ClusterId,
    way: Way,
    main: M,
    /// As behind as a follower that is sent a snapshot.
    spare: M,
    life: Life,
}

impl<M: Simulated> Living<'_, M> {
    fn step(&mut self, number: usize, step: &Step, portrait: bool) -> Result<(), End> {
        let trip = self.way.trips.at(step);
        let mut restored = None;
        if !trip {
            if portrait {
                self.portrait(number);
            }
        } else if self.way.trips == Trips::EachAtOnce {
            let snapshot = guarded_snapshot("snapshot()", || self.main.snapshot())?;
            restored = Some(self.restore(snapshot)?);
            std::mem::swap(&mut self.main, &mut self.spare);
            if portrait {
                self.portrait(number);
            }
        } else {
            let snapshot = guarded_snapshot("snapshot()", || self.main.snapshot())?;
            self.apply(step)?;
            restored = Some(self.restore(snapshot)?);
            std::mem::swap(&mut self.main, &mut self.spare);
            if portrait {
                self.portrait(number);
            }
        }
        let response = self.apply(step)?;
        let answers = self.answers(step)?;
        let state = if looked_at(number as u64) { self.digest(&self.main)? } else { None };
        let shown = Shown { response, answers, state, restored: restored.flatten() };
        self.life.shown.push(shown);
        if let Some((invariant, why)) = self.subject.broken(&self.main) {
            return Err(End::Broken { invariant, why, restored: false });
        }
        let deadline = || Doing::Call("deadline()".to_owned());
        let due = guarded(deadline, || self.main.deadline(step.time))?;
        match due.filter(|due| *due <= step.time) {
            Some(due) => Err(End::Deadline { due, now: step.time }),
            None => Ok(()),
        }
    }

    fn apply(&mut self, step: &Step) -> Result<String, End> {
        // It was encoded by the machine's own types.
        let Ok(command) = M::Command::decode(&step.command) else { return Ok("?".to_owned()) };
        let mut ctx = step.apply_context(self.cluster);
        let doing = || Doing::Call(command_text::<M>(&step.command));
        guarded(doing, || reply_text(&self.main.apply(&mut ctx, command)))
    }

    fn digest(&self, machine: &M) -> Result<Option<u64>, End> {
        guarded(|| Doing::Look, || self.subject.digest(machine))
    }

    fn answers(&self, step: &Step) -> Result<Vec<String>, End> {
        let ctx = step.query_context();
        let answer = |query: &Bytes| {
            let Ok(asked) = M::Query::decode(query) else { return Ok("?".to_owned()) };
            let doing = || Doing::Call(query_text::<M>(query));
            guarded(doing, || reply_text(&self.main.query(&ctx, asked)))
        };
        step.queries.iter().map(answer).collect()
    }

    /// Writes a snapshot and restores it in the spare; says what state that is.
    fn restore(&mut self, snapshot: M::Snapshot) -> Result<Option<u64>, End> {
        let mut bytes = Vec::new();
        let written = guarded_snapshot("write()", || M::write(snapshot, &mut bytes))?;
        written.map_err(|why: io::Error| End::NotWritten { why: why.to_string() })?;
        let restored = guarded_snapshot("restore()", || self.spare.restore(&mut &bytes[..]))?;
        restored.map_err(|why| End::NotRestored { why: why.to_string() })?;
        if let Some((invariant, why)) = self.subject.broken(&self.spare) {
            return Err(End::Broken { invariant, why, restored: true });
        }
        self.digest(&self.spare)
    }

    fn portrait(&mut self, number: usize) {
        let eyes = self.subject.eyes;
        let look = || ((eyes.state)(&self.main), (eyes.outline)(&self.main));
        // A state that cannot be shown is not named.
        self.life.portraits.insert(number, guarded(|| Doing::Look, look).unwrap_or_default());
    }
}

/// A command as a person writes it.
pub(super) fn command_text<M: Simulated>(bytes: &[u8]) -> String {
    M::Command::decode(bytes)
        .map_or_else(|error| error.to_string(), |command| super::seen::call_text(&command))
}

/// A query as a person writes it.
pub(super) fn query_text<M: Simulated>(bytes: &[u8]) -> String {
    M::Query::decode(bytes).map_or_else(|error| error.to_string(), |query| super::seen::call_text(&query))
}

/// The time between two commands of a machine that is tried alone: mostly short, at times hours.
pub(super) fn next_time(rng: &mut Rng, now: LogTime) -> LogTime {
    let span = if rng.chance(50) { rng.millis(1_000..10_000_000) } else { rng.millis(0..500) };
    now.saturating_add(span + Duration::from_micros(rng.below(1_000)))
}
