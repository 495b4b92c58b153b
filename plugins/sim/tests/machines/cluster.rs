//! What only a cluster shows: a storage that forgets, a plan of one's own.

use std::convert::Infallible;
use std::time::Duration;

use quorate::prelude::*;
use quorate::storage::MemoryStorage;
use quorate_sim::disk::Crash;
use quorate_sim::machine::{Faults, Wrong};
use quorate_sim::plan::{Fault, Lasting, Plan, Planned};
use quorate_sim::simulation;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, push(number: u32) -> u64), query(1, len() -> u64))]
pub(crate) struct Numbers(Vec<u32>);

impl Numbers {
    fn push(&mut self, number: u32) -> u64 {
        self.0.push(number);
        self.len()
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

/// Everybody loses power once.
pub(crate) fn a_power_cut() -> Faults {
    Faults::own(|_, nodes, _| {
        let cut = |node| Planned {
            at: Duration::from_secs(2),
            fault: Fault::Crash {
                node,
                crash: Crash::LoseAll,
                down: Duration::from_millis(200),
                again_at: None,
            },
        };
        Plan { faults: (1..=nodes).map(cut).collect(), lasting: Lasting::Nothing, minority: Vec::new() }
    })
}

#[test]
fn a_storage_of_ones_own_that_forgets_is_found() {
    let failure = simulation!(
        t,
        Numbers = Numbers::default(),
        seeds: 1,
        nodes: 3,
        duration: Duration::from_secs(4),
        faults: a_power_cut(),
        storage: |_disk| Ok::<_, Infallible>(MemoryStorage::new()),
    )
    .run()
    .expect_err("it forgets");
    let text = failure.to_string();
    assert!(matches!(failure.wrong, Wrong::Cluster(_)), "{text}");
    assert!(
        text.contains("durability") && text.contains("the smallest run found that shows it has 1 faults"),
        "{text}"
    );
}

#[test]
fn the_storage_that_ships_does_not() {
    let summary = simulation!(
        t,
        Numbers = Numbers::default(),
        seeds: 1,
        nodes: 3,
        duration: Duration::from_secs(4),
        faults: a_power_cut(),
    )
    .run()
    .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(summary.crashes >= 3 && summary.acknowledged > 20, "{summary}");
}

#[test]
fn a_workload_without_commands_proves_nothing() {
    let idle = simulation!(t, Numbers = Numbers::default(), seeds: 1, weights: [push = 0]);
    let failure = idle.run().expect_err("nothing happens");
    assert!(matches!(failure.wrong, Wrong::Nothing), "{failure}");
}
