//! The kit for state machines.
//!
//! ```text
//! struct MyHarness;
//!
//! impl MachineHarness for MyHarness {
//!     type Machine = Bank;
//!
//!     fn machine() -> Bank {
//!         Bank::default()
//!     }
//!
//!     fn command(rng: &mut Seeded) -> BankCommand {
//!         match rng.draw(0..2) {
//!             0 => BankCommand::Open { owner: format!("owner {}", rng.draw(0..5)) },
//!             _ => BankCommand::Transfer { from: rng.draw(0..5), to: rng.draw(0..5), amount: rng.draw(0..100) },
//!         }
//!     }
//!
//!     fn query(rng: &mut Seeded) -> Option<BankQuery> {
//!         Some(BankQuery::Balance { account: rng.draw(0..5) })
//!     }
//! }
//!
//! quorate::state_machine_conformance!(MyHarness);
//! ```
//!
//! Draw from few values, so that commands meet: a hundred commands on a hundred accounts show less
//! than a hundred on five.

mod copies;
mod encoding;
mod replica;
mod snapshots;

use std::time::Duration;

pub use self::copies::*;
pub use self::encoding::*;
pub use self::snapshots::*;
use super::Seeded;
use crate::state_machine::StateMachine;

/// How the kit gets at the machine under test.
pub trait MachineHarness: 'static {
    /// The machine under test.
    type Machine: StateMachine;

    /// How many commands a case applies, at least 1.
    const COMMANDS: usize = 500;
    /// Whether equal states write equal snapshots. A machine that keeps a `HashMap` and writes it as
    /// it comes says `false`; then only responses and answers are compared, which may miss a
    /// difference that neither shows.
    const SAME_SNAPSHOTS: bool = true;
    /// How long one case may take before it counts as hanging, and four times as long as one step of
    /// it may.
    const LIMIT: Duration = Duration::from_mins(2);

    /// A new machine, always the same.
    fn machine() -> Self::Machine;

    /// A command, the same for the same draws.
    fn command(rng: &mut Seeded) -> <Self::Machine as StateMachine>::Command;

    /// A query, the same for the same draws; `None` when the machine has no queries.
    fn query(rng: &mut Seeded) -> Option<<Self::Machine as StateMachine>::Query>;
}

fn run<H: MachineHarness>(case: &'static str, body: fn()) {
    super::run::run(case, H::LIMIT, body);
}

crate::__state_machine_cases!(__conformance_names);

/// The names of every case.
pub fn cases() -> impl Iterator<Item = &'static str> {
    CASES.iter().copied()
}

/// Every case with its name, for those who test the kit itself.
pub fn functions<H: MachineHarness>() -> Vec<(&'static str, fn())> {
    crate::__state_machine_cases!(__conformance_functions[H])
}

/// Makes a `#[test]` of every case that a state machine must pass; see
/// [`testing::state_machine`](crate::testing::state_machine).
#[macro_export]
macro_rules! state_machine_conformance {
    ($harness:ty) => {
        $crate::__state_machine_cases!(__state_machine_tests[$harness]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __state_machine_tests {
    ([$harness:ty] [CASES: $($case:ident)*]) => {
        $(#[test] fn $case() { $crate::testing::state_machine::$case::<$harness>(); })*
    };
}

/// Calls a macro with the names of every case.
#[doc(hidden)]
#[macro_export]
macro_rules! __state_machine_cases {
    ($then:ident $($args:tt)*) => {
        $crate::$then! {
            $($args)*
            [CASES:
                commands_come_back_from_their_bytes
                queries_come_back_from_their_bytes
                unknown_ids_are_refused
                leftover_bytes_are_refused
                cut_bytes_do_not_panic
                two_copies_agree
                no_command_or_query_panics
                snapshot_round_trip_equals_straight_application
                snapshot_is_a_frozen_view
                restore_replaces_the_state
            ]
        }
    };
}
