//! Sessions: a command that is sent again is applied once.

use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use quorate::client::{Client, Prepared};
use quorate::error::{Unknown, WriteError};
use quorate::node::config::ConfigBuilder;
use quorate::sessions::MIN_IDLE;
use quorate::types::NodeId;
use quorate_tests::cluster::{Cluster, LIMIT, within};
use quorate_tests::ledger::{Ledger, LedgerCommand, LedgerResponse};
use quorate_tests::rig::Rig;

quorate_tests::over_both_rigs!(
    writes_go_on_over_the_loss_of_their_leader,
    a_command_gets_its_first_answer_after_a_snapshot_and_another_leader,
    a_command_that_was_given_up_is_applied_once,
    a_session_that_was_idle_for_too_long_ends,
);

/// Long enough not to end in a scenario.
const IDLE: Duration = Duration::from_hours(1);

async fn writes_go_on_over_the_loss_of_their_leader<R: Rig>() {
    let mut cluster = Cluster::<R>::started(3).await;
    for round in 0..4 {
        let leader = cluster.leader().await;
        let others: Vec<u64> = cluster.all().into_iter().filter(|node| *node != leader).collect();
        let clients = others.iter().map(|node| cluster.client(*node).with_session(IDLE));
        let clients: Vec<_> = clients.collect();
        let writes = (0..40).map(|writer| {
            let client = clients[writer as usize % clients.len()].clone();
            // One after another: some of them are under way when the leader goes, whenever that is.
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for serial in 0..8 {
                    answers.push(client.record(writer, round * 100 + serial).await);
                }
                answers
            })
        });
        let writes: Vec<_> = writes.collect();
        // In the middle: some are acknowledged and most are not.
        within("the first write", cluster.client(others[0]).record(99, round)).await.expect("a majority");
        cluster.stop_hard(leader).await;
        for answers in within("every write", join_all(writes)).await {
            assert_eq!(answers.expect("no panic"), vec![Ok(1); 8], "in round {round}");
        }
        let client = cluster.client(others[0]);
        for writer in 0..40 {
            for serial in 0..8 {
                assert_eq!(client.times(writer, round * 100 + serial).await, Ok(1));
            }
        }
        cluster.start(leader).await;
    }
}

async fn a_command_gets_its_first_answer_after_a_snapshot_and_another_leader<R: Rig>() {
    let mut cluster = Cluster::<R>::new(3);
    let config =
        ConfigBuilder::from(cluster.config.clone()).snapshot_log_bytes(64 << 10).snapshot_keep_entries(10);
    cluster.config = config.build().expect("a good configuration");
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let here = leader;
    let client = cluster.node(here).plain_client().with_timeout(LIMIT).with_session(IDLE);
    let (mut prepared, serial) = applied_and_given_up(&cluster, here, &client, 7).await;
    let mut answered = client.prepare(&LedgerCommand::Record { writer: 8, serial: 8 }).expect("numbers");
    let before = answered.send().await.expect("a healthy cluster");
    for note in 0..64 {
        cluster.client(leader).note(format!("{note}"), "text".repeat(1 << 10)).await.expect("a majority");
    }
    for node in cluster.all() {
        let gone = |status: &quorate::node::status::Status| {
            status.purged.is_some_and(|purged| purged.index > before.position.index)
        };
        cluster.until(node, "has purged the command", gone).await;
    }
    // Whoever leads next knows it from a snapshot alone.
    for node in cluster.all().into_iter().filter(|node| *node != here) {
        cluster.stop_hard(node).await;
        cluster.start(node).await;
        cluster.settle().await;
    }
    let next = cluster.leader().await;
    if next == here {
        cluster.node(here).transfer_leader(NodeId(here % 3 + 1)).await;
        cluster.until(here, "follows", |status| status.leader.is_some_and(|leader| leader.0 != here)).await;
    }
    let again = prepared.send().await.expect("a healthy cluster");
    assert!(again.position < before.position, "{again:?}");
    assert!(matches!(again.response, LedgerResponse::Record(1)));
    assert_eq!(cluster.client(here).times(7, serial).await, Ok(1));
    assert_eq!(prepared.send().await.map(|again| again.position), Ok(again.position), "it is kept");

    let (mut late, serial) = applied_and_given_up(&cluster, here, &client, 9).await;
    client.end_session().await.expect("a healthy cluster");
    for _ in 0..2 {
        let ended = late.send().await.expect_err("its session has ended");
        assert_eq!(ended, WriteError::OutcomeUnknown { log_id: None, why: Unknown::SessionEnded });
    }
    assert_eq!(cluster.client(here).times(9, serial).await, Ok(1));
}

/// A command of a session that was applied, and given up before that was known, and its serial. The node
/// leads, or has led.
async fn applied_and_given_up<R: Rig>(
    cluster: &Cluster<R>,
    node: u64,
    client: &Client<Ledger>,
    writer: u64,
) -> (Prepared<Ledger>, u64) {
    // With the session open, the first wait is the one for the answer.
    client.write(&LedgerCommand::Record { writer: 100, serial: writer }).await.expect("a healthy cluster");
    let given_up = async {
        for serial in 0.. {
            let command = LedgerCommand::Record { writer, serial };
            let mut prepared = client.prepare(&command).expect("plain numbers");
            let mut answered = false;
            while cluster.client(node).times(writer, serial).await != Ok(1) {
                answered |= prepared.send().now_or_never().is_some();
            }
            // The answer may have been quicker.
            if !answered {
                return (prepared, serial);
            }
        }
        unreachable!("there are serials enough")
    };
    within("a command is applied and given up", given_up).await
}

async fn a_command_that_was_given_up_is_applied_once<R: Rig>() {
    let cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    for node in [leader, leader % 3 + 1] {
        let client = cluster.node(node).plain_client().with_timeout(LIMIT).with_session(IDLE);
        for serial in 0..50 {
            let command = LedgerCommand::Record { writer: node, serial };
            let mut prepared = client.prepare(&command).expect("plain numbers");
            // Begun, and dropped where it first waits: at the session, in the first round, or after it was
            // sent.
            for _ in 0..3 {
                drop(prepared.send().now_or_never());
                tokio::task::yield_now().await;
            }
            let applied = prepared.send().await.expect("a healthy cluster");
            assert!(matches!(applied.response, LedgerResponse::Record(1)), "{applied:?}");
        }
        for serial in 0..50 {
            assert_eq!(cluster.client(node).times(node, serial).await, Ok(1));
        }
    }
}

async fn a_session_that_was_idle_for_too_long_ends<R: Rig>() {
    let cluster = Cluster::<R>::started(3).await;
    let node = cluster.leader().await;
    let idle = MIN_IDLE;
    let client = cluster.node(node).plain_client().with_timeout(LIMIT).with_session(idle);
    let (mut prepared, serial) = applied_and_given_up(&cluster, node, &client, 1).await;
    // The log's clock goes on with the entries of others.
    let ended = async {
        let begun = std::time::Instant::now();
        for serial in 0.. {
            cluster.client(node).record(2, serial).await.expect("a healthy cluster");
            if begun.elapsed() > idle * 2 {
                return;
            }
        }
    };
    within("the log's clock goes on", ended).await;
    let outcome = prepared.send().await.expect_err("nobody knows it any more");
    assert_eq!(outcome, WriteError::OutcomeUnknown { log_id: None, why: Unknown::SessionEnded });
    assert_eq!(cluster.client(node).times(1, serial).await, Ok(1));
    // What is sent for the first time gets a session of its own.
    let patient = cluster.client(node).with_session(IDLE);
    assert_eq!(patient.record(3, 3).await, Ok(1));
    let other = client.write(&LedgerCommand::Record { writer: 4, serial: 4 }).await.expect("another session");
    assert!(matches!(other.response, LedgerResponse::Record(1)));
}
