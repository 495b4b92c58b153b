//! Peers that speak QUIC but not this protocol: they cost themselves and nobody else.

use std::net::SocketAddr;
use std::time::Duration;

use iroh::endpoint::{ConnectOptions, Connection, ReadError, VarInt, WriteError, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, SecretKey, TransportAddr};
use quorate::error::TransportError;
use quorate::transport::{Lane, MAX_FRAME_BYTES, Transport};
use quorate_iroh::{IrohTransport, StreamError, Timeouts, code};

use crate::support::{failure, next, node, ping, receive, stream, until};

const ALPN: &[u8] = b"quorate/raft/1";
const CONTROL: [u8; 4] = [b'Q', 1, 1, 0];

/// An endpoint of iroh's own, without our protocol.
async fn raw_endpoint() -> Endpoint {
    Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::generate())
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")
        .expect("an address")
        .bind()
        .await
        .expect("a free port")
}

fn address(node: &IrohTransport) -> EndpointAddr {
    let id = EndpointId::try_from(node.identity().as_bytes()).expect("a key");
    let socket: SocketAddr = node.address().parse().expect("ip:port");
    EndpointAddr::from_parts(id, [TransportAddr::Ip(socket)])
}

async fn raw_connection(endpoint: &Endpoint, node: &IrohTransport) -> Connection {
    until("a connection", endpoint.connect(address(node), ALPN)).await.expect("connects")
}

/// Whether `node` still serves a well-behaved peer.
async fn assert_serves(node: &IrohTransport) {
    let peer = crate::support::node().await;
    let (mut out, mut incoming) = stream(&peer, node, Lane::Control).await;
    assert_eq!(incoming.peer, peer.identity(), "nothing of the bad peer comes out before");
    ping(&mut out, &mut incoming.stream).await;
    peer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_begins_with_garbage_is_reset_and_never_comes_out() {
    let (node, raw) = (node().await, raw_endpoint().await);
    let connection = raw_connection(&raw, &node).await;
    let heads: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n",
        &[b'Q', 2, 1, 0],   // another version
        &[b'Q', 1, 99, 0],  // no such lane
        &[b'Q', 1, 3, 0],   // the snapshot lane, on the wrong connection
        &[b'Q', 1, 1, 255], // an unknown flag
    ];
    for head in heads {
        let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
        send.write_all(head).await.expect("the stream is open");
        let bad_head = VarInt::from_u32(code::BAD_HEAD);
        let error = until("a reset", recv.read_chunk(1)).await.expect_err("a reset and not an end");
        assert_eq!(error, ReadError::Reset(bad_head), "{head:?}");
        assert_eq!(until("a stop", send.stopped()).await, Ok(Some(bad_head)), "{head:?}");
    }
    assert_serves(&node).await;
    raw.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_within_its_head_never_comes_out() {
    let (node, raw) = (node().await, raw_endpoint().await);
    let connection = raw_connection(&raw, &node).await;
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    send.write_all(&CONTROL[..2]).await.expect("the stream is open");
    send.finish().expect("the stream is open");
    until("a reset", recv.read_chunk(1)).await.expect_err("a reset and not an end");
    assert_serves(&node).await;
    raw.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_come_hold_up_nobody_and_time_out() {
    let timeouts = {
        let mut timeouts = Timeouts::default();
        timeouts.handshake = Duration::from_millis(500);
        timeouts
    };
    let node = IrohTransport::builder(quorate_iroh::NodeKey::generate()).timeouts(timeouts);
    let node = node.bind().await.expect("a free port on loopback");
    let raw = raw_endpoint().await;
    let connection = raw_connection(&raw, &node).await;
    let mut stalled = Vec::new();
    // More than wait for their heads at once.
    for _ in 0..100 {
        let (mut send, recv) = connection.open_bi().await.expect("a stream");
        send.write_all(&CONTROL[..1]).await.expect("the stream is open");
        stalled.push((send, recv));
    }
    assert_serves(&node).await;
    // The last of them is refused too, and then the connection serves again.
    let (_, recv) = stalled.last_mut().expect("a hundred");
    let error = until("a reset", recv.read_chunk(1)).await.expect_err("a reset and not an end");
    assert_eq!(error, ReadError::Reset(VarInt::from_u32(code::BAD_HEAD)));
    let (mut send, _recv) = connection.open_bi().await.expect("a stream");
    send.write_all(&CONTROL).await.expect("the stream is open");
    assert_eq!(until("a stream", node.accept()).await.expect("accepts").lane, Lane::Control);
    raw.close().await;
}

/// A stream of a raw peer with a good head, and what the node accepted.
async fn raw_stream(
    connection: &Connection,
    node: &IrohTransport,
) -> (iroh::endpoint::SendStream, quorate::transport::Duplex) {
    let (mut send, _recv) = connection.open_bi().await.expect("a stream");
    send.write_all(&CONTROL).await.expect("the stream is open");
    let incoming = until("a stream", node.accept()).await.expect("accepts");
    (send, incoming.stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_announced_too_long_fails_its_stream_only() {
    let (node, raw) = (node().await, raw_endpoint().await);
    let connection = raw_connection(&raw, &node).await;
    for len in [MAX_FRAME_BYTES as u32 + 1, u32::MAX] {
        let (mut send, mut accepted) = raw_stream(&connection, &node).await;
        send.write_all(&len.to_le_bytes()).await.expect("the stream is open");
        let error = failure(&mut accepted).await;
        assert!(
            matches!(error, TransportError::FrameTooLong { len: found, .. } if found == len as usize),
            "{error:?}"
        );
        assert!(next(&mut accepted).await.is_none(), "nothing follows the error");
        let stopped = until("a stop", send.stopped()).await;
        assert_eq!(stopped, Ok(Some(VarInt::from_u32(code::FRAME_TOO_LONG))));
        assert!(matches!(send.write_all(b"more").await, Err(WriteError::Stopped(_))));
    }
    assert_serves(&node).await;
    raw.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_frame_fails_its_stream_only() {
    let (node, raw) = (node().await, raw_endpoint().await);
    let connection = raw_connection(&raw, &node).await;
    let (mut send, mut accepted) = raw_stream(&connection, &node).await;
    send.write_all(&[1, 0, 0, 0, b'x', 0, 0, 0, 0]).await.expect("the stream is open");
    assert_eq!(receive(&mut accepted).await, "x", "what came before is delivered");
    assert!(is_reset_by(&failure(&mut accepted).await, |error| matches!(error, StreamError::EmptyFrame)));
    assert_serves(&node).await;
    raw.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_finished_within_a_frame_is_an_error_and_not_an_end() {
    let (node, raw) = (node().await, raw_endpoint().await);
    let connection = raw_connection(&raw, &node).await;
    for cut in [2, 4, 6] {
        let (mut send, mut accepted) = raw_stream(&connection, &node).await;
        send.write_all(&[3, 0, 0, 0, b'a', b'b', b'c'][..cut]).await.expect("the stream is open");
        send.finish().expect("the stream is open");
        let error = failure(&mut accepted).await;
        assert!(is_reset_by(&error, |error| matches!(error, StreamError::Truncated)), "{error:?}");
    }
    raw.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_another_protocol_is_turned_away() {
    let (node, raw) = (node().await, raw_endpoint().await);
    until("an answer", raw.connect(address(&node), b"h3")).await.expect_err("no common protocol");
    assert_serves(&node).await;
    raw.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_handshakes_is_turned_away_and_leaves_open_streams_alone() {
    let (node, peer, raw) = (node().await, crate::support::node().await, raw_endpoint().await);
    let (mut out, mut incoming) = stream(&peer, &node, Lane::Control).await;
    // Meant for another node, they are left waiting for a while, so that they add up.
    let for_another = [&b"quorate/for/"[..], SecretKey::generate().public().as_bytes()].concat();
    let dials = futures::future::join_all((0..200).map(|_| async {
        let options = ConnectOptions::new().with_additional_alpns(vec![for_another.clone()]);
        raw.connect_with_opts(address(&node), ALPN, options).await.expect("it is sent").await
    }));
    let pings = async {
        for _ in 0..20 {
            ping(&mut out, &mut incoming.stream).await;
        }
    };
    let (results, ()) = until("all answers", async { tokio::join!(dials, pings) }).await;
    let turned_away = results.iter().filter(|result| result.is_err()).count();
    assert!((1..200).contains(&turned_away), "{turned_away} turned away, and the others served");
    assert_serves(&node).await;
    raw.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_are_no_quic_do_no_harm() {
    let node = node().await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for len in 1..1400_usize {
        // Every first byte, long and short headers alike.
        let packet: Vec<u8> = (0..len).map(|at| (at * 37 + len) as u8).collect();
        socket.send_to(&packet, node.address()).expect("loopback");
    }
    assert_serves(&node).await;
}

fn is_reset_by(error: &TransportError, cause: impl Fn(&StreamError) -> bool) -> bool {
    std::error::Error::source(error).and_then(|source| source.downcast_ref()).is_some_and(cause)
}
