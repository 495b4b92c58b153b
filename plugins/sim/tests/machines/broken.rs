//! Machines with a mistake, each found and named.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use quorate::error::RestoreError;
use quorate::prelude::*;
use quorate::state_machine::{read_postcard, write_postcard};
use quorate::types::LogTime;
use quorate_sim::machine::{Cause, Failure, Finding, Wrong};
use quorate_sim::simulation;
use serde::{Deserialize, Serialize};

fn finding(failure: &Failure) -> &Finding {
    println!("{failure}");
    match &failure.wrong {
        Wrong::Machine(finding) => finding,
        _ => panic!("not the machine: {failure}"),
    }
}

/// The history is as short as it can be, and says what was called.
fn shows(finding: &Finding, cause: &Cause, most: usize, call: &str) {
    assert_eq!(finding.cause, *cause, "{finding}");
    assert!(finding.history.len() <= most, "{finding}");
    assert!(finding.history.iter().any(|line| line.call.contains(call)), "{finding}");
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, touch(key: u8)), query(1, touched(key: u8) -> Option<u64>))]
struct WallClock {
    touched: BTreeMap<u8, u64>,
}

impl WallClock {
    #[allow(clippy::disallowed_methods, reason = "the mistake")]
    fn touch(&mut self, key: u8) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.touched.insert(key, now);
    }

    fn touched(&self, key: u8) -> Option<u64> {
        self.touched.get(&key).copied()
    }
}

#[test]
fn a_machine_that_reads_the_wall_clock_is_found() {
    let failure = simulation!(t, WallClock = WallClock::default(), seeds: 3).run().expect_err("it differs");
    let finding = finding(&failure);
    shows(finding, &Cause::WallClock, 1, "touch(key: ");
    assert!(finding.to_string().starts_with("apply reads the wall clock: use `ctx.time()`"), "{finding}");
    assert!(finding.detail.contains("`touched["), "{finding}");
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, add(name: String)), query(1, first() -> Option<String>), query(2, all() -> HashMap<String, u32>))]
struct Iterates {
    names: HashMap<String, u32>,
}

impl Iterates {
    fn add(&mut self, name: String) {
        *self.names.entry(name).or_default() += 1;
    }

    fn first(&self) -> Option<String> {
        self.names.keys().next().cloned()
    }

    fn all(&self) -> HashMap<String, u32> {
        self.names.clone()
    }
}

#[test]
fn a_machine_that_iterates_a_hash_map_is_found() {
    let failure = simulation!(t, Iterates = Iterates::default(), seeds: 3).run().expect_err("it differs");
    let finding = finding(&failure);
    shows(finding, &Cause::HashOrder, 6, "add(name: ");
    assert!(finding.to_string().contains("iterates a `HashMap`"), "{finding}");
    assert!(finding.detail.contains("`first()` answered Some("), "{finding}");
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, open() -> u64), query(1, count() -> u64))]
struct Forgets {
    accounts: Vec<u64>,
    #[serde(skip)]
    next_id: u64,
}

impl Forgets {
    fn open(&mut self) -> u64 {
        self.next_id += 1;
        self.accounts.push(self.next_id);
        self.next_id
    }

    fn count(&self) -> u64 {
        self.accounts.len() as u64
    }
}

#[test]
fn a_machine_that_forgets_a_field_in_its_snapshot_is_found() {
    let failure = simulation!(t, Forgets = Forgets::default(), seeds: 3).run().expect_err("it differs");
    let finding = finding(&failure);
    shows(finding, &Cause::Forgotten(Some("next_id".to_owned())), 2, "open()");
    assert!(finding.to_string().starts_with("`next_id` is not in the snapshot"), "{finding}");
    assert!(finding.detail.contains("`next_id` was 1, and when it was restored 0"), "{finding}");
}

/// The other way to forget: a snapshot of another type. What it forgets shows at once.
#[derive(Clone, Debug, Default, Serialize, RaftStateMachine)]
#[raft(
    snapshot(type = Vec<u64>, capture = Self::capture, write = Self::save, restore = Self::load),
    command(1, push(number: u64)),
    query(1, last() -> Option<u64>),
)]
struct Narrow {
    numbers: Vec<u64>,
    pushed: u64,
}

impl Narrow {
    fn push(&mut self, number: u64) {
        self.pushed += 1;
        self.numbers.push(number);
    }

    fn last(&self) -> Option<u64> {
        self.numbers.last().copied()
    }

    fn capture(&self) -> Vec<u64> {
        self.numbers.clone()
    }

    fn save(snapshot: Vec<u64>, out: &mut dyn io::Write) -> io::Result<()> {
        write_postcard(&snapshot, out)
    }

    fn load(&mut self, input: &mut dyn io::Read) -> Result<(), RestoreError> {
        self.numbers = read_postcard(input)?;
        Ok(())
    }
}

#[test]
fn what_a_snapshot_of_another_type_leaves_out_is_named() {
    let failure = simulation!(t, Narrow = Narrow::default(), seeds: 3).run().expect_err("it differs");
    shows(finding(&failure), &Cause::Forgotten(Some("pushed".to_owned())), 2, "push(number: ");
}

/// A snapshot that is a handle to what changes.
#[derive(Clone, Debug, Default, RaftStateMachine)]
#[raft(
    snapshot(type = Arc<Mutex<Vec<u64>>>, capture = Self::capture, write = Self::save, restore = Self::load),
    command(1, push(number: u64)),
    query(1, numbers() -> Vec<u64>),
)]
struct Shares {
    numbers: Arc<Mutex<Vec<u64>>>,
}

impl Shares {
    fn push(&mut self, number: u64) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(number);
    }

    fn numbers(&self) -> Vec<u64> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn capture(&self) -> Arc<Mutex<Vec<u64>>> {
        self.numbers.clone()
    }

    fn save(snapshot: Arc<Mutex<Vec<u64>>>, out: &mut dyn io::Write) -> io::Result<()> {
        write_postcard(&*snapshot.lock().unwrap_or_else(PoisonError::into_inner), out)
    }

    fn load(&mut self, input: &mut dyn io::Read) -> Result<(), RestoreError> {
        self.numbers = Arc::new(Mutex::new(read_postcard(input)?));
        Ok(())
    }
}

#[test]
fn a_snapshot_that_is_no_frozen_view_is_found() {
    let failure = simulation!(t, Shares = Shares::default(), seeds: 3).run().expect_err("it differs");
    shows(finding(&failure), &Cause::NotFrozen, 2, "push(number: ");
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, roll() -> u64))]
struct Dice;

#[allow(clippy::unused_self, reason = "commands are methods")]
impl Dice {
    fn roll(&mut self) -> u64 {
        // Random numbers without a crate for them.
        RandomState::new().hash_one(0) % 1_000
    }
}

#[test]
fn a_machine_that_draws_its_own_random_numbers_is_found() {
    let failure = simulation!(t, Dice = Dice, seeds: 3).run().expect_err("it differs");
    let finding = finding(&failure);
    assert!([Cause::RandomNumbers, Cause::HashOrder].contains(&finding.cause), "{finding}");
    assert!(finding.detail.starts_with("`roll()` responded "), "{finding}");
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, next() -> u64))]
struct Static;

static NEXT: AtomicU64 = AtomicU64::new(0);

#[allow(clippy::unused_self, reason = "commands are methods")]
impl Static {
    fn next(&mut self) -> u64 {
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

#[test]
fn a_machine_with_a_static_is_found() {
    let failure = simulation!(t, Static = Static, seeds: 3).run().expect_err("it differs");
    shows(finding(&failure), &Cause::Outside, 1, "next()");
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, add(amount: u64)), query(1, sum() -> u64))]
struct Overflows {
    sum: u64,
}

impl Overflows {
    fn add(&mut self, amount: u64) {
        self.sum = self.sum.checked_add(amount).expect("nobody has that much");
    }

    fn sum(&self) -> u64 {
        self.sum
    }
}

#[test]
fn a_panic_is_reported_with_the_command_that_caused_it() {
    let failure = simulation!(t, Overflows = Overflows::default(), seeds: 10).run().expect_err("it panics");
    let finding = finding(&failure);
    shows(finding, &Cause::Panic, 2, "add(amount: 1844674407370955161");
    assert!(finding.detail.starts_with("`add(amount: "), "{finding}");
    let here = format!("panicked at {}:", file!());
    assert!(
        finding.detail.contains(&here) && finding.detail.ends_with(": nobody has that much"),
        "{finding}"
    );
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(deadline = Self::next, command(1, lease(ctx)))]
struct Late {
    until: Option<LogTime>,
}

impl Late {
    fn lease(&mut self, ctx: &mut ApplyContext) {
        self.until.get_or_insert(ctx.time().saturating_add(std::time::Duration::from_secs(1)));
    }

    fn next(&self, _: LogTime) -> Option<LogTime> {
        self.until
    }
}

#[test]
fn a_deadline_that_has_passed_is_found() {
    let failure = simulation!(t, Late = Late::default(), seeds: 3).run().expect_err("it passes");
    shows(finding(&failure), &Cause::Deadline, 2, "lease()");
}
