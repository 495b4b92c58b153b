//! Spare machines that lose their disks, and ids that are given again.

use std::time::Duration;

use quorate_sim::cluster::{Counts, Setup};
use quorate_sim::plan::{Fault, Lasting, Plan, Planned};

use crate::support::{LENGTH, passes};

/// One after the other, and nothing else goes wrong.
fn story(seed: u64, faults: &[Fault]) -> Setup {
    let at = |place: usize| Duration::from_millis(1_000 + 1_400 * place as u64);
    let faults = faults.iter().enumerate().map(|(place, fault)| Planned { at: at(place), fault: *fault });
    let plan = Plan { faults: faults.collect(), lasting: Lasting::Nothing, minority: Vec::new() };
    Setup { nodes: 3, plan, ..Setup::of_seed(seed, LENGTH) }
}

const JOIN: Fault = Fault::Join { spare: 1 };
const PROMOTE: Fault = Fault::Promote { spare: 1 };
const WIPE: Fault = Fault::WipeSpare { spare: 1 };
const REMOVE: Fault = Fault::RemoveSpare { spare: 1 };

#[test]
fn a_machine_that_joined_and_lost_its_disk_is_refused_and_the_others_serve() {
    for seed in 0..4 {
        for faults in [&[JOIN, WIPE][..], &[JOIN, PROMOTE, WIPE], &[JOIN, WIPE, PROMOTE]] {
            let Counts { spares_wiped, wiped_refused, promoted, .. } = passes(story(seed, faults)).counts;
            assert_eq!(spares_wiped, 1, "{faults:?}");
            assert!(wiped_refused > 0, "{faults:?}");
            assert_eq!(promoted > 0, faults.get(1) == Some(&PROMOTE), "nobody promotes who is wiped");
        }
    }
}

#[test]
fn an_id_that_is_given_again_is_a_member_like_any_other() {
    for seed in 0..4 {
        for key in [false, true] {
            let again = Fault::GiveIdAgain { spare: 1, key };
            for faults in [
                &[JOIN, PROMOTE, REMOVE, again, PROMOTE][..],
                &[JOIN, PROMOTE, WIPE, REMOVE, again, PROMOTE],
                &[JOIN, REMOVE, again, PROMOTE],
            ] {
                let Counts { joined, ids_again, removed, promoted, .. } = passes(story(seed, faults)).counts;
                assert_eq!((joined, ids_again, removed), (2, 1, 1), "{faults:?}");
                let promotes = faults.iter().filter(|fault| **fault == PROMOTE).count() as u64;
                assert_eq!(promoted, promotes, "{faults:?}");
            }
        }
    }
}

#[test]
fn an_id_is_given_again_once_its_machine_is_removed_and_not_before() {
    let again = Fault::GiveIdAgain { spare: 1, key: true };
    let counts = passes(story(0, &[JOIN, PROMOTE, again])).counts;
    assert_eq!((counts.joined, counts.ids_again, counts.removed), (1, 0, 0), "{counts:?}");
}
