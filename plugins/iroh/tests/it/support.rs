//! What the tests share: nodes, streams between them, waiting with a limit.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use quorate::error::TransportError;
use quorate::transport::{Duplex, Incoming, Lane, Transport};
use quorate::types::Member;
use quorate_iroh::{IrohTransport, NodeKey};

/// Long enough for a busy machine; a test that needs it has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Awaits `future`, or fails naming what did not happen.
pub(crate) async fn until<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(LIMIT, what, future).await
}

/// As [`until`], with a limit that is part of the promise under test.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let in_time = tokio::time::timeout(limit, future).await;
    in_time.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

pub(crate) async fn node() -> IrohTransport {
    node_with(NodeKey::generate()).await
}

pub(crate) async fn node_with(key: NodeKey) -> IrohTransport {
    IrohTransport::bind(key, "127.0.0.1:0").await.expect("a free port on loopback")
}

pub(crate) fn member(node: &IrohTransport) -> Member {
    Member::new(1, node.identity(), node.address())
}

/// A stream from `from` to `to`: the dialling end, and what was accepted.
pub(crate) async fn stream(from: &IrohTransport, to: &IrohTransport, lane: Lane) -> (Duplex, Incoming) {
    let member = member(to);
    until("a stream", async { tokio::try_join!(from.connect(&member, lane), to.accept()) })
        .await
        .expect("connects and accepts")
}

pub(crate) async fn send(stream: &mut Duplex, frame: impl Into<Bytes>) {
    until("a frame goes out", stream.tx.send(frame.into())).await.expect("the stream is sound");
}

pub(crate) async fn receive(stream: &mut Duplex) -> Bytes {
    next(stream).await.expect("a frame and not the end").expect("a frame and not an error")
}

pub(crate) async fn next(stream: &mut Duplex) -> Option<Result<Bytes, TransportError>> {
    until("a frame or the end", stream.rx.next()).await
}

/// The error with which the receiving half fails; frames that come before are skipped.
pub(crate) async fn failure(stream: &mut Duplex) -> TransportError {
    loop {
        match next(stream).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error,
            None => panic!("the stream was closed in good order"),
        }
    }
}

/// One frame there and back: both ends are alive.
pub(crate) async fn ping(from: &mut Duplex, to: &mut Duplex) {
    send(from, "ping").await;
    assert_eq!(receive(to).await, "ping");
    send(to, "pong").await;
    assert_eq!(receive(from).await, "pong");
}
