//! Machines that are broken, each in one way.

mod durable;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate::state_machine::{
    ApplyContext, ArgumentReader, ArgumentWriter, DecodeError, EncodeError, QueryContext, RestoreError,
    StateMachine, Wire, read_postcard, write_postcard,
};
use quorate::testing::Seeded;
use quorate::testing::state_machine::{MachineHarness, functions};
use quorate::types::LogTime;

use crate::verdict::assert_fails;

/// One way to be broken: everything that it does not override is right.
trait Break: Send + Sync + 'static {
    /// Whether an unknown id is taken for that of `clear`.
    const GUESSES_IDS: bool = false;
    /// Whether bytes behind the last argument are ignored.
    const IGNORES_LEFTOVERS: bool = false;
    /// Whether a value comes back as another one.
    const FORGETS_AN_ARGUMENT: bool = false;
    /// Whether `sum` adds in the order of a `HashMap`.
    const ITERATES_A_HASH_MAP: bool = false;
    /// Whether the snapshot leaves out the count of commands.
    const SNAPSHOT_FORGETS: bool = false;
    /// Whether the snapshot shares the state instead of freezing it.
    const SNAPSHOT_THAWS: bool = false;
    /// Whether a restore adds to the state that is there.
    const RESTORE_ADDS: bool = false;
    /// Whether a command is refused by a panic.
    const PANICS: bool = false;
    /// Whether a deadline that has passed hides the next.
    const DEADLINE_PASSES: bool = false;

    /// Something that only this process knows.
    fn private() -> u64 {
        0
    }
}

/// Counts per name, and how many commands there were.
struct Counts<B> {
    state: Arc<Mutex<State>>,
    how: PhantomData<B>,
}

#[derive(Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct State {
    counts: BTreeMap<String, u64>,
    commands: u64,
    lucky: u64,
    changed: LogTime,
}

enum Command<B> {
    Add { name: String, count: u64 },
    Clear(PhantomData<fn() -> B>),
}

enum Query<B> {
    Count { name: String },
    Sum(PhantomData<fn() -> B>),
}

/// What is answered: a number, under an id of its own.
struct Number(u64);

fn finish<B: Break>(reader: ArgumentReader<'_>) -> Result<(), DecodeError> {
    if B::IGNORES_LEFTOVERS { Ok(()) } else { reader.finish() }
}

impl<B: Break> Wire for Command<B> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Add { name, count } => {
                let mut writer = ArgumentWriter::new(out, 1, "add");
                writer.argument("name", name)?;
                writer.argument("count", count)
            }
            Self::Clear(_) => {
                ArgumentWriter::new(out, 2, "clear");
                Ok(())
            }
        }
    }

    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ArgumentReader::new(input)?;
        let command = match reader.id() {
            1 => {
                reader = reader.item("add");
                let (name, count) = (reader.argument("name")?, reader.argument("count")?);
                Self::Add { name, count: if B::FORGETS_AN_ARGUMENT { 0 } else { count } }
            }
            2 => Self::Clear(PhantomData),
            id if !B::GUESSES_IDS => return Err(DecodeError::UnknownId { kind: "command", id }),
            _ => return Ok(Self::Clear(PhantomData)),
        };
        finish::<B>(reader)?;
        Ok(command)
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Clear(_) => "clear",
        }
    }
}

impl<B: Break> Wire for Query<B> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Count { name } => ArgumentWriter::new(out, 1, "count").argument("name", name),
            Self::Sum(_) => {
                ArgumentWriter::new(out, 2, "sum");
                Ok(())
            }
        }
    }

    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ArgumentReader::new(input)?;
        let query = match reader.id() {
            1 => Self::Count { name: reader.argument("name")? },
            2 => Self::Sum(PhantomData),
            id => return Err(DecodeError::UnknownId { kind: "query", id }),
        };
        reader.finish()?;
        Ok(query)
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Count { .. } => "count",
            Self::Sum(_) => "sum",
        }
    }
}

impl Wire for Number {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        ArgumentWriter::new(out, 1, "number").argument("number", &self.0)
    }

    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ArgumentReader::new(input)?.item("number");
        let number = reader.argument("number")?;
        reader.finish()?;
        Ok(Self(number))
    }

    fn label(&self) -> &'static str {
        "number"
    }
}

impl<B: Break> Counts<B> {
    fn with<R>(&self, use_it: impl FnOnce(&mut State) -> R) -> R {
        use_it(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<B: Break> StateMachine for Counts<B> {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 1;

    type Command = Command<B>;
    type Response = Number;
    type Query = Query<B>;
    type Answer = Number;
    type Snapshot = Arc<Mutex<State>>;

    fn apply(&mut self, ctx: &mut ApplyContext, command: Command<B>) -> Number {
        let draw = ctx.rng().below(100);
        self.with(|state| {
            state.commands += 1;
            state.lucky += draw + B::private();
            state.changed = ctx.time();
            match command {
                Command::Add { name, count } => {
                    let total = state.counts.entry(name).or_default();
                    *total = total.wrapping_add(count);
                    Number(*total)
                }
                Command::Clear(_) => {
                    assert!(!B::PANICS, "a command that should have been refused");
                    state.counts.clear();
                    Number(state.commands)
                }
            }
        })
    }

    fn query(&self, _: &QueryContext, query: Query<B>) -> Number {
        self.with(|state| match query {
            Query::Count { name } => Number(state.counts.get(&name).copied().unwrap_or_default()),
            Query::Sum(_) if B::ITERATES_A_HASH_MAP => {
                let hashed: HashMap<&String, &u64> = state.counts.iter().collect();
                Number(hashed.values().fold(0_u64, |sum, count| sum.wrapping_mul(31).wrapping_add(**count)))
            }
            Query::Sum(_) => {
                Number(state.counts.values().fold(state.lucky, |sum, count| sum.wrapping_add(*count)))
            }
        })
    }

    fn snapshot(&self) -> Self::Snapshot {
        if B::SNAPSHOT_THAWS {
            return self.state.clone();
        }
        Arc::new(Mutex::new(self.with(|state| state.clone())))
    }

    fn write(snapshot: Self::Snapshot, out: &mut dyn Write) -> io::Result<()> {
        let mut state = snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if B::SNAPSHOT_FORGETS {
            state.commands = 0;
        }
        write_postcard(&state, out)
    }

    fn restore(&mut self, input: &mut dyn Read) -> Result<(), RestoreError> {
        let restored: State = read_postcard(input)?;
        self.with(|state| {
            let before = std::mem::replace(state, restored);
            if B::RESTORE_ADDS {
                state.counts.extend(before.counts);
            }
        });
        Ok(())
    }

    fn deadline(&self, now: LogTime) -> Option<LogTime> {
        let changed = self.with(|state| state.changed);
        if B::DEADLINE_PASSES {
            return Some(changed);
        }
        Some(changed.saturating_add(Duration::from_secs(1))).filter(|next| *next > now)
    }
}

struct Harness<B>(PhantomData<B>);

impl<B: Break> MachineHarness for Harness<B> {
    type Machine = Counts<B>;

    fn machine() -> Counts<B> {
        Counts { state: Arc::default(), how: PhantomData }
    }

    fn command(rng: &mut Seeded) -> Command<B> {
        if rng.one_in(20) {
            return Command::Clear(PhantomData);
        }
        Command::Add { name: format!("name {}", rng.draw(0..20)), count: rng.draw(0..1000) }
    }

    fn query(rng: &mut Seeded) -> Option<Query<B>> {
        if rng.one_in(3) {
            return Some(Query::Sum(PhantomData));
        }
        Some(Query::Count { name: format!("name {}", rng.draw(0..20)) })
    }
}

/// Nothing is broken: what every other test compares with.
mod sound {
    use super::{Break, Harness};

    broken!(Sound:);
    quorate::state_machine_conformance!(Harness<Sound>);
}

broken!(GuessesIds: const GUESSES_IDS: bool = true;);

#[test]
fn takes_an_unknown_id_for_another() {
    let cases = functions::<Harness<GuessesIds>>();
    assert_fails(cases, &[("unknown_ids_are_refused", "was taken for `clear`, which has another id")]);
}

broken!(IgnoresLeftovers: const IGNORES_LEFTOVERS: bool = true;);

#[test]
fn ignores_leftover_bytes() {
    let cases = functions::<Harness<IgnoresLeftovers>>();
    assert_fails(cases, &[("leftover_bytes_are_refused", "behind the last argument of `")]);
}

broken!(ForgetsAnArgument: const FORGETS_AN_ARGUMENT: bool = true;);

#[test]
fn forgets_an_argument() {
    let cases = functions::<Harness<ForgetsAnArgument>>();
    assert_fails(cases, &[("commands_come_back_from_their_bytes", "`add` comes back with other arguments")]);
}

broken!(CountsCalls: fn private() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed)
});

#[test]
fn applies_by_something_that_only_this_process_knows() {
    assert_fails(functions::<Harness<CountsCalls>>(), &[("two_copies_agree", "after command 0, ")]);
}

broken!(IteratesAHashMap: const ITERATES_A_HASH_MAP: bool = true;);

#[test]
fn answers_in_the_order_of_a_hash_map() {
    assert_fails(
        functions::<Harness<IteratesAHashMap>>(),
        &[("two_copies_agree", "is answered differently")],
    );
}

broken!(Panics: const PANICS: bool = true;);

#[test]
fn panics_on_a_command() {
    assert_fails(functions::<Harness<Panics>>(), &[("no_command_or_query_panics", "`clear`, panicked")]);
}

broken!(DeadlinePasses: const DEADLINE_PASSES: bool = true;);

#[test]
fn hides_a_deadline_behind_one_that_has_passed() {
    assert_fails(functions::<Harness<DeadlinePasses>>(), &[("two_copies_agree", "it hides later ones")]);
}

broken!(SnapshotForgets: const SNAPSHOT_FORGETS: bool = true;);

#[test]
fn forgets_a_field_in_a_snapshot() {
    assert_fails(
        functions::<Harness<SnapshotForgets>>(),
        &[("snapshot_round_trip_equals_straight_application", "has another response")],
    );
}

broken!(SnapshotThaws: const SNAPSHOT_THAWS: bool = true;);

#[test]
fn changes_a_snapshot_after_its_capture() {
    let cases = functions::<Harness<SnapshotThaws>>();
    assert_fails(cases, &[("snapshot_is_a_frozen_view", "written later")]);
}

broken!(RestoreAdds: const RESTORE_ADDS: bool = true;);

#[test]
fn adds_a_restored_state_to_the_old_one() {
    let cases = functions::<Harness<RestoreAdds>>();
    assert_fails(cases, &[("restore_replaces_the_state", "restored over another state")]);
}
