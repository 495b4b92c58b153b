//! `kill -9` in the middle of writing, again and again, on real files.
//!
//! The test starts its own binary as the writer. The child says what it is about to do and what
//! was acknowledged; the parent kills it at some line, and reads the directory.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use futures::executor::block_on;
use quorate::storage::{Receipt, Write};
use quorate::types::{GroupId, LogId};
use quorate_redb::RedbStorage;
use tempfile::tempdir;

use crate::common::*;
use crate::random::Random;

const CHILD: &str = "QUORATE_REDB_KILL";
const NAME: &str = "kill::killed_writers_lose_nothing_acknowledged";
/// How many cycles; `QUORATE_REDB_KILLS` sets another number.
const CYCLES: u64 = 40;
const GROUPS: [GroupId; 3] = [GroupId(0), GroupId(1), GroupId(7)];

/// A step of one group, small enough to be said in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Append(u64, u64),
    Truncate(u64),
    Purge(u64),
    Vote(u64),
    Snapshot(u64),
}

/// What a group must be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    start: u64,
    end: u64,
    vote: u64,
    snapshot: u64,
}

impl Model {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Append(_, end) => self.end = end,
            Step::Truncate(from) => self.end = self.end.min(from),
            Step::Purge(upto) => {
                self.start = upto + 1;
                self.end = self.end.max(self.start);
            }
            Step::Vote(vote) => self.vote = vote,
            Step::Snapshot(index) => self.snapshot = index,
        }
    }

    fn read(storage: &RedbStorage, group: GroupId) -> Self {
        let state = state(storage, group);
        let vote =
            state.vote.map_or(0, |vote| std::str::from_utf8(&vote).expect("text").parse().expect("a number"));
        let snapshot = read_snapshot(storage, group).expect("whole").map_or(0, |(covers, bytes)| {
            assert_eq!(bytes, covers.index.get().to_string().into_bytes());
            covers.index.get()
        });
        Self { start: state.log.start, end: state.log.end, vote, snapshot }
    }
}

impl Step {
    fn write(self, group: GroupId) -> Write {
        match self {
            Self::Append(first, end) => append_of(group, first..end, 150),
            Self::Truncate(from) => truncate_of(from),
            Self::Purge(upto) => purge_of(upto),
            Self::Vote(vote) => vote_of(&vote.to_string()),
            Self::Snapshot(_) => unreachable!("snapshots are not queued"),
        }
    }

    fn say(self) -> String {
        match self {
            Self::Append(first, end) => format!("append {first} {end}"),
            Self::Truncate(from) => format!("truncate {from}"),
            Self::Purge(upto) => format!("purge {upto}"),
            Self::Vote(vote) => format!("vote {vote}"),
            Self::Snapshot(index) => format!("snapshot {index}"),
        }
    }

    fn hear(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let kind = words.next()?;
        let mut number = || words.next().and_then(|word| word.parse().ok());
        Some(match kind {
            "append" => Self::Append(number()?, number()?),
            "truncate" => Self::Truncate(number()?),
            "purge" => Self::Purge(number()?),
            "vote" => Self::Vote(number()?),
            "snapshot" => Self::Snapshot(number()?),
            _ => return None,
        })
    }
}

/// Writes until it is killed.
fn child(dir: &Path, seed: u64) {
    let storage = open(dir);
    let mut random = Random::new(seed);
    let mut models: Vec<Model> = GROUPS.iter().map(|group| Model::read(&storage, *group)).collect();
    let mut waiting: Vec<(usize, Step, Receipt)> = Vec::new();
    let say = |verb: &str, at: usize, step: Step| {
        // One write a line, so that a line is whole or not there.
        let line = format!("@{verb} {at} {}\n", step.say());
        std::io::stdout().write_all(line.as_bytes()).expect("the parent listens");
    };
    loop {
        for _ in 0..=random.below(6) {
            let at = random.below(3) as usize;
            let model = &mut models[at];
            let step = match random.below(12) {
                0 => Step::Vote(model.vote + 1),
                1 if model.end > model.start => {
                    Step::Truncate(model.start + random.below(model.end - model.start))
                }
                2 if model.end > model.start + 3 => {
                    Step::Purge(model.start + random.below(model.end - model.start))
                }
                3 if random.below(40) == 0 => Step::Purge(model.end + random.below(5)),
                4 if model.end > model.snapshot => Step::Snapshot(model.end),
                _ => Step::Append(model.end, model.end + 1 + random.below(40)),
            };
            model.apply(step);
            say("q", at, step);
            if let Step::Snapshot(index) = step {
                let text = index.to_string();
                snapshot(&storage, GROUPS[at], LogId::new(1, index), &[text.as_bytes()])
                    .expect("a sound disk");
                say("s", at, step);
            } else {
                waiting.push((at, step, queue(&storage, GROUPS[at], step.write(GROUPS[at]))));
            }
        }
        for (at, step, receipt) in waiting.drain(..) {
            block_on(receipt).expect("a sound disk");
            say("a", at, step);
        }
    }
}

/// What the parent knows of a group: the state after what was acknowledged, and what was queued
/// after that, of which any first part may be on the disk.
#[derive(Clone, Default)]
struct Heard {
    acknowledged: Model,
    queued: Vec<Step>,
    /// Snapshots are written beside the queue.
    snapshot: Option<u64>,
}

impl Heard {
    fn hear(&mut self, verb: &str, step: Step) {
        match (verb, step) {
            ("q", Step::Snapshot(index)) => self.snapshot = Some(index),
            ("q", step) => self.queued.push(step),
            ("s", Step::Snapshot(index)) => {
                self.acknowledged.snapshot = index;
                self.snapshot = None;
            }
            ("a", step) => {
                assert_eq!(self.queued.remove(0), step, "receipts come in order");
                self.acknowledged.apply(step);
            }
            other => panic!("{other:?}"),
        }
    }

    fn check(&self, found: &Model, what: &str) {
        let snapshots = [Some(self.acknowledged.snapshot), self.snapshot];
        assert!(snapshots.contains(&Some(found.snapshot)), "{what}: snapshot {}", found.snapshot);
        let mut possible = self.acknowledged.clone();
        possible.snapshot = found.snapshot;
        let mut all = vec![possible.clone()];
        for step in &self.queued {
            possible.apply(*step);
            all.push(possible.clone());
        }
        assert!(all.contains(found), "{what}: {found:?} is none of {all:?}");
    }
}

#[test]
fn killed_writers_lose_nothing_acknowledged() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let seed = std::env::var("QUORATE_REDB_SEED").expect("set beside it").parse().expect("a number");
        return child(Path::new(&dir), seed);
    }
    let dir = tempdir().expect("a directory");
    let mut heard: [Heard; 3] = Default::default();
    let mut random = Random::seeded();
    let mut acknowledged = 0;
    let cycles = std::env::var("QUORATE_REDB_KILLS").ok();
    let cycles = cycles.map_or(CYCLES, |cycles| cycles.parse().expect("a number"));
    for cycle in 0..cycles {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, dir.path())
            .env("QUORATE_REDB_SEED", cycle.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut left = 20 + random.below(300);
        for line in lines {
            let line = line.expect("the pipe holds whole lines");
            // What the test harness prints is not for us; it may stand before the first line.
            let Some((_, text)) = line.split_once('@') else { continue };
            let mut parts = text.splitn(3, ' ');
            let (verb, at) = (parts.next().expect("a verb"), parts.next().expect("a group"));
            let step = Step::hear(parts.next().expect("a step")).expect("one of ours");
            heard[at.parse::<usize>().expect("a number")].hear(verb, step);
            acknowledged += u64::from(verb == "a");
            left = left.saturating_sub(1);
            if left == 1 {
                // SIGKILL. What it has said until it is dead is read on.
                child.kill().expect("it lives");
            }
        }
        let status = child.wait().expect("it ran");
        assert!(!status.success() && left <= 1, "cycle {cycle}: the child ended by itself: {status}");
        let storage = open(dir.path());
        for (group, heard) in GROUPS.into_iter().zip(&mut heard) {
            let found = Model::read(&storage, group);
            heard.check(&found, &format!("cycle {cycle}, {group}"));
            assert_log(&storage, group, found.start..found.end, 150);
            *heard = Heard { acknowledged: found, ..Heard::default() };
        }
    }
    println!("{cycles} kills, {acknowledged} writes acknowledged before them, none lost");
    assert!(acknowledged > cycles * 10, "only {acknowledged} writes were acknowledged");
}
