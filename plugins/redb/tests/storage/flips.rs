//! Bits that flip anywhere in the file: an error that names what is lost, or no harm.

use std::ops::Range;
use std::panic;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::executor::block_on;
use quorate::error::StorageError;
use quorate::storage::{GroupState, Storage, Write};
use quorate::types::{GroupId, LogIndex};
use quorate_redb::{Durability, RedbStorage};

use crate::common::*;
use crate::disk::Disk;
use crate::random::Random;

const GROUPS: [GroupId; 3] = [GroupId(0), GroupId(1), GroupId(9)];

/// An entry that is whole by the framework's checksum, and like no other.
fn whole_entry(group: GroupId, index: u64, len: usize) -> Bytes {
    let mut random = Random::new(group.get() << 32 | index);
    let mut bytes: Vec<u8> = (0..44 + len).map(|_| random.below(256) as u8).collect();
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes.into()
}

fn append(storage: &RedbStorage, group: GroupId, range: Range<u64>, len: usize) {
    let entries = range.clone().map(|index| whole_entry(group, index, len)).collect();
    write(storage, group, Write::Append { first: LogIndex(range.start), entries });
}

/// All that a reader can see of a storage.
#[derive(Debug, PartialEq, Eq)]
struct Seen(Vec<(GroupState, Vec<Bytes>)>);

fn see(storage: &RedbStorage) -> Result<Seen, StorageError> {
    let see = |group: &GroupId| {
        let state = block_on(storage.open(*group))?;
        let entries = try_read(storage, *group, state.log.clone(), usize::MAX)?;
        assert_eq!(entries.len() as u64, state.log.end - state.log.start, "an answer with a hole");
        Ok((state, entries))
    };
    GROUPS.iter().map(see).collect::<Result<_, _>>().map(Seen)
}

/// Writes a life's worth: large rows and small ones, a truncation, a purge that has not been swept.
fn fill(storage: &RedbStorage) {
    fill_log(storage);
    write(storage, G1, purge_of(24));
}

fn fill_log(storage: &RedbStorage) {
    for round in 0..3 {
        for group in GROUPS {
            append(storage, group, round * 20..(round + 1) * 20, 250);
            write(storage, group, vote_of(&format!("T{round} n1")));
        }
    }
    for index in 60..80 {
        append(storage, G0, index..index + 1, 60);
        write(storage, G0, Write::Committed(Bytes::from(index.to_string())));
    }
    write(storage, G1, truncate_of(51));
    append(storage, G1, 51..53, 6000);
}

const LOG_FILE: &str = "/n1/log.redb";
const SEEN_FILE: &str = "/n1/log.seen";

/// The log and what was seen of it.
struct Image {
    log: Vec<u8>,
    seen: Vec<u8>,
}

impl Image {
    fn of(disk: &Disk) -> Self {
        // In this order: the writer may go on meanwhile, and nothing is seen that is not there.
        let seen = disk.bytes(Path::new(SEEN_FILE));
        Self { log: disk.bytes(Path::new(LOG_FILE)), seen }
    }

    /// Puts it back, with other bytes for the log.
    fn put(&self, disk: &Disk, log: &[u8]) {
        disk.set_bytes(Path::new(LOG_FILE), log);
        disk.set_bytes(Path::new(SEEN_FILE), &self.seen);
    }
}

/// Small and quick: nothing ahead of need, nothing in reserve.
fn open_on(disk: &Disk, durability: Durability) -> Result<RedbStorage, StorageError> {
    let builder = RedbStorage::builder("/n1").hooks(disk.hooks()).durability(durability);
    let storage = builder.preallocate_bytes(0).ballast_bytes(0).low_water_bytes(0).open()?;
    block_on(storage.set_identity_once(&identity(1))).expect("its own identity");
    Ok(storage)
}

const ALONE: &str = "QUORATE_REDB_ALONE";

/// Runs this test in a process of its own: what panics is counted for all of one. Whether this is it.
fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let name = format!("flips::{test}");
    let this = std::env::current_exe().expect("this program");
    let child = Command::new(this).args(["--exact", &name, "--nocapture"]).env(ALONE, "1").status();
    assert!(child.expect("this program runs").success(), "see above");
    false
}

/// Counts what panics in this process, instead of printing it.
fn count_panics() -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        counted.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    count
}

fn find_all(file: &[u8], bytes: &[u8]) -> Vec<usize> {
    let first = u64::from_le_bytes(*bytes.first_chunk().expect("long enough"));
    let starts = file.windows(8).enumerate();
    let found = starts.filter(|(_, head)| u64::from_le_bytes(*head.first_chunk().expect("eight")) == first);
    found.map(|(at, _)| at).filter(|at| file[*at..].starts_with(bytes)).collect()
}

/// Where in the file each entry stands that stands there once.
fn places(file: &[u8], seen: &Seen) -> Vec<(Range<usize>, String)> {
    let mut places = Vec::new();
    for (group, (state, entries)) in GROUPS.iter().zip(&seen.0) {
        for (index, entry) in (state.log.start..).zip(entries) {
            let head = &entry[..40];
            if let [at] = find_all(file, head)[..] {
                places.push((at..at + entry.len(), format!("entry {index} of {group}")));
            }
        }
    }
    places
}

#[test]
fn two_thousand_flipped_bits_give_no_wrong_answer_and_name_what_is_lost() {
    if !alone("two_thousand_flipped_bits_give_no_wrong_answer_and_name_what_is_lost") {
        return;
    }
    let disk = Disk::default();
    let storage = open_on(&disk, Durability::OnePhase).expect("it opens");
    fill(&storage);
    let expected = see(&storage).expect("sound");
    block_on(storage.close());
    let closed = Image::of(&disk);
    let sound = &closed.log;
    let places = places(sound, &expected);
    assert!(places.len() > 50, "{} entries have one place", places.len());
    let panics = count_panics();
    let mut random = Random::seeded();
    let held: Vec<usize> = (0..sound.len()).filter(|at| sound[*at] != 0).collect();
    let (mut harmless, mut refused, mut named) = (0, 0, 0);
    for round in 0..2000 {
        // Anywhere in the file, and as often where it holds something.
        let at = if round % 2 == 0 {
            random.below(sound.len() as u64) as usize
        } else {
            held[random.below(held.len() as u64) as usize]
        };
        let mut flipped = sound.clone();
        flipped[at] ^= 1 << random.below(8);
        closed.put(&disk, &flipped);
        let place = places.iter().find(|(bytes, _)| bytes.contains(&at));
        match open_on(&disk, Durability::OnePhase).and_then(|storage| see(&storage)) {
            Ok(seen) => {
                assert!(seen == expected, "byte {at}: a wrong answer");
                assert!(place.is_none(), "byte {at}: {place:?} is damaged");
                harmless += 1;
            }
            Err(StorageError::Corrupt { what, detail }) => {
                assert!(what.ends_with(LOG_FILE), "byte {at}: the error names no file: {what}: {detail}");
                if let Some((_, name)) = place {
                    assert_eq!(what, format!("{name} in {LOG_FILE}"), "byte {at}: {detail}");
                    named += 1;
                }
                refused += 1;
            }
            Err(StorageError::Version { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    println!("{} bytes: {refused} refused, {named} of them name an entry, {harmless} harmless", sound.len());
    assert!(harmless > 100 && refused > 100 && named > 100, "{harmless}, {refused}, {named}");
    assert_eq!(panics.load(Ordering::Relaxed), 0, "redb panicked and said so");
}

#[test]
fn after_a_kill_a_flip_in_the_last_commit_is_an_error_or_no_harm() {
    for durability in [Durability::OnePhase, Durability::TwoPhase] {
        let disk = Disk::default();
        let storage = open_on(&disk, durability).expect("it opens");
        fill(&storage);
        // Until the purged rows are gone: their removal is a commit of its own, at any time.
        (0..8).for_each(|_| write(&storage, GROUPS[2], vote_of("T2 n1")));
        let before = see(&storage).expect("sound");
        let image = disk.bytes(Path::new(LOG_FILE));
        append(&storage, G0, 80..83, 700);
        let expected = see(&storage).expect("sound");
        // As a kill leaves it: flushed, and not closed.
        let image_of_kill = Image::of(&disk);
        let killed = &image_of_kill.log;
        drop(storage);
        let mut random = Random::seeded();
        let held: Vec<usize> = (0..killed.len()).filter(|at| killed[*at] != 0).collect();
        // Half of them in what the last commit wrote.
        let last: Vec<usize> =
            held.iter().copied().filter(|at| image.get(*at) != Some(&killed[*at])).collect();
        let (mut harmless, mut refused, mut lost) = (0, 0, 0);
        for round in 0..200 {
            let among = if round % 2 == 0 { &held } else { &last };
            let at = among[random.below(among.len() as u64) as usize];
            let mut flipped = killed.clone();
            flipped[at] ^= 1 << random.below(8);
            image_of_kill.put(&disk, &flipped);
            match open_on(&disk, durability).and_then(|storage| see(&storage)) {
                Ok(seen) => {
                    assert!(seen == expected, "{durability:?}, byte {at}: not what was acknowledged");
                    harmless += 1;
                }
                Err(StorageError::Corrupt { what, detail }) => {
                    assert!(what.ends_with(LOG_FILE), "byte {at}: the error names no file: {what}: {detail}");
                    lost += u32::from(detail.contains("was flushed, and is lost"));
                    refused += 1;
                    // Nor is it forgotten once it was told.
                    let again = open_on(&disk, durability).err();
                    assert!(matches!(again, Some(StorageError::Corrupt { .. })), "byte {at}: {again:?}");
                }
                Err(StorageError::Version { .. }) => refused += 1,
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
        println!("{durability:?}: {refused} refused, {lost} of them a lost commit, {harmless} harmless");
        assert!(refused > 0 && harmless > 0);
        // Two flushes a commit leave nothing to be taken for torn.
        assert_eq!(durability == Durability::OnePhase, lost > 0, "{durability:?}: {lost} lost");
        // Where nothing was seen of the last commit, it is taken for torn, and goes back by one.
        let (mut back, sound) = (0, Image { log: killed.clone(), seen: Vec::new() });
        for _ in 0..40 {
            let mut flipped = killed.clone();
            flipped[last[random.below(last.len() as u64) as usize]] ^= 1 << random.below(8);
            sound.put(&disk, &flipped);
            if let Ok(seen) = open_on(&disk, durability).and_then(|storage| see(&storage)) {
                assert!(seen == expected || seen == before, "{durability:?}: a wrong answer");
                back += u32::from(seen == before);
            }
        }
        assert_eq!(durability == Durability::OnePhase, back > 0, "{durability:?}: {back} went back");
    }
}

#[test]
fn every_kind_of_write_is_missed_when_its_commit_rots_after_a_kill() {
    // Each is the last commit of a life that ends with a kill. So are the first of a life, of a file
    // that was closed well before, and one that shares its commit with others.
    type Make = fn(u64) -> Vec<(GroupId, Write)>;
    let lasts: [Make; 6] = [
        |end| vec![(G0, append_of(G0, end..end + 1, 300))],
        |end| vec![(G0, append_of(G0, end..end + 40, 3000))],
        |_| vec![(G0, vote_of("T9 n1"))],
        |end| vec![(G0, truncate_of(end - 3))],
        |_| vec![(G0, purge_of(10))],
        |end| vec![(G1, vote_of("T8 n2")), (G0, append_of(G0, end..end + 2, 300)), (G1, truncate_of(5))],
    ];
    let mut random = Random::seeded();
    let (mut harmless, mut refused, mut rounds) = (0, 0, 0);
    for make in lasts {
        for reopened in [false, true] {
            let disk = Disk::default();
            let mut storage = open_on(&disk, Durability::OnePhase).expect("it opens");
            for round in 0..5 {
                append(&storage, G0, round * 8..(round + 1) * 8, 200);
                append(&storage, G1, round * 8..(round + 1) * 8, 50);
                write(&storage, G0, vote_of(&format!("T{round} n1")));
            }
            if reopened {
                drop(storage);
                storage = open_on(&disk, Durability::OnePhase).expect("it opens");
            }
            let before = disk.bytes(Path::new(LOG_FILE));
            let receipts: Vec<_> =
                make(40).into_iter().map(|(group, write)| queue(&storage, group, write)).collect();
            for receipt in receipts {
                block_on(receipt).expect("a sound disk");
            }
            let expected = see(&storage).expect("sound");
            let killed = Image::of(&disk);
            drop(storage);
            let last: Vec<usize> =
                (0..killed.log.len()).filter(|at| before.get(*at) != Some(&killed.log[*at])).collect();
            assert!(!last.is_empty(), "the last commit wrote nothing");
            for _ in 0..40 {
                let at = last[random.below(last.len() as u64) as usize];
                let mut flipped = killed.log.clone();
                flipped[at] ^= 1 << random.below(8);
                killed.put(&disk, &flipped);
                rounds += 1;
                match open_on(&disk, Durability::OnePhase).and_then(|storage| see(&storage)) {
                    Ok(seen) => {
                        assert!(seen == expected, "byte {at}: not what was acknowledged");
                        harmless += 1;
                    }
                    Err(StorageError::Corrupt { .. } | StorageError::Version { .. }) => refused += 1,
                    Err(other) => panic!("byte {at}: {other}"),
                }
            }
        }
    }
    println!("{rounds} flips: {refused} refused, {harmless} harmless");
    assert!(refused > rounds / 4, "{refused} of {rounds}");
}

/// The same with nothing in memory: every page is read from the disk.
fn open_without_cache(disk: &Disk) -> Result<RedbStorage, StorageError> {
    let builder = RedbStorage::builder("/n1").hooks(disk.hooks()).cache_bytes(0);
    builder.preallocate_bytes(0).ballast_bytes(0).low_water_bytes(0).open()
}

/// As a node does that runs: it reads entries that it knows to be there, and opens no group again.
fn see_again(storage: &RedbStorage, before: &Seen) -> Result<Seen, StorageError> {
    for (group, (state, entries)) in GROUPS.iter().zip(&before.0) {
        let read = try_read(storage, *group, state.log.clone(), usize::MAX)?;
        assert!(read == *entries, "{group}: other entries");
    }
    see(storage)
}

/// A file that nobody writes by itself, since nothing was purged; what it shows, and its bytes.
fn used(disk: &Disk) -> (RedbStorage, Seen, Vec<u8>) {
    let storage = open_on(disk, Durability::OnePhase).expect("it opens");
    fill_log(&storage);
    block_on(storage.close());
    drop(storage);
    let storage = open_without_cache(disk).expect("it opens");
    let seen = see(&storage).expect("sound");
    let bytes = disk.bytes(Path::new(LOG_FILE));
    (storage, seen, bytes)
}

/// Where to flip a bit: anywhere in the file, and as often where it holds something.
fn draw(random: &mut Random, bytes: &[u8], held: &[usize]) -> (usize, Vec<u8>) {
    let at = match random.below(2) {
        0 => random.below(bytes.len() as u64) as usize,
        _ => held[random.below(held.len() as u64) as usize],
    };
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 1 << random.below(8);
    (at, flipped)
}

#[test]
fn two_thousand_bits_that_flip_under_a_running_node_give_no_wrong_answer() {
    if !alone("two_thousand_bits_that_flip_under_a_running_node_give_no_wrong_answer") {
        return;
    }
    let disk = Disk::default();
    let (mut storage, expected, sound) = used(&disk);
    let places = places(&sound, &expected);
    let panics = count_panics();
    let held: Vec<usize> = (0..sound.len()).filter(|at| sound[*at] != 0).collect();
    let mut random = Random::seeded();
    let (mut harmless, mut refused, mut named) = (0, 0, 0);
    for _ in 0..2000 {
        let (at, flipped) = draw(&mut random, &sound, &held);
        disk.set_bytes(Path::new(LOG_FILE), &flipped);
        let place = places.iter().find(|(bytes, _)| bytes.contains(&at));
        match see_again(&storage, &expected) {
            Ok(seen) => {
                assert!(seen == expected, "byte {at}: a wrong answer");
                assert!(place.is_none(), "byte {at}: {place:?} is damaged");
                harmless += 1;
            }
            Err(StorageError::Corrupt { what, detail }) => {
                assert!(what.ends_with(LOG_FILE), "byte {at}: the error names no file: {what}: {detail}");
                if let Some((_, damaged)) = place {
                    // The first one that its page, which is read whole, keeps from being read.
                    let number = |name: &str| -> Option<(u64, String)> {
                        let (index, group) = name.strip_prefix("entry ")?.split_once(" of ")?;
                        Some((index.parse().ok()?, group.to_owned()))
                    };
                    let lost = number(what.strip_suffix(&format!(" in {LOG_FILE}")).unwrap_or_default());
                    let (damaged, lost) = (number(damaged).expect("an entry"), lost);
                    assert!(
                        lost.as_ref().is_some_and(|lost| lost.1 == damaged.1 && lost.0 <= damaged.0),
                        "byte {at}: {damaged:?} is damaged, and {what}: {detail}"
                    );
                    named += 1;
                }
                refused += 1;
                // redb does nothing more after an error. Its file was sound when it was opened.
                disk.set_bytes(Path::new(LOG_FILE), &sound);
                drop(storage);
                disk.set_bytes(Path::new(LOG_FILE), &sound);
                storage = open_without_cache(&disk).expect("it opens");
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
        disk.set_bytes(Path::new(LOG_FILE), &sound);
    }
    println!("running: {refused} refused, {named} in an entry that the error names, {harmless} harmless");
    assert!(harmless > 100 && refused > 100 && named > 100, "{harmless}, {refused}, {named}");
    assert_eq!(panics.load(Ordering::Relaxed), 0, "redb panicked and said so");
}

#[test]
fn a_bit_that_flips_under_a_running_node_is_not_written_on() {
    let disk = Disk::default();
    let (storage, before, _) = used(&disk);
    drop(storage);
    let at_rest = Image::of(&disk);
    let sound_at_rest = &at_rest.log;
    // Changes next to everything that is there.
    let writes: [fn() -> (GroupId, Write); 6] = [
        || (GROUPS[2], vote_of("T9 n3")),
        || (GROUPS[1], truncate_of(50)),
        || (GROUPS[1], purge_of(30)),
        || (GROUPS[0], purge_of(10)),
        || (GROUPS[0], vote_of("T9 n1")),
        || (GROUPS[0], truncate_of(70)),
    ];
    // What is seen after each number of them.
    let mut states = vec![before];
    let storage = open_without_cache(&disk).expect("it opens");
    for make in writes {
        let (group, change) = make();
        write(&storage, group, change);
        states.push(see(&storage).expect("sound"));
    }
    drop(storage);
    let held: Vec<usize> = (0..sound_at_rest.len()).filter(|at| sound_at_rest[*at] != 0).collect();
    let mut random = Random::seeded();
    let (mut harmless, mut refused, mut stopped) = (0, 0, 0);
    for _ in 0..300 {
        at_rest.put(&disk, sound_at_rest);
        let storage = open_without_cache(&disk).expect("it opens");
        let (at, flipped) = draw(&mut random, &disk.bytes(Path::new(LOG_FILE)), &held);
        disk.set_bytes(Path::new(LOG_FILE), &flipped);
        let mut done = 0;
        for make in writes {
            let (group, change) = make();
            if try_write(&storage, group, change).is_err() {
                stopped += 1;
                break;
            }
            done += 1;
        }
        drop(storage);
        match open_on(&disk, Durability::OnePhase).and_then(|storage| see(&storage)) {
            Ok(seen) => {
                let all = done == writes.len();
                let may_be = if all { &states[done..=done] } else { &states[done..=done + 1] };
                assert!(
                    may_be.contains(&seen),
                    "byte {at}: a wrong answer after {done} writes and a restart"
                );
                harmless += 1;
            }
            Err(StorageError::Corrupt { .. } | StorageError::Version { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    println!(
        "written on: {refused} refused at the next start, {stopped} stopped, {harmless} as they must be"
    );
    assert!(harmless > 10 && refused > 10 && stopped > 10, "{harmless}, {refused}, {stopped}");
}
