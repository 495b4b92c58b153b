//! The conformance kit for transports, in simulated time, and what the faults look like.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::{FutureExt, SinkExt, StreamExt};
use quorate::error::TransportError;
use quorate::runtime::AsyncRuntime;
use quorate::testing::transport::TransportHarness;
use quorate::transport::{Duplex, Lane, Transport};

use super::*;
use crate::runtime::{SimRuntime, time};

struct Kit;

impl TransportHarness for Kit {
    type Transport = SimTransport;
    type Network = (Wire, AtomicU64);

    fn network() -> Self::Network {
        (Wire::new(Rng::new(1), Trace::default()), AtomicU64::new(1))
    }

    async fn bind((wire, count): &Self::Network) -> Result<SimTransport, TransportError> {
        Ok(wire.connect(count.fetch_add(1, Ordering::Relaxed)))
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        SimRuntime::seeded(1).block_on(future)
    }
}

mod conformance {
    use super::Kit;
    quorate::transport_conformance!(Kit);
}

struct Pair {
    wire: Wire,
    a: SimTransport,
    b: SimTransport,
}

fn simulate(test: impl AsyncFn(Pair)) {
    for seed in 0..20 {
        let wire = Wire::new(Rng::new(seed), Trace::default());
        SimRuntime::seeded(seed).block_on(async {
            let (a, b) = (wire.connect(1), wire.connect(2));
            test(Pair { wire: wire.clone(), a, b }).await;
        });
    }
}

impl Pair {
    async fn open(&self) -> (Duplex, Duplex) {
        let ours = self.a.connect(&Wire::member(2), Lane::Append).await.expect("dials");
        (ours, self.b.accept().await.expect("accepts").stream)
    }
}

async fn is_reset(stream: &mut Duplex) -> bool {
    matches!(stream.rx.next().await, Some(Err(TransportError::Reset { .. })))
}

#[test]
fn a_cut_holds_frames_one_way_and_lets_them_go() {
    simulate(async |pair| {
        let (mut ours, mut theirs) = pair.open().await;
        pair.wire.cut(1, 2);
        ours.tx.send("1".into()).await.expect("there is room");
        theirs.tx.send("2".into()).await.expect("there is room");
        assert_eq!(ours.rx.next().await.expect("open").expect("the way back is free"), "2");
        let early = SimRuntime::timeout(Duration::from_millis(500), theirs.rx.next()).await;
        assert!(early.is_err(), "the link is cut");
        pair.wire.heal(1, 2);
        assert_eq!(theirs.rx.next().await.expect("open").expect("nothing is lost"), "1");
    });
}

#[test]
fn who_has_another_key_is_not_who_it_was() {
    simulate(async |Pair { wire, a, .. }| {
        wire.change_key(2);
        let other = wire.connect(2);
        let before = a.connect(&Wire::member(2), Lane::Append).await;
        assert!(matches!(before, Err(TransportError::WrongPeer { .. })));
        a.connect(&wire.member_now(2), Lane::Append).await.expect("dials");
        assert_eq!(other.accept().await.expect("accepts").peer, a.identity());
        other.connect(&Wire::member(1), Lane::Append).await.expect("dials");
        let seen = a.accept().await.expect("accepts").peer;
        assert_eq!((&seen, seen == Wire::member(2).identity), (&wire.member_now(2).identity, false));
    });
}

#[test]
fn a_stream_that_hears_nothing_for_too_long_fails() {
    simulate(async |pair| {
        let (_ours, mut theirs) = pair.open().await;
        pair.wire.cut(1, 2);
        let began = time();
        assert!(is_reset(&mut theirs).await);
        assert!(time().saturating_sub(began) >= Duration::from_millis(2_500) && pair.wire.events().idle == 1);
        let dial = pair.a.connect(&Wire::member(2), Lane::Control).await;
        assert!(matches!(dial, Err(TransportError::Unreachable { .. })));
    });
}

#[test]
fn what_a_dead_machine_had_sent_arrives_and_then_it_is_silent() {
    simulate(async |pair| {
        let (mut ours, mut theirs) = pair.open().await;
        ours.tx.send("last words".into()).await.expect("there is room");
        pair.wire.kill(1, Death::Power);
        assert!(ours.tx.send("too late".into()).await.is_err());
        drop(ours);
        assert_eq!(theirs.rx.next().await.expect("open").expect("on its way"), "last words");
        assert_eq!(pair.wire.events().posthumous, 1);
        let began = time();
        assert!(
            is_reset(&mut theirs).await && time().saturating_sub(began) > Duration::from_secs(2),
            "it is not told"
        );
    });
}

#[test]
fn the_end_of_a_process_is_told_after_what_it_sent() {
    simulate(async |pair| {
        let (mut ours, mut theirs) = pair.open().await;
        ours.tx.send("1".into()).await.expect("there is room");
        pair.wire.kill(1, Death::Process);
        assert_eq!(theirs.rx.next().await.expect("open").expect("on its way"), "1");
        assert!(is_reset(&mut theirs).await && time() < Duration::from_millis(10));
        let refused = pair.b.connect(&Wire::member(1), Lane::Control).await;
        assert!(matches!(refused, Err(TransportError::Unreachable { .. })));
        assert!(pair.a.accept().now_or_never().is_some_and(|closed| closed.is_err()));
        let again = pair.wire.connect(1);
        assert!(pair.b.connect(&Wire::member(1), Lane::Control).await.is_ok());
        again.accept().await.expect("the new process is there");
    });
}

#[test]
fn a_half_open_stream_fails_at_one_end_and_later_at_the_other() {
    simulate(async |pair| {
        let (mut ours, mut theirs) = pair.open().await;
        pair.wire.half_open(1, 2);
        assert!(is_reset(&mut ours).await);
        drop(ours);
        theirs.tx.send("into nothing".into()).await.expect("it does not know");
        assert!(is_reset(&mut theirs).await && time() > Duration::from_secs(2));
    });
}

#[test]
fn streams_overtake_each_other() {
    let mut overtaken = 0;
    for seed in 0..50 {
        let wire = Wire::new(Rng::new(seed), Trace::default());
        overtaken += SimRuntime::seeded(seed).block_on(async {
            let (a, b) = (wire.connect(1), wire.connect(2));
            let pair = Pair { wire: wire.clone(), a, b };
            let ((mut first, mut first_in), (mut second, mut second_in)) =
                (pair.open().await, pair.open().await);
            first.tx.send("1".into()).await.expect("there is room");
            second.tx.send("2".into()).await.expect("there is room");
            let arrives = futures::future::select(first_in.rx.next(), second_in.rx.next()).await;
            u32::from(matches!(arrives, futures::future::Either::Right(_)))
        });
    }
    assert!((5..45).contains(&overtaken), "{overtaken} of 50");
}

#[test]
fn a_link_refuses_and_a_network_resets() {
    simulate(async |pair| {
        let (mut ours, mut theirs) = pair.open().await;
        pair.wire.refuse(1, 2, true);
        assert!(!pair.wire.has_refused(1, 2), "nobody has dialled");
        let refused = pair.a.connect(&Wire::member(2), Lane::Control).await;
        assert!(matches!(refused, Err(TransportError::Refused { .. })));
        pair.wire.refuse(1, 2, false);
        assert!(pair.wire.has_refused(1, 2) && !pair.wire.has_refused(2, 1));
        pair.wire.reset(1, 2);
        assert!(is_reset(&mut ours).await && is_reset(&mut theirs).await);
        let _next_boot = pair.wire.connect(1);
        assert!(!pair.wire.has_refused(1, 2), "that was the boot before");
    });
}

#[test]
fn a_transfer_of_a_snapshot_breaks_off_after_so_many_answers() {
    simulate(async |pair| {
        pair.wire.break_snapshot(Some(2));
        let (mut other, mut other_in) = pair.open().await;
        for lane in [Lane::Snapshot, Lane::Snapshot] {
            let mut ours = pair.a.connect(&Wire::member(2), lane).await.expect("dials");
            let mut theirs = pair.b.accept().await.expect("accepts").stream;
            let broken = pair.wire.events().transfers_broken == 1;
            for answer in 0..4 {
                let whole = broken || answer < 2;
                assert_eq!(ours.tx.send("piece".into()).await.is_ok(), broken || answer < 3);
                if broken || answer < 3 {
                    assert!(matches!(theirs.rx.next().await, Some(Ok(_))), "what arrives does not break it");
                }
                assert_eq!(theirs.tx.send("taken".into()).await.is_ok(), whole, "the third breaks it");
                if whole {
                    assert!(matches!(ours.rx.next().await, Some(Ok(_))));
                }
            }
            assert_eq!(pair.wire.events().transfers_broken, 1, "it breaks once");
            if !broken {
                assert!(is_reset(&mut ours).await);
            }
        }
        other.tx.send("untouched".into()).await.expect("another lane");
        assert!(matches!(other_in.rx.next().await, Some(Ok(_))));
    });
}
