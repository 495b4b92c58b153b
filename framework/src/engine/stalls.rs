//! Links that are slow, and peers that fall silent half-way. On a clock that the test winds on.

use std::time::Duration;

use bytes::BufMut;
use futures::{SinkExt, StreamExt};
use openraft::RaftNetworkFactory;
use openraft::entry::RaftEntry;
use openraft::network::{NetStreamAppend, RPCOption};
use openraft::raft::AppendEntriesRequest;

use super::network::Factory;
use super::receive::ReceiveError;
use super::rig::{self, Rig};
use super::runtime::{TokioRuntime, now};
use super::types::{Entry, Payload, Record, TypeConfig, from_log_id};
use super::wire::{self, SnapshotBegin};
use crate::format::entry::Body;
use crate::format::frame::{self, Frame, Kind};
use crate::format::hello::Hello;
use crate::host::{Call, Session, Status};
use crate::storage::Storage;
use crate::transport::{Duplex, Lane, Transport};
use crate::types::{BootId, DiskId, GroupId, LogId, NodeId};

type Append = AppendEntriesRequest<TypeConfig<TokioRuntime>>;

/// Far longer than anything may take on the slowest link.
const NEVER: Duration = Duration::from_hours(1);

/// An append of one entry behind `index - 1`, with a command of so many bytes.
fn append(index: u64, bytes: usize) -> Append {
    let id = |index| from_log_id(LogId::new(1_000, index));
    let body = Body { count: 1, flags: 0, bytes: vec![7; bytes].into() };
    let mut entry = Entry::new(id(index), Payload::Commands(body));
    entry.seal(GroupId::MAIN, || crate::types::LogTime::ZERO);
    let prev_log_id = index.checked_sub(1).map(id);
    AppendEntriesRequest { vote: rig::vote(1, true), prev_log_id, entries: vec![entry], leader_commit: None }
}

/// Lets 4 Mbit/s pass to node 2: for 2 MiB eight times as long as it may be silent.
fn slow_down(rig: &Rig) {
    let link = rig.network.link("n1", "n2");
    link.delay_by_bytes(|bytes| tokio::time::sleep(Duration::from_micros(bytes as u64 * 2)));
}

/// Says hello as node 2 on a stream of node 1.
async fn greet(stream: &mut Duplex) {
    stream.rx.next().await.expect("a hello").expect("a frame");
    let hello = Hello {
        cluster_id: rig::CLUSTER,
        node_id: NodeId(2),
        disk_id: DiskId([2; 16]),
        boot_id: BootId(2),
        groups: Vec::new(),
    };
    stream.tx.send(hello.encode()).await.expect("open");
}

/// Answers the next append of a stream, all of it or its first entry alone.
async fn answer(stream: &mut Duplex, whole: bool) {
    let frame = stream.rx.next().await.expect("an append").expect("a frame");
    let frame = Frame::decode(frame).expect("ours");
    let request = wire::read_append::<TokioRuntime>(GroupId::MAIN, frame.body).expect("ours");
    let entries = &request.entries;
    let last = if whole { entries.last() } else { entries.first() }.expect("not empty").log_id;
    let body = wire::append_result::<TokioRuntime>(&Ok(Some(last)));
    let mut out = frame::begin(Kind::Appended, GroupId::MAIN, body.len());
    out.put_slice(&body);
    stream.tx.send(out.freeze()).await.expect("open");
}

fn factory(rig: &Rig) -> Factory<TokioRuntime> {
    Factory {
        host: rig.host.clone(),
        group: GroupId::MAIN,
        append_deadline: Duration::from_millis(500),
        chunk_bytes: 1 << 10,
    }
}

/// Sends `requests` to node 2, which answers so many of them; what came of each.
async fn send_appends(rig: &Rig, requests: Vec<Append>, answered: usize, limit: Duration) -> Vec<bool> {
    let mut network = factory(rig).new_client(2, &Record(None)).await;
    let sending = async {
        let option = RPCOption::new(Duration::from_millis(500));
        let results = network.stream_append(futures::stream::iter(requests), option).await;
        results.expect("a stream").map(|result| result.is_ok()).collect().await
    };
    let (opened, mut streams) = futures::channel::mpsc::unbounded();
    let answering = async {
        let mut stream: Duplex = streams.next().await.expect("a stream for appends");
        greet(&mut stream).await;
        for _ in 0..answered {
            answer(&mut stream, true).await;
        }
        // Silent from here on, and still there.
        futures::future::pending::<()>().await;
    };
    // Whoever leaves a stream waiting for its hello loses the others as well.
    let accepting = async {
        while let Ok(incoming) = rig.peers[&2].accept().await {
            if incoming.lane == Lane::Append {
                opened.unbounded_send(incoming.stream).expect("somebody answers");
            }
        }
    };
    let sent = async {
        tokio::select! {
            sent = sending => sent,
            _ = futures::future::join(answering, accepting) => unreachable!("it never ends"),
        }
    };
    tokio::time::timeout(limit, sent).await.expect("given up in time")
}

#[tokio::test(start_paused = true)]
async fn large_appends_get_the_time_that_a_slow_link_takes() {
    let rig = rig::start(2).await;
    slow_down(&rig);
    let requests = vec![append(1, 2 << 20), append(2, 2 << 20), append(3, 10)];
    assert_eq!(send_appends(&rig, requests, 3, NEVER).await, [true, true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_falls_silent_is_given_up_soon_whatever_came_before() {
    let rig = rig::start(2).await;
    let requests = vec![append(1, 4 << 20), append(2, 10)];
    // The large one alone would be waited for longer.
    assert_eq!(send_appends(&rig, requests, 1, Duration::from_secs(5)).await, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn after_an_append_that_was_taken_in_part_the_stream_ends() {
    let rig = rig::start(2).await;
    let mut network = factory(&rig).new_client(2, &Record(None)).await;
    let mut both = append(1, 10);
    both.entries.extend(append(2, 10).entries);
    // There is nothing more to send: what was not taken is sent again by a new stream alone.
    let requests = futures::stream::iter([both]).chain(futures::stream::pending()).boxed();
    let sending = async {
        let results = network.stream_append(requests, RPCOption::new(Duration::from_millis(500))).await;
        results.expect("a stream").map(|result| result.is_ok()).collect::<Vec<_>>().await
    };
    let answering = async {
        let mut stream = rig.peers[&2].accept().await.expect("open").stream;
        greet(&mut stream).await;
        answer(&mut stream, false).await;
        // It stays open, as it does while the follower puts the leader off.
        futures::future::pending::<()>().await;
    };
    let sent = async {
        tokio::select! {
            sent = sending => sent,
            () = answering => unreachable!("it never ends"),
        }
    };
    assert_eq!(tokio::time::timeout(NEVER, sent).await.expect("it ends"), [true]);
}

#[tokio::test(start_paused = true)]
async fn a_large_request_gets_the_time_that_a_slow_link_takes() {
    let rig = rig::start(2).await;
    slow_down(&rig);
    let deadline = now::<TokioRuntime>() + NEVER;
    let link = rig.host.link(NodeId(2), Lane::Client);
    let call = link.call(GroupId::MAIN, Call::Write, vec![7; 2 << 20].into(), deadline);
    let answering = async {
        let mut stream = rig.peers[&2].accept().await.expect("open").stream;
        greet(&mut stream).await;
        let frame = stream.rx.next().await.expect("a request").expect("a frame");
        let correlation = &frame[frame::HEADER_BYTES..][..8];
        let mut out = frame::begin(Kind::Reply, GroupId::MAIN, 9);
        out.put_slice(correlation);
        out.put_u8(0);
        stream.tx.send(out.freeze()).await.expect("open");
        // Not closed before the answer is read.
        stream.rx.next().await;
    };
    let answered = tokio::select! {
        answered = call => answered,
        () = answering => panic!("the stream was given up before the answer"),
    };
    assert_eq!(answered.expect("an answer").status, Status::Done);
}

/// Receives a snapshot of which so many frames arrive; the sender stays and says no more.
async fn receive(frames: &[&[u8]]) -> Result<(), ReceiveError> {
    let rig = rig::start(2).await;
    let (mut ours, theirs, _endpoints) = rig::stream(&rig).await;
    let covers = from_log_id(LogId::new(5, 9));
    let begin = SnapshotBegin { vote: rig::vote(2, true), covers, len: 99, fingerprint: None };
    let begin = wire::snapshot_begin(GroupId::MAIN, &begin);
    for body in frames {
        let mut out = frame::begin(Kind::SnapshotChunk, GroupId::MAIN, body.len());
        out.put_slice(body);
        ours.tx.send(out.freeze()).await.expect("open");
    }
    let first = begin.slice(frame::HEADER_BYTES..);
    let receiving = rig.group.clone().receive_snapshot(NodeId(2), first, Session { stream: theirs });
    let result = tokio::time::timeout(NEVER, receiving).await.expect("given up in time");
    assert!(rig.storage.snapshot(GroupId::MAIN).await.expect("in memory").is_none(), "nothing came whole");
    drop(ours);
    result
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_whose_sender_falls_silent_is_given_up() {
    for frames in [&[][..], &[&b"QSNP"[..]]] {
        let result = receive(frames).await;
        assert!(matches!(result, Err(ReceiveError::Stalled)), "{result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_does_not_close_after_the_answer_is_not_waited_for() {
    let result = receive(&[&b"no snapshot"[..]]).await;
    assert!(matches!(result, Err(ReceiveError::Open(_))), "{result:?}");
}
