//! The size of the file: in proportion to what it holds, however long it is written to.

use std::collections::VecDeque;
use std::path::Path;

use futures::executor::block_on;
use quorate::storage::{Receipt, Storage, Write};
use quorate::types::GroupId;
use quorate_redb::RedbStorage;

use crate::common::*;
use crate::disk::Disk;
use crate::hooks::Driver;
use crate::random::Random;

const MIB: u64 = 1 << 20;

/// A storage that always has something queued when a commit ends: its writer never runs dry.
struct Busy {
    storage: RedbStorage,
    driver: Driver,
    waiting: Vec<Receipt>,
}

impl Busy {
    fn on(disk: &Disk) -> Self {
        let driver = Driver::default();
        let builder = RedbStorage::builder("/n1").hooks(driver.hooks(disk.hooks(), true));
        let builder = builder.preallocate_bytes(MIB / 4).ballast_bytes(0).low_water_bytes(0);
        let storage = builder.open().expect("it opens");
        block_on(storage.set_identity_once(&identity(1))).expect("its own identity");
        Self { storage, driver, waiting: Vec::new() }
    }

    fn write(&mut self, group: GroupId, write: Write) {
        self.waiting.push(queue(&self.storage, group, write));
        // The commit that waits took what was queued before these: they are the next one's.
        if self.waiting.len() < 8 {
            return;
        }
        self.driver.drive();
        self.driver.allow();
        self.waiting.clear();
    }

    /// Writes in a commit of its own.
    fn commit(&mut self, group: GroupId, write: Write) {
        let receipt = queue(&self.storage, group, write);
        self.driver.drive();
        self.driver.allow();
        block_on(receipt).expect("a sound disk");
    }
}

/// Keeps `log_bytes` of each group and turns them over so many times. Returns the size of the file
/// after each turnover.
fn turn_over(groups: &[GroupId], log_bytes: u64, turnovers: usize, most: u64) -> Vec<u64> {
    let disk = Disk::default();
    let mut random = Random::seeded();
    let mut busy = Busy::on(&disk);
    let (mut end, mut sizes) = (0, Vec::new());
    let mut kept: VecDeque<(u64, u64)> = VecDeque::new();
    let (mut held, mut written) = (0, 0);
    while sizes.len() < turnovers {
        let len = 1 + random.below(most);
        for group in groups {
            busy.write(*group, append_of(*group, end..end + 1, len as usize));
        }
        kept.push_back((end, len));
        (end, held, written) = (end + 1, held + len, written + len);
        if held > log_bytes + log_bytes / 4 {
            let mut upto = 0;
            while held > log_bytes {
                let (index, len) = kept.pop_front().expect("it holds bytes");
                (upto, held) = (index, held - len);
            }
            for group in groups {
                busy.write(*group, purge_of(upto));
            }
        }
        if written >= log_bytes {
            written = 0;
            sizes.push(disk.bytes(Path::new("/n1/log.redb")).len() as u64);
        }
    }
    let groups = groups.len() as u64;
    println!("{} kept, file {sizes:?}", groups * log_bytes);
    sizes
}

#[track_caller]
fn assert_flat(sizes: &[u64]) {
    let settled = sizes[sizes.len() / 5];
    let last = sizes.iter().skip(sizes.len() / 5).max().expect("there are some");
    assert!(*last <= settled, "{settled} bytes after a fifth of the turnovers, {last} later");
}

#[test]
fn the_file_is_flat_over_fifty_turnovers_of_small_entries() {
    assert_flat(&turn_over(&[G0], 200_000, 50, 1000));
}

#[test]
fn the_file_is_flat_over_fifty_turnovers_of_large_entries() {
    assert_flat(&turn_over(&[G0], 2 * MIB, 50, 200_000));
}

#[test]
fn the_file_is_flat_over_fifty_turnovers_of_many_groups() {
    let groups: Vec<GroupId> = (0..20).map(GroupId).collect();
    assert_flat(&turn_over(&groups, 50_000, 50, 6000));
}

#[test]
fn a_file_takes_little_more_than_what_it_holds() {
    for (batch, len) in [(1, 256), (64, 256), (64, 1000), (150, 256), (1000, 256), (3, 9000)] {
        let disk = Disk::default();
        let mut busy = Busy::on(&disk);
        let (mut end, mut held) = (0, 0);
        while held < 2 * MIB {
            busy.commit(G0, append_of(G0, end..end + batch, len));
            (end, held) = (end + batch, held + batch * len as u64);
        }
        // Two steps ahead of need, and rows are rounded up to runs of pages.
        let allowed = held * 4 / 3 + MIB;
        assert!(disk.used() <= allowed, "{batch} of {len}: {} bytes for {held}", disk.used());
    }
}
