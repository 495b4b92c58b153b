//! What a test can do to a network, as the ends of a stream see it.

use std::task::Poll;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::{FutureExt, SinkExt, StreamExt};

use super::*;
use crate::error::TransportError;
use crate::transport::{Duplex, Lane, MAX_FRAME_BYTES, Transport};
use crate::types::{Member, PeerId};

struct Pair {
    network: MemoryNetwork,
    a: MemoryTransport,
    b: MemoryTransport,
}

fn pair() -> Pair {
    pair_on(MemoryNetwork::new())
}

fn pair_on(network: MemoryNetwork) -> Pair {
    let (a, b) = (network.endpoint("a"), network.endpoint("b"));
    Pair { network, a, b }
}

fn member(of: &MemoryTransport) -> Member {
    Member::new(1, of.identity(), of.address())
}

/// Ends of a new stream from `a`: its own, and the one of `b`.
fn open(a: &MemoryTransport, b: &MemoryTransport) -> (Duplex, Duplex) {
    let ours = block_on(a.connect(&member(b), Lane::Append)).expect("dials");
    (ours, block_on(b.accept()).expect("accepts").stream)
}

fn send(stream: &mut Duplex, frame: &'static str) {
    stream.tx.send(Bytes::from(frame)).now_or_never().expect("there is room").expect("sends");
}

/// What arrives without waiting.
fn arrived(stream: &mut Duplex) -> Poll<Option<Result<Bytes, TransportError>>> {
    stream.rx.next().now_or_never().map_or(Poll::Pending, Poll::Ready)
}

fn is_frame(stream: &mut Duplex, frame: &str) -> bool {
    matches!(arrived(stream), Poll::Ready(Some(Ok(arrived))) if arrived == frame)
}

fn is_reset(stream: &mut Duplex) -> bool {
    matches!(arrived(stream), Poll::Ready(Some(Err(TransportError::Reset { .. }))))
}

fn dial(a: &MemoryTransport, b: &MemoryTransport) -> Option<Result<Duplex, TransportError>> {
    a.connect(&member(b), Lane::Control).now_or_never()
}

#[test]
fn a_cut_stalls_streams_fails_dials_and_heals_without_a_loss() {
    let Pair { network, a, b } = pair();
    let (mut ours, mut theirs) = open(&a, &b);
    network.between("a", "b").cut();
    send(&mut ours, "1");
    send(&mut theirs, "2");
    assert!(arrived(&mut theirs).is_pending() && arrived(&mut ours).is_pending());
    assert!(matches!(dial(&a, &b), Some(Err(TransportError::Unreachable { .. }))));
    network.between("a", "b").heal();
    assert!(is_frame(&mut theirs, "1") && is_frame(&mut ours, "2"));
    assert!(matches!(dial(&a, &b), Some(Ok(_))));
}

#[test]
fn a_cut_one_way_lets_the_other_way_through() {
    let Pair { network, a, b } = pair();
    let (mut ours, mut theirs) = open(&a, &b);
    network.link("a", "b").cut();
    send(&mut ours, "1");
    send(&mut theirs, "2");
    assert!(arrived(&mut theirs).is_pending() && is_frame(&mut ours, "2"));
    assert!(matches!(dial(&b, &a), Some(Err(TransportError::Unreachable { .. }))), "needs both ways");
}

#[test]
fn neither_a_close_nor_a_reset_crosses_a_cut() {
    let Pair { network, a, b } = pair();
    let ((mut closed, mut sees_close), (reset, mut sees_reset)) = (open(&a, &b), open(&a, &b));
    network.link("a", "b").cut();
    block_on(closed.tx.close()).expect("closes");
    drop(reset);
    assert!(arrived(&mut sees_close).is_pending() && arrived(&mut sees_reset).is_pending());
    network.link("a", "b").heal();
    assert!(matches!(arrived(&mut sees_close), Poll::Ready(None)) && is_reset(&mut sees_reset));
}

#[test]
fn a_healed_link_wakes_a_receiver_and_a_dial() {
    let Pair { network, a, b } = pair();
    let (mut ours, mut theirs) = open(&a, &b);
    network.between("a", "b").stall();
    send(&mut ours, "1");
    let waiting = std::thread::spawn(move || block_on(theirs.rx.next()));
    let dialler = a.clone();
    let to = member(&b);
    let dialling = std::thread::spawn(move || block_on(dialler.connect(&to, Lane::Client)).is_ok());
    network.between("a", "b").heal();
    assert!(matches!(waiting.join().expect("wakes"), Some(Ok(frame)) if frame == "1"));
    assert!(dialling.join().expect("wakes"));
}

#[test]
fn a_stalled_dial_waits_and_goes_on() {
    let Pair { network, a, b } = pair();
    network.link("b", "a").stall();
    let to = member(&b);
    let mut dial = a.connect(&to, Lane::Control);
    assert!((&mut dial).now_or_never().is_none());
    network.everywhere().heal();
    assert!(matches!(dial.now_or_never(), Some(Ok(_))));
}

#[test]
fn dials_are_refused_by_link_and_by_admission() {
    let Pair { network, a, b } = pair();
    let (mut ours, mut theirs) = open(&a, &b);
    network.link("a", "b").refuse(7);
    assert!(matches!(dial(&a, &b), Some(Err(TransportError::Refused { code: 7 }))));
    assert!(dial(&b, &a).is_some_and(|dialled| dialled.is_ok()), "the other way is open");
    send(&mut ours, "1");
    assert!(is_frame(&mut theirs, "1"), "open streams stay");
    network.everywhere().heal();
    b.set_admission(std::sync::Arc::new(|_, lane| lane != Lane::Control));
    assert!(matches!(dial(&a, &b), Some(Err(TransportError::Refused { .. }))));
    open(&a, &b);
}

#[test]
fn a_delay_is_told_how_many_bytes_a_frame_has() {
    let Pair { network, a, b } = pair();
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = told.clone();
    network.link("a", "b").delay_by_bytes(move |bytes| {
        tell.lock().expect("no panic").push(bytes);
        std::future::ready(())
    });
    let (mut ours, mut theirs) = open(&a, &b);
    send(&mut ours, "four");
    send(&mut ours, "eleven more");
    assert!(is_frame(&mut theirs, "four") && is_frame(&mut theirs, "eleven more"));
    assert_eq!(*told.lock().expect("no panic"), [0, 4, 11]);
}

#[test]
fn a_delayed_frame_waits_for_its_own_future_and_keeps_its_place() {
    let Pair { network, a, b } = pair();
    let (mut ours, mut theirs) = open(&a, &b);
    let (gate, opened) = oneshot::channel::<()>();
    let opened = opened.map(drop).shared();
    network.link("a", "b").delay(move || opened.clone());
    send(&mut ours, "1");
    network.link("a", "b").heal();
    send(&mut ours, "2");
    block_on(ours.tx.close()).expect("closes");
    assert!(arrived(&mut theirs).is_pending());
    gate.send(()).expect("somebody waits");
    assert!(is_frame(&mut theirs, "1") && is_frame(&mut theirs, "2"));
    assert!(matches!(arrived(&mut theirs), Poll::Ready(None)));
}

#[test]
fn a_reset_by_the_network_is_seen_at_both_ends() {
    let Pair { network, a, b } = pair();
    let (mut ours, mut theirs) = open(&a, &b);
    network.between("a", "b").reset();
    assert!(is_reset(&mut ours) && is_reset(&mut theirs));
    assert!(matches!(arrived(&mut ours), Poll::Ready(None)), "an error ends a stream");
    assert!(block_on(ours.tx.send("1".into())).is_err());
    open(&a, &b);
}

#[test]
fn a_half_open_stream_fails_at_one_end_and_is_silent_at_the_other() {
    let Pair { network, a, b } = pair();
    let (mut ours, mut theirs) = open(&a, &b);
    network.half_open("a", "b");
    assert!(is_reset(&mut ours));
    drop(ours);
    send(&mut theirs, "into nothing");
    assert!(arrived(&mut theirs).is_pending());
    let (_ours, mut new) = open(&a, &b);
    assert!(arrived(&mut new).is_pending());
    b.reset(&a.identity());
    assert!(is_reset(&mut theirs), "its own transport can end it");
}

#[test]
fn a_silent_death_is_silent_and_a_loud_one_is_not() {
    for (death, heard) in [(Death::Silent, false), (Death::Reset, true)] {
        let Pair { network, a, b } = pair();
        let (mut ours, mut theirs) = open(&a, &b);
        let mut unaccepted = block_on(a.connect(&member(&b), Lane::Client)).expect("dials");
        network.kill("b", death);
        assert_eq!(is_reset(&mut ours), heard, "{death:?}");
        assert_eq!(is_reset(&mut unaccepted), heard, "{death:?}");
        assert!(is_reset(&mut theirs), "a dead process has no streams");
        assert!(matches!(block_on(b.accept()), Err(TransportError::Closed)));
        assert!(matches!(dial(&a, &b), Some(Err(TransportError::Unreachable { .. }))));

        let again = network.endpoint("b");
        let (mut ours, mut theirs) = open(&a, &again);
        drop(b);
        send(&mut ours, "1");
        assert!(is_frame(&mut theirs, "1"), "the old process no longer matters");
    }
}

#[test]
fn the_last_handle_closes_the_endpoint() {
    let Pair { network, a, b } = pair();
    let (mut ours, _theirs) = open(&a, &b);
    let other = b.clone();
    drop(b);
    assert!(arrived(&mut ours).is_pending());
    drop(other);
    assert!(is_reset(&mut ours));
    network.endpoint("b");
}

#[test]
fn a_partition_cuts_across_and_not_inside() {
    let network = MemoryNetwork::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| network.endpoint(name));
    network.across(&[&["a"], &["b", "c"]]).cut();
    assert!(dial(&a, &b).is_some_and(|dialled| dialled.is_err()));
    assert!(dial(&c, &a).is_some_and(|dialled| dialled.is_err()));
    assert!(dial(&b, &c).is_some_and(|dialled| dialled.is_ok()));
    network.everywhere().heal();
    network.around("c").cut();
    assert!(dial(&a, &b).is_some_and(|dialled| dialled.is_ok()));
    assert!(dial(&b, &c).is_some_and(|dialled| dialled.is_err()));
}

#[test]
fn a_full_queue_holds_the_sender_until_frames_are_taken() {
    let Pair { a, b, .. } = pair_on(MemoryNetwork::with_queue_bytes(4));
    let (mut ours, mut theirs) = open(&a, &b);
    send(&mut ours, "12");
    send(&mut ours, "34");
    let mut third = ours.tx.send("5".into());
    assert!((&mut third).now_or_never().is_none());
    assert!(is_frame(&mut theirs, "12"));
    assert!(matches!(third.now_or_never(), Some(Ok(()))));
    assert!(is_frame(&mut theirs, "34") && is_frame(&mut theirs, "5"));
}

#[test]
fn a_sender_learns_that_nobody_listens() {
    let Pair { network, a, b } = pair();
    let (mut ours, theirs) = open(&a, &b);
    network.link("b", "a").cut();
    drop(theirs);
    send(&mut ours, "not told yet");
    network.everywhere().heal();
    assert!(matches!(block_on(ours.tx.send("1".into())), Err(TransportError::Reset { .. })));
}

#[test]
fn a_frame_too_long_is_refused_at_both_ends() {
    let Pair { a, b, .. } = pair();
    let long = Bytes::from(vec![0; MAX_FRAME_BYTES + 1]);
    let (mut ours, _theirs) = open(&a, &b);
    let refused = |error: &TransportError| matches!(error, TransportError::FrameTooLong { len, .. } if *len == long.len());
    assert!(refused(&block_on(ours.tx.send(long.clone())).expect_err("too long")));

    let mut hostile = block_on(a.connect_unchecked(&member(&b), Lane::Append)).expect("dials");
    let mut theirs = block_on(b.accept()).expect("accepts").stream;
    block_on(hostile.tx.send(long.clone())).expect("it checks nothing");
    assert!(matches!(arrived(&mut theirs), Poll::Ready(Some(Err(error))) if refused(&error)));
    assert!(matches!(arrived(&mut theirs), Poll::Ready(None)));
    assert!(block_on(hostile.tx.send("1".into())).is_err(), "the receiver has turned away");
}

#[test]
fn somebody_else_at_the_address_is_the_wrong_peer() {
    let Pair { network, a, b } = pair();
    let mallory = network.endpoint_as("m", PeerId::new(*b"another").expect("short"));
    let lured = Member::new(2, b.identity(), mallory.address());
    let dialled = a.connect(&lured, Lane::Control).now_or_never();
    assert!(matches!(dialled, Some(Err(TransportError::WrongPeer { .. }))));
}

#[test]
fn a_dial_waits_for_room_in_the_backlog() {
    let Pair { a, b, .. } = pair();
    let to = member(&b);
    let _open: Vec<Duplex> =
        std::iter::from_fn(|| a.connect(&to, Lane::Client).now_or_never().and_then(Result::ok)).collect();
    let mut one_more = a.connect(&to, Lane::Client);
    assert!((&mut one_more).now_or_never().is_none());
    block_on(b.accept()).expect("accepts");
    assert!(matches!(one_more.now_or_never(), Some(Ok(_))));
}
