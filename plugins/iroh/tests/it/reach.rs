//! Dialling: who is found, who is not, and how soon that is known.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate::error::TransportError;
use quorate::transport::{Lane, Transport};
use quorate::types::{Member, PeerId};
use quorate_iroh::{DialError, IrohTransport, NodeKey};

use crate::support::{failure, member, node, node_with, ping, stream, until, within};

/// A dial takes at most a second; with an older connection suspected, a quarter more.
const DIAL: Duration = Duration::from_millis(1500);

fn dial_error(error: &TransportError) -> Option<&DialError> {
    std::error::Error::source(error)?.downcast_ref()
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_at_the_address_is_the_wrong_peer() {
    let (a, b) = (node().await, node().await);
    let expected = NodeKey::generate().public();
    let wrong = Member::new(2, expected.clone(), b.address());
    let error = within(DIAL, "an answer", a.connect(&wrong, Lane::Control)).await.expect_err("not them");
    assert!(
        matches!(&error, TransportError::WrongPeer { address, expected: named }
            if *address == b.address() && *named == expected),
        "{error:?}"
    );
    // b is none the worse, for a as for others.
    let (mut out, mut incoming) = stream(&a, &b, Lane::Control).await;
    ping(&mut out, &mut incoming.stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_no_key_is_nobody() {
    let (a, b) = (node().await, node().await);
    for bytes in [vec![1; 31], vec![1; 64], vec![0xff; 32]] {
        let nobody = Member::new(2, PeerId::new(bytes).expect("short enough"), b.address());
        let error = until("an answer", a.connect(&nobody, Lane::Control)).await.expect_err("no key");
        assert!(matches!(error, TransportError::WrongPeer { .. }), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_unreachable_soon() {
    let a = node().await;
    // One port that is closed, one where packets vanish.
    let closed = UdpSocket::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for address in [closed, silent.local_addr().expect("bound")] {
        let nobody = Member::new(2, NodeKey::generate().public(), address.to_string());
        let error =
            within(DIAL, "an answer", a.connect(&nobody, Lane::Control)).await.expect_err("nobody there");
        assert!(
            matches!(&error, TransportError::Unreachable { peer, address, .. }
                if *peer == nobody.identity && *address == nobody.address),
            "{error:?}"
        );
        assert!(matches!(dial_error(&error), Some(DialError::TimedOut { .. })), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_dials_nobody_waits_no_longer_than_one() {
    let a = Arc::new(node().await);
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound").to_string();
    let nobody = Member::new(2, NodeKey::generate().public(), address);
    let begin = Instant::now();
    let dials = (0..32).map(|_| a.connect(&nobody, Lane::Control));
    let results = until("all answers", futures::future::join_all(dials)).await;
    assert!(begin.elapsed() < DIAL, "took {:?}", begin.elapsed());
    for result in results {
        assert!(matches!(result, Err(TransportError::Unreachable { .. })), "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_dial_itself() {
    let a = node().await;
    let error = until("an answer", a.connect(&member(&a), Lane::Control)).await.expect_err("itself");
    assert!(matches!(dial_error(&error), Some(DialError::OwnKey)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_form_is_named() {
    let (a, b) = (node().await, node().await);
    for address in ["mem:1", "localhost:1", "127.0.0.1", "0.0.0.0:1", "127.0.0.1:0"] {
        let unknown = Member::new(2, b.identity(), address);
        let error = until("an answer", a.connect(&unknown, Lane::Control)).await.expect_err("no address");
        assert!(matches!(&error, TransportError::Address { address: named, .. } if named == address));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_good_address_of_several_is_enough() {
    let (a, b) = (node().await, node().await);
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = format!("{},{}", silent.local_addr().expect("bound"), b.address());
    let member = Member::new(2, b.identity(), address);
    let (out, incoming) =
        within(DIAL, "a stream", async { tokio::join!(a.connect(&member, Lane::Control), b.accept()) }).await;
    ping(&mut out.expect("connects"), &mut incoming.expect("accepts").stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_may_dial_at_once() {
    let (a, b) = (node().await, node().await);
    let (to_b, to_a) = (member(&b), member(&a));
    let (from_a, from_b, at_a, at_b) = until("two streams", async {
        tokio::join!(a.connect(&to_b, Lane::Control), b.connect(&to_a, Lane::Control), a.accept(), b.accept())
    })
    .await;
    ping(&mut from_a.expect("connects"), &mut at_b.expect("accepts").stream).await;
    ping(&mut from_b.expect("connects"), &mut at_a.expect("accepts").stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_dials_at_once_make_one_connection() {
    let (a, b) = (node().await, node().await);
    let to_b = member(&b);
    let dials = futures::future::join_all((0..32).map(|_| a.connect(&to_b, Lane::Control)));
    let accepts = async {
        let mut accepted = Vec::new();
        for _ in 0..32 {
            accepted.push(b.accept().await.expect("accepts"));
        }
        accepted
    };
    let (opened, mut accepted) = until("all streams", async { tokio::join!(dials, accepts) }).await;
    let mut opened: Vec<_> = opened.into_iter().map(|opened| opened.expect("connects")).collect();
    // b closes the older of two connections from one peer: with two, some streams would be dead.
    for (number, stream) in opened.iter_mut().enumerate() {
        crate::support::send(stream, format!("{number}")).await;
    }
    for incoming in &mut accepted {
        crate::support::receive(&mut incoming.stream).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_given_up_half_way_leaves_nothing_behind() {
    let (a, b) = (node().await, node().await);
    let to_b = member(&b);
    for _ in 0..20 {
        let dial = a.connect(&to_b, Lane::Control);
        let _ = tokio::time::timeout(Duration::from_micros(300), dial).await;
    }
    let (mut out, mut incoming) = until("a stream that works", async {
        let out = a.connect(&to_b, Lane::Append).await.expect("connects");
        loop {
            let incoming = b.accept().await.expect("accepts");
            if incoming.lane == Lane::Append {
                break (out, incoming);
            }
        }
    })
    .await;
    ping(&mut out, &mut incoming.stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_fails_every_stream_in_and_out_and_the_next_dial_works() {
    let (a, b, c) = (node().await, node().await, node().await);
    let mut streams = Vec::new();
    for lane in [Lane::Control, Lane::Snapshot] {
        let (out, incoming) = stream(&a, &b, lane).await;
        streams.extend([out, incoming.stream]);
        let (out, incoming) = stream(&b, &a, lane).await;
        streams.extend([out, incoming.stream]);
    }
    let (mut other, mut other_in) = stream(&a, &c, Lane::Control).await;

    a.reset(&b.identity());
    for stream in &mut streams {
        let error = within(Duration::from_secs(1), "the stream fails", failure(stream)).await;
        assert!(matches!(error, TransportError::Reset { source: Some(_) }), "{error:?}");
    }
    ping(&mut other, &mut other_in.stream).await;
    for lane in Lane::ALL {
        let (mut out, mut incoming) = stream(&a, &b, lane).await;
        ping(&mut out, &mut incoming.stream).await;
        let (mut out, mut incoming) = stream(&b, &a, lane).await;
        ping(&mut out, &mut incoming.stream).await;
    }
    a.reset(&NodeKey::generate().public());
    a.reset(&PeerId::new(vec![1]).expect("short"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_moved_in_good_order_is_found_at_once() {
    let key = NodeKey::generate();
    let (a, first) = (node().await, node_with(key.clone()).await);
    let (mut out, mut incoming) = stream(&a, &first, Lane::Control).await;
    ping(&mut out, &mut incoming.stream).await;
    first.close().await;
    let second = node_with(key).await;
    let (mut out, mut incoming) =
        within(Duration::from_millis(800), "a stream", stream(&a, &second, Lane::Control)).await;
    ping(&mut out, &mut incoming.stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_have_swapped_their_addresses_are_both_found_every_time() {
    let keys = [NodeKey::generate(), NodeKey::generate()];
    let a = node().await;
    let mut addresses = Vec::new();
    for key in &keys {
        let node = node_with(key.clone()).await;
        let (mut out, mut incoming) = stream(&a, &node, Lane::Control).await;
        ping(&mut out, &mut incoming.stream).await;
        addresses.push(node.address().parse().expect("ip:port"));
        drop(incoming);
        node.close().await;
    }
    let mut swapped = Vec::new();
    for (key, address) in keys.into_iter().zip(addresses.into_iter().rev()) {
        let builder = IrohTransport::builder(key).listen(address);
        swapped.push(builder.bind().await.expect("the port is free"));
    }
    for _ in 0..20 {
        for node in &swapped {
            let (mut out, mut incoming) = stream(&a, node, Lane::Control).await;
            ping(&mut out, &mut incoming.stream).await;
            // The next dial goes to every address that iroh remembers.
            a.reset(&node.identity());
        }
    }
}
