//! What a crash leaves.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::state::{Change, Inode, State};
use crate::rng::Rng;

/// What a crash leaves of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Crash {
    /// Everything, in the memory of the operating system: only the process died. The next power cut
    /// takes what nobody has flushed until then.
    Process,
    /// Nothing: the power failed before anything was written.
    LoseAll,
    /// Some writes whole and others not at all, whatever their order: the device writes in an order
    /// of its own.
    Subset,
    /// Some sectors of some writes.
    Torn {
        /// The bytes of a sector, at least one: 512 or 4,096.
        sector: u64,
    },
}

impl State {
    pub(super) fn crash(&mut self, crash: Crash) {
        // Where the power is off already, it is not the process alone that stops.
        if crash != Crash::Process || self.dead.get() {
            self.cut_power(crash);
        }
        let named: BTreeSet<u64> = self.names.values().chain(self.durable_names.values()).copied().collect();
        self.inodes.retain(|inode, _| named.contains(inode));
        self.boot += 1;
        self.locked.clear();
        (self.fuse, self.fuse_of_file, self.flushes_to_fail) = (None, None, 0);
        self.blown = None;
        self.dead.set(false);
    }

    fn cut_power(&mut self, crash: Crash) {
        let lost_names = self.crash_names(crash);
        let rng = &mut self.rng;
        let (mut lost, mut torn) = (lost_names, 0);
        for inode in self.inodes.values_mut() {
            for change in std::mem::take(&mut inode.unsynced) {
                match keep(&change, crash, inode, rng) {
                    Kept::All => {}
                    Kept::Some => torn += 1,
                    Kept::None => lost = true,
                }
            }
            inode.live.clone_from(&inode.durable);
        }
        self.events.torn += torn;
        self.events.losses += u64::from(lost);
    }

    /// Names change in order, as a journal keeps them: a crash leaves the first few changes.
    fn crash_names(&mut self, crash: Crash) -> bool {
        let mut lost = false;
        for naming in std::mem::take(&mut self.unsynced_names) {
            lost |= match crash {
                Crash::Process | Crash::LoseAll => true,
                Crash::Subset | Crash::Torn { .. } => self.rng.chance(500),
            };
            if !lost {
                naming.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        lost
    }
}

enum Kept {
    All,
    Some,
    None,
}

/// Brings what is kept of `change` into the durable image.
fn keep(change: &Change, crash: Crash, inode: &mut Inode, rng: &mut Rng) -> Kept {
    let whole = match crash {
        Crash::Process | Crash::LoseAll => false,
        Crash::Subset => rng.chance(500),
        Crash::Torn { sector } => match change {
            Change::Len(_) => rng.chance(500),
            Change::Write(offset, data) => return tear(*offset, data, sector, inode, rng),
        },
    };
    if !whole {
        return Kept::None;
    }
    // A write past the end of a file whose growth was lost is not part of it.
    match change {
        Change::Write(offset, data) => {
            let end = inode.durable.len() as u64;
            let fits = end.saturating_sub(*offset).min(data.len() as u64);
            if fits > 0 {
                Change::Write(*offset, data[..fits as usize].to_vec()).apply(&mut inode.durable);
            }
        }
        change @ Change::Len(_) => change.apply(&mut inode.durable),
    }
    Kept::All
}

fn tear(offset: u64, data: &[u8], sector: u64, inode: &mut Inode, rng: &mut Rng) -> Kept {
    let (mut kept, mut lost) = (0, 0);
    let mut at = offset;
    let end = offset + data.len() as u64;
    while at < end {
        let next = ((at / sector + 1) * sector).min(end);
        if rng.chance(500) && next <= inode.durable.len() as u64 {
            let part = data[(at - offset) as usize..(next - offset) as usize].to_vec();
            Change::Write(at, part).apply(&mut inode.durable);
            kept += 1;
        } else {
            lost += 1;
        }
        at = next;
    }
    match (kept, lost) {
        (_, 0) => Kept::All,
        (0, _) => Kept::None,
        _ => Kept::Some,
    }
}
