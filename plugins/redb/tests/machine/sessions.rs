//! Sessions over machines in tables: a command that is sent again is applied once, whatever became of the
//! machines in between.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use quorate::client::{Client, Prepared};
use quorate::error::{Unknown, WriteError};
use quorate::state_machine::DurableStateMachine;
use quorate::types::NodeId;

use crate::common::*;
use crate::disk::{Crash, Disk};
use crate::rig::*;

/// Long enough not to end in a scenario.
const IDLE: Duration = Duration::from_hours(1);

/// Nodes whose machines are on disks that lose their power; their storages are not.
struct Cluster {
    rig: Rig,
    disks: Vec<Disk>,
    nodes: Vec<Option<Running>>,
}

impl Cluster {
    async fn started(name: &'static str) -> Self {
        let disks = (0..3).map(|_| Disk::default()).collect();
        let mut cluster = Self { rig: Rig::new(name, 3), disks, nodes: vec![None, None, None] };
        let started = futures::future::join_all((0..3).map(|at| cluster.begin(at))).await;
        cluster.nodes = started.into_iter().map(Some).collect();
        cluster.leader().await;
        cluster
    }

    async fn begin(&self, at: usize) -> Running {
        let machine = Machine::builder("/machine/totals.redb").hooks(self.disks[at].hooks());
        self.rig.try_start(at as u64 + 1, machine).await.expect("it starts from what is left")
    }

    async fn start(&mut self, at: usize) {
        self.nodes[at] = Some(self.begin(at).await);
    }

    /// Ends a node at once. With `crash` its machine loses what was not flushed, or a part of it.
    async fn stop(&mut self, at: usize, crash: Option<Crash>) {
        let running = self.nodes[at].take().expect("it runs");
        if let Some(crash) = crash {
            self.disks[at].cut_power_after(0);
            running.bury().await;
            self.disks[at].crash(crash);
        } else {
            running.stop_hard().await;
        }
    }

    fn node(&self, at: usize) -> &Running {
        self.nodes[at].as_ref().expect("it runs")
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Running)> {
        self.nodes.iter().enumerate().filter_map(|(at, running)| Some((at, running.as_ref()?)))
    }

    /// A node that leads, as all who run say.
    async fn leader(&self) -> usize {
        let (_, first) = self.running().next().expect("one runs");
        let status = first.until("it hears a leader", |status| status.leader.is_some()).await;
        status.leader.expect("just seen").get() as usize - 1
    }

    /// Every node that runs has applied every write that was acknowledged.
    async fn settle(&self) {
        for (_, running) in self.running() {
            running.node.client().with_timeout(LIMIT).commands().await.expect("a majority");
        }
    }

    async fn lead(&self, next: usize) {
        self.settle().await;
        let wanted = NodeId(next as u64 + 1);
        let leads = async {
            while self.leader().await != next {
                self.node(self.leader().await).node.transfer_leader(wanted).await;
                tokio::task::yield_now().await;
            }
        };
        within("it leads", leads).await;
    }

    /// Writes until every node that runs has flushed and purged what was written before.
    async fn purge(&self) {
        let last = self.node(self.leader().await).node.status().get().last_log.expect("it was written");
        for _ in 0..64 {
            self.node(self.leader().await).add("long", 4 << 10).await;
        }
        for (_, running) in self.running() {
            let gone = |purged: quorate::types::LogId| purged.index >= last;
            running.until("it purges", |status| status.purged.is_some_and(gone)).await;
        }
    }

    /// Ends everything; the tables of every node are the same.
    async fn end(self) {
        self.settle().await;
        let Self { rig, disks, nodes } = self;
        for running in nodes.into_iter().flatten() {
            running.node.shutdown().await.expect("in good order");
        }
        let machines: Vec<Machine> = disks.iter().map(open_at_machine).collect();
        let rows = |machine: &Machine| {
            let mut rows = Vec::new();
            let read =
                Machine::rows(&view(machine), &mut |key, value| rows.push((key.to_vec(), value.to_vec())));
            read.expect("readable");
            rows
        };
        assert!(!rows(&machines[0]).is_empty(), "there is a session");
        for machine in &machines {
            assert_eq!(rows(machine), rows(&machines[0]), "every replica has the same sessions");
            assert_eq!(written(view(machine)), written(view(&machines[0])));
        }
        drop(rig);
    }
}

fn open_at_machine(disk: &Disk) -> Machine {
    Machine::builder("/machine/totals.redb").hooks(disk.hooks()).open(Totals::default()).expect("it opens")
}

async fn total_at(running: &Running, name: &str) -> Option<u64> {
    running.node.client().with_timeout(LIMIT).total(name.to_owned()).await.expect("a majority")
}

/// A command of a session that was applied, and given up before that was known; and what it adds to.
async fn applied_and_given_up(
    running: &Running,
    client: &Client<Machine>,
    name: &str,
) -> (Prepared<Machine>, String) {
    // With the session open, the first wait is the one for the answer.
    let opening = TotalsCommand::Add { name: "opens".to_owned(), count: 1 };
    client.write(&opening).await.expect("a healthy cluster");
    let given_up = async {
        for number in 0.. {
            let name = format!("{name} {number}");
            let command = TotalsCommand::Add { name: name.clone(), count: 1 };
            let mut prepared = client.prepare(&command).expect("it is encoded");
            let mut answered = false;
            while total_at(running, &name).await != Some(1) {
                answered |= prepared.send().now_or_never().is_some();
            }
            // The answer may have been quicker.
            if !answered {
                return (prepared, name);
            }
        }
        unreachable!("there are numbers enough")
    };
    within("a command is applied and given up", given_up).await
}

/// Sends a command again that was applied before, of which its caller knows no answer yet.
async fn again(cluster: &Cluster, at: usize, prepared: &mut Prepared<Machine>, name: &str) {
    let answer = prepared.send().await.expect("it is known");
    assert!(matches!(answer.response, TotalsResponse::Add(1)), "{name}: {answer:?}");
    assert_eq!(total_at(cluster.node(at), name).await, Some(1), "{name}");
}

/// What is known of a session after such an end of the next leader's machine.
async fn is_known_after(name: &'static str, crash: Option<Crash>) {
    let mut cluster = Cluster::started(name).await;
    let here = cluster.leader().await;
    let client = cluster.node(here).node.plain_client().with_timeout(LIMIT).with_session(IDLE);
    let (mut flushed, first) = applied_and_given_up(cluster.node(here), &client, "flushed").await;
    cluster.purge().await;
    let (mut last, second) = applied_and_given_up(cluster.node(here), &client, "last").await;
    let others: Vec<usize> = (0..3).filter(|at| *at != here).collect();
    for at in &others {
        cluster.stop(*at, crash).await;
        cluster.start(*at).await;
        cluster.settle().await;
    }
    // It knows the sessions from its disk, and from the log behind what was on it.
    cluster.lead(others[0]).await;
    again(&cluster, here, &mut last, &second).await;
    cluster.lead(others[1]).await;
    again(&cluster, here, &mut flushed, &first).await;

    let (mut late, name) = applied_and_given_up(cluster.node(here), &client, "late").await;
    cluster.stop(others[0], crash).await;
    client.end_session().await.expect("a majority");
    cluster.start(others[0]).await;
    cluster.lead(others[0]).await;
    let ended = late.send().await.expect_err("its session has ended");
    assert_eq!(ended, WriteError::OutcomeUnknown { log_id: None, why: Unknown::SessionEnded });
    assert_eq!(total_at(cluster.node(here), &name).await, Some(1));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_known_again_by_a_process_that_was_started_again() {
    is_known_after("started-again", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_known_again_after_a_power_cut_that_took_batches_back() {
    is_known_after("power-cut", Some(Crash::LoseAll)).await;
    is_known_after("power-cut-torn", Some(Crash::Tear(7))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_known_again_by_a_machine_that_got_a_snapshot() {
    let mut cluster = Cluster::started("snapshot").await;
    let here = cluster.leader().await;
    let behind = (here + 1) % 3;
    // Of a session that ends while it is away, too: what comes replaces what it has.
    let other = cluster.node(here).node.plain_client().with_timeout(LIMIT).with_session(IDLE);
    drop(applied_and_given_up(cluster.node(here), &other, "other").await);
    cluster.purge().await;
    cluster.stop(behind, None).await;
    other.end_session().await.expect("a majority");
    let client = cluster.node(here).node.plain_client().with_timeout(LIMIT).with_session(IDLE);
    let (mut known, first) = applied_and_given_up(cluster.node(here), &client, "known").await;
    let (mut kept, second) = applied_and_given_up(cluster.node(here), &client, "kept").await;
    cluster.purge().await;
    cluster.start(behind).await;
    cluster.lead(behind).await;
    let applied = cluster.node(behind).applied.load(Ordering::Relaxed);
    assert!(applied < 64, "most came as tables, and {applied} commands were applied");
    again(&cluster, here, &mut known, &first).await;
    // And from its own disk, once it has no power.
    cluster.stop(behind, Some(Crash::LoseAll)).await;
    cluster.start(behind).await;
    cluster.lead(behind).await;
    again(&cluster, here, &mut kept, &second).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_over_the_loss_of_their_leader_and_are_applied_once() {
    let mut cluster = Cluster::started("leaders").await;
    for round in 0..4_u64 {
        let leader = cluster.leader().await;
        let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
        let clients: Vec<_> = others
            .iter()
            .map(|at| cluster.node(*at).node.client().with_timeout(LIMIT).with_session(IDLE))
            .collect();
        let writes: Vec<_> = (0..20)
            .map(|writer| {
                let client = clients[writer % clients.len()].clone();
                // One after another: some of them are under way when the leader goes, whenever that is.
                tokio::spawn(async move {
                    let mut answers = Vec::new();
                    for serial in 0..8 {
                        answers.push(client.add(format!("{round} {writer} {serial}"), 1).await);
                    }
                    answers
                })
            })
            .collect();
        // In the middle: some are acknowledged and most are not.
        cluster.node(others[0]).add("first", 16).await;
        cluster.stop(leader, Some(if round % 2 == 0 { Crash::LoseAll } else { Crash::Tear(round) })).await;
        for answers in within("every write", futures::future::join_all(writes)).await {
            assert_eq!(answers.expect("no panic"), vec![Ok(1); 8], "in round {round}");
        }
        for writer in 0..20 {
            for serial in 0..8 {
                let name = format!("{round} {writer} {serial}");
                assert_eq!(total_at(cluster.node(others[0]), &name).await, Some(1), "{name}");
            }
        }
        cluster.start(leader).await;
    }
    cluster.end().await;
}
