//! A snapshot that arrives when the log has gone on behind what it covers: the leader began to send it, and
//! what it covers came as entries as well. Found by a seed of the simulation. On a clock that the test winds
//! on.

use std::sync::Arc;

use bytes::BufMut;
use futures::{SinkExt, StreamExt};
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;

use super::receive::ReceiveError;
use super::rig::{self, Rig};
use super::runtime::TokioRuntime;
use super::types::{Entry, LeaderId, Payload, RaftLogId, TypeConfig, Vote, from_log_id};
use super::wire::{self, SnapshotBegin};
use crate::format::frame::{self, Kind};
use crate::format::membership::RawMembership;
use crate::format::snapshot::{Encoder, Header};
use crate::host::Session;
use crate::storage::{Flushed, Storage, Write};
use crate::transport::{Lane, Transport};
use crate::types::{GroupId, LogId, LogIndex, LogTime, NodeId};

const TERM: u64 = 1_000;

fn id(index: u64) -> RaftLogId {
    from_log_id(LogId::new(TERM, index))
}

fn entry(index: u64) -> Entry {
    let mut entry = Entry::new(id(index), Payload::Blank);
    entry.seal(GroupId::MAIN, || LogTime::ZERO);
    entry
}

/// Node 2, as the leader, appends what is missing up to `last` and says that so much is committed.
async fn append(rig: &Rig, from: u64, last: u64, committed: Option<u64>) {
    let before = if from == 1 { from_log_id(LogId::new(0, 0)) } else { id(from - 1) };
    let request = AppendEntriesRequest::<TypeConfig<TokioRuntime>> {
        vote: rig::vote(2, true),
        prev_log_id: Some(before),
        entries: (from..=last).map(entry).collect(),
        leader_commit: committed.map(id),
    };
    let mut answers = std::pin::pin!(rig.group.append(futures::stream::iter([request])));
    let answer = answers.next().await.expect("an answer").expect("it runs");
    answer.expect("it follows this leader");
}

/// The frames of a snapshot of the rig's machine.
fn frames(rig: &Rig, covers: LogId) -> Vec<bytes::Bytes> {
    let members = (1..=2).map(|node| (NodeId(node), Some(rig::member(node)))).collect();
    let header = Header {
        cluster_id: rig::CLUSTER,
        group: rig.group.group(),
        machine: "idle".into(),
        version: 1,
        last_applied: covers,
        clock: LogTime::ZERO,
        membership_log_id: Some(LogId::new(0, 0)),
        membership: RawMembership { voters: vec![[NodeId(1), NodeId(2)].into()], members },
        sessions: bytes::Bytes::new(),
    };
    let (encoder, mut whole) = Encoder::begin(&header);
    whole = [&whole[..], &encoder.end()].concat().into();
    let mut chunk = frame::begin(Kind::SnapshotChunk, GroupId::MAIN, whole.len());
    chunk.put_slice(&whole);
    vec![chunk.freeze(), frame::begin(Kind::SnapshotEnd, GroupId::MAIN, 0).freeze()]
}

/// Receives a snapshot from node 2 whole.
async fn receive(rig: &Rig, covers: LogId) -> Result<(), ReceiveError> {
    receive_from(rig, covers, rig::vote(2, true)).await
}

async fn receive_from(rig: &Rig, covers: LogId, vote: Vote) -> Result<(), ReceiveError> {
    let (a, b) = (rig.network.endpoint("a"), rig.network.endpoint("b"));
    let mut to = rig::member(9);
    (to.identity, to.address) = (b.identity(), b.address());
    let mut ours = a.connect(&to, Lane::Snapshot).await.expect("open");
    let theirs = b.accept().await.expect("open").stream;
    let begin = SnapshotBegin { vote, covers: from_log_id(covers), len: 0, fingerprint: None };
    let first = wire::snapshot_begin(GroupId::MAIN, &begin).slice(frame::HEADER_BYTES..);
    for frame in frames(rig, covers) {
        ours.tx.send(frame).await.expect("open");
    }
    let reading = async move {
        while ours.rx.next().await.is_some_and(|frame| frame.is_ok()) {}
        drop(ours);
    };
    let receiving = rig.group.clone().receive_snapshot(NodeId(2), first, Session { stream: theirs });
    futures::join!(receiving, reading).0
}

async fn committed(rig: &Rig, index: u64) {
    let committed = |view: &super::View| view.committed.is_some_and(|id| id.index >= LogIndex(index));
    rig.group.view().until(committed).await.expect("it runs");
}

/// Nothing was installed, and the log goes on.
async fn goes_on(rig: &Rig, last: u64) {
    assert_eq!(rig.group.view().get().snapshot, None);
    append(rig, last + 1, last + 1, Some(last + 1)).await;
    committed(rig, last + 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_log_has_already_is_not_installed() {
    for told in [None, Some(2), Some(5)] {
        let rig = rig::start(2).await;
        append(&rig, 1, 5, told).await;
        receive(&rig, LogId::new(TERM, 3)).await.expect("the log is enough");
        goes_on(&rig, 5).await;
        receive(&rig, LogId::new(TERM, 9)).await.expect("it is needed");
        append(&rig, 10, 10, Some(10)).await;
        committed(&rig, 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_log_had_at_the_start_is_not_installed() {
    let rig = rig::start_over(2, |storage| {
        let entries = (1..=5).map(|index| entry(index).encoded).collect();
        storage.write(GroupId::MAIN, Write::Append { first: LogIndex(1), entries }, Flushed::ignored());
        Arc::new(storage)
    });
    let rig = rig.await;
    // A leader that knows of none of them, and that all are committed.
    append(&rig, 1, 0, Some(5)).await;
    receive(&rig, LogId::new(TERM, 3)).await.expect("the log is enough");
    goes_on(&rig, 5).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_log_has_is_flushed_before_it_counts() {
    let rig = rig::start(2).await;
    // The vote is flushed first.
    append(&rig, 1, 2, None).await;
    rig.storage.hold_flushes();
    let group = rig.group.clone();
    let appending = async {
        append(&rig, 3, 5, None).await;
    };
    let receiving = async {
        let has = |view: &super::View| view.last_log.is_some_and(|last| last >= LogIndex(5));
        group.view().until(has).await.expect("it runs");
        let result = receive(&rig, LogId::new(TERM, 3)).await;
        assert!(matches!(result, Err(ReceiveError::NotFlushed)), "{result:?}");
        rig.storage.release();
    };
    futures::join!(appending, receiving);
    receive(&rig, LogId::new(TERM, 3)).await.expect("the log is enough");
    goes_on(&rig, 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_its_sender_cannot_have_is_refused() {
    let rig = rig::start(2).await;
    let result = receive(&rig, LogId::new(TERM + 1, 3)).await;
    assert!(matches!(result, Err(ReceiveError::NotTheLeaders { .. })), "of a later term: {result:?}");
    append(&rig, 1, 5, Some(5)).await;
    committed(&rig, 5).await;
    let result = receive_from(&rig, LogId::new(TERM, 3), rig::vote(2, false)).await;
    assert!(matches!(result, Err(ReceiveError::NotTheLeaders { .. })), "no leader: {result:?}");
    // Of the leader's term, and in the place of what is committed with another.
    let leader = Vote { leader_id: LeaderId { term: TERM + 1, voted_for: 2 }, committed: true };
    let result = receive_from(&rig, LogId::new(TERM + 1, 3), leader).await;
    assert!(matches!(result, Err(ReceiveError::OtherSnapshot)), "{result:?}");
    goes_on(&rig, 5).await;
}
