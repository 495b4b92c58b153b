//! Machines that are right, and must not be accused: of a `HashMap` that nobody iterates, of the
//! log's clock and random numbers, of a cache that no snapshot has, of no `Serialize` at all.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::io;

use quorate::error::RestoreError;
use quorate::prelude::*;
use quorate::state_machine::{read_postcard, write_postcard};
use quorate::types::LogTime;
use serde::{Deserialize, Serialize};

/// Keeps its state in hash maps, and answers with one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, put(key: String, value: u32) -> Option<u32>),
    command(2, tag(name: String) -> HashSet<String>),
    query(1, get(key: String) -> Option<u32>),
    query(2, all() -> HashMap<String, u32>),
)]
struct Hashed {
    values: HashMap<String, u32>,
    tags: HashSet<String>,
    heap: BinaryHeap<u32>,
}

impl Hashed {
    fn put(&mut self, key: String, value: u32) -> Option<u32> {
        self.heap.push(value);
        self.values.insert(key, value)
    }

    fn tag(&mut self, name: String) -> HashSet<String> {
        self.tags.insert(name);
        self.tags.clone()
    }

    fn get(&self, key: String) -> Option<u32> {
        self.values.get(&key).copied()
    }

    fn all(&self) -> HashMap<String, u32> {
        self.values.clone()
    }
}

quorate_sim::simulate!(fn a_harmless_hash_map_is_no_alarm, Hashed, seeds: 3);

/// Leases by the log's clock, with numbers from the log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    deadline = Self::next_end,
    command(1, take(ctx, name: String, for_ms: u16) -> Option<u64>),
    command(2, where_am_i(ctx) -> (u64, u64)),
    query(1, holds(ctx, name: String) -> bool),
    query(2, now(ctx) -> u64),
)]
struct Leases {
    until: BTreeMap<String, LogTime>,
}

#[allow(clippy::unused_self, reason = "commands are methods")]
impl Leases {
    fn take(&mut self, ctx: &mut ApplyContext, name: String, for_ms: u16) -> Option<u64> {
        let now = ctx.time();
        if self.until.get(&name).is_some_and(|until| *until > now) {
            return None;
        }
        self.until.insert(name, now.saturating_add(std::time::Duration::from_millis(for_ms.into())));
        Some(ctx.rng().below(1_000_000))
    }

    fn where_am_i(&mut self, ctx: &mut ApplyContext) -> (u64, u64) {
        (ctx.position().index.get(), ctx.term().get())
    }

    fn holds(&self, ctx: &QueryContext, name: String) -> bool {
        self.until.get(&name).is_some_and(|until| *until > ctx.time())
    }

    fn now(&self, ctx: &QueryContext) -> u64 {
        ctx.time().as_micros()
    }

    fn next_end(&self, now: LogTime) -> Option<LogTime> {
        self.until.values().copied().filter(|until| *until > now).min()
    }
}

quorate_sim::simulate!(fn the_context_is_the_same_everywhere, Leases, seeds: 4);

/// Without `Serialize`, `Debug` or `Default`; with a cache that is made again.
#[derive(RaftStateMachine)]
#[raft(
    snapshot(type = Vec<u16>, capture = Self::capture, write = Self::save, restore = Self::load),
    command(1, add(number: u16)),
    query(1, sorted() -> Vec<u16>),
)]
struct Bare {
    numbers: Vec<u16>,
    sorted: BTreeSet<u16>,
}

impl Bare {
    fn new() -> Self {
        Self { numbers: Vec::new(), sorted: BTreeSet::new() }
    }

    fn add(&mut self, number: u16) {
        self.numbers.push(number);
        self.sorted.insert(number);
    }

    fn sorted(&self) -> Vec<u16> {
        self.sorted.iter().copied().take(50).collect()
    }

    fn capture(&self) -> Vec<u16> {
        self.numbers.clone()
    }

    fn save(snapshot: Vec<u16>, out: &mut dyn io::Write) -> io::Result<()> {
        write_postcard(&snapshot, out)
    }

    fn load(&mut self, input: &mut dyn io::Read) -> Result<(), RestoreError> {
        self.numbers = read_postcard(input)?;
        self.sorted = self.numbers.iter().copied().collect();
        Ok(())
    }
}

quorate_sim::simulate!(fn a_machine_needs_no_serialize, Bare = Bare::new(), seeds: 2);

/// Registers by name: what happens to one has nothing to do with another.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, swap(key: u8, value: u32) -> Option<u32>), query(1, get(key: u8) -> Option<u32>))]
struct Swaps(BTreeMap<u8, u32>);

impl Swaps {
    fn swap(&mut self, key: u8, value: u32) -> Option<u32> {
        self.0.insert(key, value)
    }

    fn get(&self, key: u8) -> Option<u32> {
        self.0.get(&key).copied()
    }
}

quorate_sim::simulate!(
    fn keys_are_searched_one_by_one,
    Swaps,
    seeds: 3,
    key: |call| match call {
        quorate_sim::workload::Call::Write(SwapsCommand::Swap { key, .. })
        | quorate_sim::workload::Call::Read(SwapsQuery::Get { key }) => *key,
    },
);

quorate_sim::simulate!(fn no_query_is_fine, Counter, seeds: 1);

/// No query, no argument.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, up() -> u64))]
struct Counter(u64);

impl Counter {
    fn up(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}
