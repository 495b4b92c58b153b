//! The named scenarios, each with a plan of its own that a few seeds run:
//!
//! ```text
//! cargo test --features madsim --test madsim_tests
//! cargo test --features madsim --test madsim_tests test_raft_consensus_under_partition -- --nocapture
//! ```
//!
//! Whatever the scenario, every oracle looks on, the history of the clients must be linearizable, and
//! after the faults every node that is not ill for good must serve. What a scenario asserts on top is
//! that it was one: that the thing it is named after happened.

#[cfg(madsim)]
#[path = "simulation/support.rs"]
mod support;

/// Without the cfg there is no simulation, and a test run in which nothing was simulated must not
/// look like one that passed.
#[cfg(not(madsim))]
#[test]
fn scenarios_need_the_cfg_madsim() {
    quorate_sim::machine::nothing_is_simulated();
}

#[cfg(madsim)]
mod scenarios {
    use std::time::Duration;

    use quorate::runtime::Bug;
    use quorate_sim::cluster::{Counts, Setup, draw_config};
    use quorate_sim::disk::Crash;
    use quorate_sim::mutations::Mutation;
    use quorate_sim::plan::{Fault, Lasting, Plan, Planned};
    use quorate_sim::run::{Finding, attempt};
    use quorate_sim::runtime::Points;
    use quorate_sim::trace::Trace;
    use quorate_sim::wire::LinkTime;

    use crate::support::{LENGTH, LIMIT, WORKLOAD, passes};

    /// How many seeds run a scenario.
    const SEEDS: u64 = 4;

    /// A scenario for so many nodes.
    struct Scenario {
        nodes: u64,
        clients: u64,
        faults: Vec<(u64, Fault)>,
        lasting: Lasting,
        /// Whether the machines are on the disks; else as the seed has it.
        on_disk: Option<bool>,
    }

    impl Scenario {
        /// Faults and when they happen, in milliseconds from the start.
        fn of(nodes: u64, faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
            Self {
                nodes,
                clients: 4,
                faults: faults.into_iter().collect(),
                lasting: Lasting::Nothing,
                on_disk: None,
            }
        }

        fn setup(&self, seed: u64) -> Setup {
            let planned = |&(ms, fault)| Planned { at: Duration::from_millis(ms), fault };
            let mut faults: Vec<Planned> = self.faults.iter().map(planned).collect();
            faults.sort_by_key(|planned| planned.at);
            let minority = (1..=(self.nodes - 1) / 2).collect();
            let plan = Plan { faults, lasting: self.lasting, minority };
            let (nodes, clients) = (self.nodes, self.clients);
            let drawn = Setup::of_seed(seed, LENGTH);
            let on_disk = self.on_disk.unwrap_or(drawn.on_disk);
            Setup { nodes, clients, plan, on_disk, points: Points::None, ..drawn }
        }

        /// Runs it, and says what happened in all runs together.
        fn holds(&self, name: &str) -> Counts {
            self.holds_for(name, 0..SEEDS)
        }

        fn holds_for(&self, name: &str, seeds: impl IntoIterator<Item = u64>) -> Counts {
            let mut all = Counts::default();
            for seed in seeds {
                let counts = passes(self.setup(seed)).counts;
                println!(
                    "{name}, seed {seed}: {} writes acknowledged, {} of unknown outcome, {} reads, {} leaders, \
                     {} crashes",
                    counts.acknowledged, counts.unknown, counts.reads, counts.leaders, counts.crashes
                );
                assert!(counts.acknowledged > 30 && counts.reads > 10, "seed {seed}: {counts:?}");
                all.add(&counts);
            }
            all
        }

        /// What the seeds find when a bug is put in.
        fn finds(&self, bug: Bug) -> Option<Finding> {
            let with = |seed| Setup { mutation: Some(Mutation::Framework(bug)), ..self.setup(seed) };
            (0..SEEDS).find_map(|seed| attempt(with(seed), WORKLOAD, LIMIT, Trace::default()).finding)
        }
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn isolate_leader_at(ms: u64, time: Duration) -> (u64, Fault) {
        (ms, Fault::IsolateLeader { time })
    }

    #[test]
    fn test_raft_consensus_under_partition() {
        let halves = |node: u64| (1 << node) | (1 << (1 + node % 5));
        let split =
            |round: u64| (1_000 + 2_500 * round, Fault::Split { half: halves(round + 1), time: seconds(2) });
        // One of the minority for good: everybody hears it, and it hears nobody.
        let partition = Scenario { lasting: Lasting::Deaf, ..Scenario::of(5, (0..3).map(split)) };
        let counts = partition.holds("partition");
        assert!(counts.leaders > SEEDS, "a split from its leader elects another: {counts:?}");
    }

    #[test]
    fn test_partition_of_one_way() {
        let one_way = |round: u64| {
            let (from, to) = (1 + round % 3, 1 + (round + 1) % 3);
            (500 + 3_100 * round, Fault::CutOneWay { from, to, time: seconds(3) })
        };
        let mute = Scenario { lasting: Lasting::Mute, ..Scenario::of(3, (0..3).map(one_way)) };
        let counts = mute.holds("partition of one way");
        assert!(counts.wire.idle >= SEEDS, "who is not heard for so long is given up: {counts:?}");
        assert!(counts.leaders > SEEDS, "a leader that is not heard is followed by another: {counts:?}");
    }

    #[test]
    fn test_leader_election() {
        let crash = |round: u64| {
            let crash = if round.is_multiple_of(2) { Crash::Process } else { Crash::LoseAll };
            (1_500 + 2_000 * round, Fault::CrashLeader { crash, down: Duration::from_millis(700) })
        };
        let counts = Scenario::of(3, (0..4).map(crash)).holds("election");
        assert!(counts.leader_crashes >= 3 * SEEDS, "{counts:?}");
        assert!(counts.leaders >= 3 * SEEDS, "whoever crashed is followed by another: {counts:?}");
    }

    #[test]
    fn test_leadership_transfer() {
        let transfer = |round: u64| (1_500 + 1_500 * round, Fault::Transfer { to: 1 + round % 3 });
        let counts = Scenario::of(3, (0..5).map(transfer)).holds("transfer");
        assert!(counts.leaders >= 3 * SEEDS && counts.crashes == 0, "{counts:?}");
    }

    #[test]
    fn test_message_loss() {
        let link = LinkTime { usual_us: (100, 5_000), late_per_mille: 100, late_ms: (50, 600) };
        let slow = |node: u64| (800, Fault::SlowLinks { node, link, time: seconds(8) });
        let (reset, half_open) = (Fault::Reset { a: 1, b: 2 }, Fault::HalfOpen { gone: 2, left: 3 });
        let broken = (1..8).flat_map(|second| [(1_000 * second, reset), (1_000 * second + 500, half_open)]);
        let counts = Scenario::of(3, (1..4).map(slow).chain(broken)).holds("message loss");
        assert!(counts.wire.resets > 10 * SEEDS && counts.wire.idle > SEEDS, "{counts:?}");
    }

    #[test]
    fn test_node_failures() {
        let down = Duration::from_millis(900);
        let torn = Crash::Torn { sector: 512 };
        // Power that fails in the middle of a commit, one node after the other.
        let kept = [torn, Crash::Subset, Crash::LoseAll, torn];
        let one_by_one = (1..)
            .zip(kept)
            .map(|(node, crash)| (1_200 * node, Fault::Fuse { node, changes: 20 + node, crash, down }));
        // The power of all fails at once, and it is a majority that comes back.
        let all = (1..6).map(|node| {
            (7_000, Fault::Crash { node, crash: Crash::LoseAll, down, again_at: (node == 5).then_some(2) })
        });
        let failures = Scenario { lasting: Lasting::Down, ..Scenario::of(5, one_by_one.chain(all)) };
        let counts = failures.holds("node failures");
        assert!(counts.crashes >= 9 * SEEDS && counts.disk.losses >= SEEDS, "{counts:?}");
    }

    #[test]
    fn test_concurrent_operations() {
        let crash = Fault::CrashLeader { crash: Crash::Process, down: Duration::from_millis(500) };
        let many = Scenario { clients: 16, ..Scenario::of(3, [(5_000, crash)]) };
        let counts = many.holds("concurrent operations");
        assert!(counts.acknowledged > 300 * SEEDS && counts.leader_crashes == SEEDS, "{counts:?}");
    }

    #[test]
    fn test_split_brain_prevention() {
        let alone = Scenario::of(5, (0..3).map(|round| isolate_leader_at(1_500 + 2_800 * round, seconds(2))));
        let counts = alone.holds("split brain");
        assert!(
            counts.leaders >= 3 * SEEDS,
            "the others elect one while the old one still leads: {counts:?}"
        );
        // The scenario can fail: who leads no more and is believed is seen at once.
        let found = alone.finds(Bug::ReadIndexUnconfirmed);
        assert_eq!(found.map(|finding| finding.class()).as_deref(), Some("linearizability"));
    }

    #[test]
    fn test_log_replication_with_failures() {
        // Away until whoever leads has purged what it lacks; and what is sent to it then breaks off.
        let away = (1_000, Fault::FallBehind { node: 1, time: seconds(2) });
        let broken = (1_001, Fault::BreakSnapshot { answers: 2 });
        let behind = Scenario { clients: 30, on_disk: Some(false), ..Scenario::of(3, [away, broken]) };
        let compacts = |seed: &u64| {
            let snapshot = draw_config(*seed).snapshot;
            snapshot.log_bytes <= 64 << 10 && snapshot.keep_entries < 20 && snapshot.chunk_bytes == 4 << 10
        };
        let seeds = (0..).filter(compacts).take(2);
        let mut counts = behind.holds_for("replication to who was away", seeds.clone());
        assert!(counts.installs >= 2, "who lacks what is purged gets a snapshot: {counts:?}");
        assert!(counts.resumed >= 1, "what broke off goes on: {counts:?}");
        let tables = Scenario { on_disk: Some(true), ..behind };
        let of_tables = tables.holds_for("replication to the tables of who was away", seeds);
        assert!(of_tables.tables_replaced >= 2, "tables are replaced whole: {of_tables:?}");
        let alone = (0..4).map(|round| isolate_leader_at(1_500 + 2_000 * round, seconds(1)));
        counts.add(&Scenario::of(3, alone).holds("replication after who was alone"));
        assert!(counts.truncations > 0, "an entry of a leader that was alone conflicts: {counts:?}");
    }

    #[test]
    fn test_invariants_under_every_fault() {
        let mut all = Counts::default();
        for seed in 0..SEEDS {
            // Seeds of the full mix, with every fault point of the framework live.
            all.add(&passes(Setup { points: Points::All, ..Setup::of_seed(seed, LENGTH) }).counts);
        }
        println!("invariants: {} faults inside the framework", all.points);
        assert!(all.points > 100 * SEEDS && all.acknowledged > 30 * SEEDS, "{all:?}");
        // Each invariant can fail: a bug against it is seen under the same faults.
        for bug in [Bug::VoteNotAwaited, Bug::FollowerAnswersEarly, Bug::SnapshotOneAhead] {
            let with = |seed| Setup {
                mutation: Some(Mutation::Framework(bug)),
                points: Points::All,
                ..Setup::of_seed(seed, LENGTH)
            };
            let found =
                (0..10).find_map(|seed| attempt(with(seed), WORKLOAD, LIMIT, Trace::default()).finding);
            assert!(found.is_some(), "{bug:?}");
        }
    }
}
