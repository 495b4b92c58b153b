//! Cases about replicas of one machine.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::replica::{Replica, commands};
use super::{MachineHarness, run};
use crate::state_machine::{StateMachine, Wire};
use crate::testing::Seeded;

/// Two copies that apply the same commands give the same responses and come to the same state.
pub fn two_copies_agree<H: MachineHarness>() {
    run::<H>("two_copies_agree", || {
        let mut rng = Seeded::announced();
        let (mut one, mut two) = (Replica::<H>::new(), Replica::<H>::new());
        one.assert_same(&two, rng.next_u64(), "before the first command");
        for (number, command) in commands::<H>(&mut rng).iter().enumerate() {
            let same = one.apply(command) == two.apply(command);
            let label =
                || <H::Machine as StateMachine>::Command::decode(command).map(|command| command.label());
            assert!(same, "command {number}, {:?}, has another response on another copy", label());
            if number % 50 == 0 {
                one.assert_same(&two, rng.next_u64(), &format!("after command {number}"));
            }
        }
        one.assert_same(&two, rng.next_u64(), "after the last command");
    });
}

/// No command and no query panics, whatever came before: a panic would stop every replica, and again
/// after each restart.
pub fn no_command_or_query_panics<H: MachineHarness>() {
    run::<H>("no_command_or_query_panics", || {
        let mut rng = Seeded::announced();
        let mut replica = Replica::<H>::new();
        for (number, command) in commands::<H>(&mut rng).iter().enumerate() {
            if catch_unwind(AssertUnwindSafe(|| replica.apply(command))).is_err() {
                let label = <H::Machine as StateMachine>::Command::decode(command)
                    .map_or("?", |command| command.label());
                panic!("command {number}, `{label}`, panicked: a business error is a value in the response");
            }
            if number % 50 == 0 {
                let seed = rng.next_u64();
                let answered = catch_unwind(AssertUnwindSafe(|| replica.answers(seed)));
                assert!(answered.is_ok(), "a query after command {number} panicked");
            }
        }
    });
}
