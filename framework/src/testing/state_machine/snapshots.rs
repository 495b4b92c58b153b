//! Cases about snapshots of a machine.

use super::replica::{Replica, commands};
use super::{MachineHarness, run};
use crate::testing::Seeded;

/// Where a sequence of `len` commands is cut: at the ends, in between, and early, so that many
/// commands follow that may show what a snapshot has lost.
fn cuts(rng: &mut Seeded, len: usize) -> [usize; 6] {
    let between = rng.draw(0..len as u64 + 1) as usize;
    [0, len / 8, len / 4, len / 2, between, len]
}

/// A copy restored from a snapshot shows the same state, and goes on as the one that never stopped.
pub fn snapshot_round_trip_equals_straight_application<H: MachineHarness>() {
    run::<H>("snapshot_round_trip_equals_straight_application", || {
        let mut rng = Seeded::announced();
        let commands = commands::<H>(&mut rng);
        for cut in cuts(&mut rng, commands.len()) {
            let mut straight = Replica::<H>::new();
            straight.apply_all(&commands[..cut]);
            let mut restored = Replica::<H>::new();
            restored.restore(&Replica::<H>::write(straight.capture()), cut);
            straight.assert_same(&restored, rng.next_u64(), &format!("restored after {cut} commands"));
            for (number, command) in commands.iter().enumerate().skip(cut) {
                assert!(
                    straight.apply(command) == restored.apply(command),
                    "restored after {cut} commands, command {number} has another response"
                );
            }
            straight.assert_same(&restored, rng.next_u64(), &format!("restored after {cut}, and gone on"));
        }
    });
}

/// A snapshot is of the moment of its capture, whatever is applied before it is written.
pub fn snapshot_is_a_frozen_view<H: MachineHarness>() {
    run::<H>("snapshot_is_a_frozen_view", || {
        let mut rng = Seeded::announced();
        let commands = commands::<H>(&mut rng);
        for cut in cuts(&mut rng, commands.len()) {
            let mut straight = Replica::<H>::new();
            straight.apply_all(&commands[..cut]);
            let captured = straight.capture();
            let mut then = Replica::<H>::new();
            then.apply_all(&commands[..cut]);
            straight.apply_all(&commands[cut..]);
            let mut restored = Replica::<H>::new();
            restored.restore(&Replica::<H>::write(captured), cut);
            then.assert_same(
                &restored,
                rng.next_u64(),
                &format!("captured after {cut} commands, written later"),
            );
        }
    });
}

/// A restore replaces the state, whatever that was.
pub fn restore_replaces_the_state<H: MachineHarness>() {
    run::<H>("restore_replaces_the_state", || {
        let mut rng = Seeded::announced();
        let (kept, lost) = (commands::<H>(&mut rng), commands::<H>(&mut rng));
        for cut in cuts(&mut rng, kept.len()) {
            let mut straight = Replica::<H>::new();
            straight.apply_all(&kept[..cut]);
            // Another state each time: some machines are near their first one now and then.
            let mut restored = Replica::<H>::new();
            restored.apply_all(&lost[..rng.draw(1..lost.len() as u64 + 1) as usize]);
            restored.restore(&Replica::<H>::write(straight.capture()), cut);
            straight.assert_same(&restored, rng.next_u64(), &format!("restored over another state at {cut}"));
            assert!(
                straight.apply_all(&kept[cut..]) == restored.apply_all(&kept[cut..]),
                "restored over another state at {cut}, later responses differ"
            );
        }
    });
}
