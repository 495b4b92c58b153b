//! Peers that send what they should not: the stream is closed, the node is unharmed.

use std::time::Duration;

use futures::StreamExt;
use quorate::error::{NotApplied, WriteError};
use quorate::node::config::ConfigBuilder;
use quorate::transport::{Lane, MAX_FRAME_BYTES, Transport};
use quorate::types::{DiskId, LogIndex, Member, NodeId};
use quorate_tests::cluster::{Cluster, within};
use quorate_tests::ledger::LedgerCommand;
use quorate_tests::rig::Rig;
use quorate_tests::rogue::{self, Claim};

quorate_tests::over_both_rigs!(
    garbage_closes_the_stream_and_harms_nobody,
    a_stranger_and_a_member_with_another_disk_are_refused,
    a_forwarded_command_that_cannot_be_decoded_is_refused_before_append,
    a_leader_in_the_name_of_another_is_refused,
    an_oversized_command_is_refused_before_append,
);

/// The member with this number, and the disk it was admitted with.
fn member<R: Rig>(cluster: &Cluster<R>, node: u64) -> (Member, DiskId) {
    let running = cluster.running()[0];
    let membership = cluster.node(running).status().get().membership;
    let member = membership.members[&NodeId(node)].clone();
    let disk = member.disk_id.expect("admitted with its disk");
    (member, disk)
}

/// What a rogue that has taken over the key and the disk of `node` would say.
fn claim<R: Rig>(cluster: &Cluster<R>, node: u64) -> Claim {
    let status = cluster.node(cluster.running()[0]).status().get();
    Claim { cluster: status.cluster_id, node: NodeId(node), disk: member(cluster, node).1 }
}

/// Three nodes of which one is down, its key in the hands of a rogue.
async fn with_rogue<R: Rig>() -> (Cluster<R>, R::Transport, u64, u64) {
    let mut cluster = Cluster::<R>::started(3).await;
    let target = cluster.leader().await;
    let stolen = target % 3 + 1;
    cluster.stop_hard(stolen).await;
    cluster.leader().await;
    let transport = cluster.rig.rogue(stolen).await;
    rogue::introduce(&transport, &member(&cluster, target).0, &claim(&cluster, stolen)).await;
    (cluster, transport, target, stolen)
}

async fn garbage_closes_the_stream_and_harms_nobody<R: Rig>() {
    let (cluster, transport, target, stolen) = with_rogue::<R>().await;
    let (to, _) = member(&cluster, target);
    let hello = claim(&cluster, stolen).hello();
    let mut wrong_version = hello.clone();
    wrong_version[0] = 9;
    let mut wrong_protocol = hello.clone();
    (wrong_protocol[14], wrong_protocol[16]) = (2, 3);
    let cut = hello[..40].to_vec();
    let garbage: Vec<u8> = (0..5_000_u32).map(|n| (n * 37 % 251) as u8).collect();
    let append = |body: &[u8]| [&[1, 5, 0, 0, 0, 0, 0, 0, 0, 0][..], body].concat();
    let cases: Vec<(&str, Lane, Vec<Vec<u8>>)> = vec![
        ("garbage for a hello", Lane::Control, vec![garbage.clone()]),
        ("a hello of another version", Lane::Append, vec![wrong_version]),
        ("a hello of another protocol", Lane::Client, vec![wrong_protocol]),
        ("half a hello", Lane::Snapshot, vec![cut]),
        ("garbage for a request", Lane::Control, vec![hello.clone(), garbage.clone()]),
        ("garbage for an append", Lane::Append, vec![hello.clone(), append(&garbage)]),
        ("an append that is cut short", Lane::Append, vec![hello.clone(), append(&[1; 20])]),
        ("garbage for a snapshot", Lane::Snapshot, vec![hello.clone(), append(&garbage)]),
        ("a second hello", Lane::Client, vec![hello.clone(), hello.clone()]),
    ];
    for (what, lane, frames) in cases {
        // A stream that is closed while it is still written to is closed all the same.
        if let Ok(mut stream) = rogue::send(&transport, &to, lane, &frames).await {
            rogue::until_closed(&mut stream).await;
        }
        let status = cluster.node(target).status().get();
        assert_eq!(status.stopped(), None, "{what}");
    }
    let mut stream =
        rogue::send(&transport, &to, Lane::Client, std::slice::from_ref(&hello)).await.expect("admitted");
    within("hello", stream.rx.next()).await.expect("a frame").expect("a hello back");
    let oversized = vec![0; MAX_FRAME_BYTES + 1];
    let refused = futures::SinkExt::send(&mut stream.tx, oversized.into()).await;
    assert!(refused.is_err(), "a frame longer than a frame may be");
    cluster.client(target).record(0, 0).await.expect("unharmed");
}

async fn a_stranger_and_a_member_with_another_disk_are_refused<R: Rig>() {
    let (cluster, transport, target, stolen) = with_rogue::<R>().await;
    let (to, _) = member(&cluster, target);
    let mut wiped = claim(&cluster, stolen);
    wiped.disk = DiskId([9; 16]);
    let mut stream = rogue::send(&transport, &to, Lane::Control, &[wiped.hello()]).await.expect("dialled");
    let frames = rogue::until_closed(&mut stream).await;
    let refusal = frames.first().expect("it is told why");
    assert_eq!((refusal[1], refusal[10]), (2, 3), "refused, for another disk");
    assert_eq!(&refusal[12..28], &member(&cluster, stolen).1.0, "and is told which");

    let stranger = cluster.rig.rogue(99).await;
    if let Ok(mut stream) =
        rogue::send(&stranger, &to, Lane::Control, &[claim(&cluster, stolen).hello()]).await
    {
        let frames = rogue::until_closed(&mut stream).await;
        assert!(frames.iter().all(|frame| frame[1] == 2), "a stranger is refused, early or with a word");
    }
    stranger.close().await;
    cluster.client(target).record(0, 0).await.expect("unharmed");
}

async fn a_forwarded_command_that_cannot_be_decoded_is_refused_before_append<R: Rig>() {
    let (cluster, transport, target, stolen) = with_rogue::<R>().await;
    let (to, _) = member(&cluster, target);
    let record = |serial| LedgerCommand::Record { writer: 0, serial };
    cluster.write_shown(target, record(0)).await;
    let before = cluster.node(target).status().get().last_log;
    let unknown_id = vec![0xff, 0xff, 1, 2, 3];
    let cut = vec![1, 0];
    let leftover = vec![1, 0, 1, 1, 1];
    let hello = claim(&cluster, stolen).hello();
    let mut stream = rogue::send(&transport, &to, Lane::Client, &[hello]).await.expect("admitted");
    within("hello", stream.rx.next()).await.expect("a frame").expect("a hello back");
    for (correlation, command) in (1..).zip([unknown_id, cut, leftover, Vec::new()]) {
        let frame = rogue::request(correlation, 16, &rogue::write_request(&command));
        futures::SinkExt::send(&mut stream.tx, frame.into()).await.expect("open");
        let reply = within("an answer", stream.rx.next()).await.expect("a frame").expect("a reply");
        let (status, tag, reason) = (reply[18], reply[19], reply[20]);
        assert_eq!((status, tag, reason), (0, 2, 4), "not applied, for a bad command: {command:?}");
    }
    let after = cluster.node(target).status().get();
    assert_eq!((after.last_log, after.stopped()), (before, None), "nothing was appended");
    let next = cluster.write_shown(target, record(1)).await;
    assert_eq!(before, Some(LogIndex(next.get() - 1)), "nothing was appended");
}

async fn a_leader_in_the_name_of_another_is_refused<R: Rig>() {
    let (cluster, transport, target, stolen) = with_rogue::<R>().await;
    let (to, _) = member(&cluster, target);
    let term = cluster.node(target).status().get().term;
    // A heartbeat of a far higher term, in the name of a node that is not the sender.
    let mut body = 1_000_u64.to_le_bytes().to_vec();
    body.extend(target.to_le_bytes());
    body.extend([1, 0, 0, 0, 0, 0, 0]);
    let frames = [claim(&cluster, stolen).hello(), rogue::request(1, 4, &body)];
    let mut stream = rogue::send(&transport, &to, Lane::Control, &frames).await.expect("admitted");
    within("hello", stream.rx.next()).await.expect("a frame").expect("a hello back");
    let reply = within("an answer", stream.rx.next()).await.expect("a frame").expect("a reply");
    assert_eq!(reply[18], 1, "not understood");
    assert_eq!(cluster.node(target).status().get().term, term);
}

async fn an_oversized_command_is_refused_before_append<R: Rig>() {
    let mut cluster = Cluster::<R>::new(3);
    let config = ConfigBuilder::from(cluster.config.clone()).max_command_bytes(1_000);
    cluster.config = config.build().expect("a good configuration");
    cluster.start_all().await;
    let leader = cluster.leader().await;
    for node in cluster.all() {
        cluster.write_shown(leader, LedgerCommand::Record { writer: 0, serial: node }).await;
        let before = cluster.node(leader).status().get().last_log;
        let client = cluster.client(node).with_timeout(Duration::from_secs(5));
        let error = client.note("n".into(), "x".repeat(2_000)).await.expect_err("too large");
        assert!(matches!(error, WriteError::NotApplied(NotApplied::TooLarge { max: 1_000, .. })), "{error}");
        assert_eq!(cluster.node(leader).status().get().last_log, before);
    }
}
