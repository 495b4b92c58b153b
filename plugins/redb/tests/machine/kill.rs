//! `kill -9` of a machine on a disk, again and again, on real files.
//!
//! The test starts its own binary, which applies, flushes and installs, and says so before and after.
//! The parent kills it at some line, opens the file, and compares.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use quorate::state_machine::DurableStateMachine;
use tempfile::tempdir;

use crate::common::*;
use crate::random::Random;

const CHILD: &str = "QUORATE_REDB_MACHINE_KILL";
const NAME: &str = "kill::a_killed_machine_is_at_a_batch_that_it_has_flushed_or_a_later_one";
/// How many cycles; `QUORATE_REDB_KILLS` sets another number.
const CYCLES: u64 = 20;
/// What the state that is installed has.
const OF_B: u64 = 60;
/// How far in the log a state is that is installed.
const AHEAD: u64 = 1000;

/// Applies until it is killed.
fn child(dir: &Path, seed: u64) {
    let machine = open_at(dir);
    let snapshot = std::fs::read(dir.join("snapshot")).expect("put there by the parent");
    let mut random = Random::new(seed);
    let mut at = record(&machine);
    let say = |verb: &str, at: u64| {
        // One write a line, so that a line is whole or not there.
        std::io::stdout().write_all(format!("@{verb} {at}\n").as_bytes()).expect("the parent listens");
    };
    loop {
        match random.below(16) {
            0..3 => {
                machine.flush().expect("a sound disk");
                say("flushed", at);
            }
            3 => {
                at += AHEAD;
                say("install", at);
                restore(&machine, at, &snapshot).expect("a sound disk");
                say("installed", at);
            }
            _ => {
                let end = at + 1 + random.below(30);
                say("apply", end);
                add(&machine, "a", at..end).expect("a sound disk");
                at = end;
            }
        }
    }
}

/// What the parent knows.
#[derive(Default)]
struct Heard {
    /// At least so far it is.
    flushed: u64,
    /// Where it may be: the ends of batches and of installed states, each with where the last state
    /// was installed before it.
    possible: BTreeMap<u64, u64>,
    installed: u64,
}

impl Heard {
    fn hear(&mut self, verb: &str, at: u64) {
        match verb {
            "apply" => drop(self.possible.insert(at, self.installed)),
            "install" => {
                self.installed = at;
                self.possible.insert(at, at);
            }
            "flushed" | "installed" => self.flushed = at,
            other => panic!("{other}"),
        }
    }

    /// Checks all that the file shows, and goes on from there.
    fn check(&mut self, machine: &Machine, what: &str) {
        let found = record(machine);
        assert!(found >= self.flushed, "{what}: it is at {found}, and had flushed {}", self.flushed);
        let installed = self.possible.get(&found);
        let installed = *installed.unwrap_or_else(|| panic!("{what}: it is at {found}, no end of a batch"));
        let of_b = if installed > 0 { OF_B } else { 0 };
        let totals = (total(machine, "a").unwrap_or(0), total(machine, "b").unwrap_or(0));
        assert_eq!(totals, (found - installed, of_b), "{what}: effects and record part at {found}");
        assert_eq!(commands(machine), found - installed + of_b, "{what}: the tables part at {found}");
        *self = Self { flushed: found, possible: BTreeMap::from([(found, installed)]), installed };
    }
}

#[test]
fn a_killed_machine_is_at_a_batch_that_it_has_flushed_or_a_later_one() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let seed = std::env::var("QUORATE_REDB_SEED").expect("set beside it").parse().expect("a number");
        return child(Path::new(&dir), seed);
    }
    let dir = tempdir().expect("a directory");
    {
        let (_elsewhere, machine) = temporary();
        add(&machine, "b", 0..OF_B).expect("applied");
        std::fs::write(dir.path().join("snapshot"), written(view(&machine))).expect("a sound disk");
    }
    let mut heard = Heard { possible: BTreeMap::from([(0, 0)]), ..Heard::default() };
    let mut random = Random::seeded();
    let (mut flushes, mut installs) = (0, 0);
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
        let mut left = 2 + random.below(60);
        for line in lines {
            let line = line.expect("the pipe holds whole lines");
            // What the test harness prints is not for us; it may stand before the first line.
            let Some((_, text)) = line.split_once('@') else { continue };
            let (verb, at) = text.split_once(' ').expect("a verb and how far");
            heard.hear(verb, at.parse().expect("a number"));
            flushes += u64::from(verb == "flushed");
            installs += u64::from(verb == "installed");
            left = left.saturating_sub(1);
            if left == 1 {
                // SIGKILL. What it has said until it is dead is read on.
                child.kill().expect("it lives");
            }
        }
        let status = child.wait().expect("it ran");
        assert!(!status.success() && left <= 1, "cycle {cycle}: the child ended by itself: {status}");
        heard.check(&open_at(dir.path()), &format!("cycle {cycle}"));
    }
    println!("{cycles} kills, {flushes} flushes and {installs} installed states before them, none lost");
    assert!(flushes > cycles && installs > cycles / 4, "{flushes} flushes, {installs} installed");
}
