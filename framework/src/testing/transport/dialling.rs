//! Cases about who can be reached, and who it is.

use std::time::Instant;

use futures::future::{join, join_all, join4};
use futures::{FutureExt, SinkExt, StreamExt};

use super::pair::{Pair, frame, member, open, ping, receive, receive_all, send_all};
use super::{TransportHarness, run};
use crate::error::TransportError;
use crate::testing::run::doing;
use crate::transport::{Duplex, Lane, Transport};
use crate::types::Member;

/// An accepted stream names the peer that opened it and the lane it was opened for, before any
/// frame was sent.
pub fn accept_names_peer_and_lane<H: TransportHarness>() {
    run::<H, _>("accept_names_peer_and_lane", || async {
        let pair = Pair::<H>::new().await;
        let other = pair.another().await;
        for lane in Lane::ALL {
            for dialler in [&pair.a, &other] {
                let (mut ours, mut incoming) = open(dialler, &pair.b, lane).await;
                assert_eq!((&incoming.peer, incoming.lane), (&dialler.identity(), lane));
                ping(&mut ours, &mut incoming.stream, 1).await;
            }
        }
    });
}

/// Dials, and fails unless that is refused as unreachable, in time.
async fn dial_in_vain<H: TransportHarness>(from: &H::Transport, to: &Member) {
    doing("dial somebody who is not there");
    #[allow(clippy::disallowed_methods, reason = "the case is about real time")]
    let begun = Instant::now();
    let dialled = from.connect(to, Lane::Control).await;
    let took = begun.elapsed();
    match dialled {
        Err(TransportError::Unreachable { peer, address, .. }) => {
            assert_eq!((&peer, &address), (&to.identity, &to.address), "the error names who was dialled");
        }
        Err(error) => panic!("expected `Unreachable`, got {error:?}"),
        Ok(_) => panic!("a stream to nobody"),
    }
    assert!(took <= H::DIAL_LIMIT, "it took {took:?} to say so, more than {:?}", H::DIAL_LIMIT);
}

/// Where nobody listens, a dial fails within seconds, and the next one still works.
pub fn dialling_nobody_is_unreachable<H: TransportHarness>() {
    run::<H, _>("dialling_nobody_is_unreachable", || async {
        let pair = Pair::<H>::new().await;
        let nobody = pair.another().await;
        let gone = member(&nobody);
        nobody.close().await;
        drop(nobody);
        dial_in_vain::<H>(&pair.a, &gone).await;
        let (mut ours, mut theirs) = pair.open(Lane::Control).await;
        ping(&mut ours, &mut theirs, 1).await;
    });
}

/// A peer that one had streams to and that has died cannot be reached any more.
pub fn dialling_a_dead_peer_is_unreachable<H: TransportHarness>() {
    run::<H, _>("dialling_a_dead_peer_is_unreachable", || async {
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Append).await;
        ping(&mut ours, &mut theirs, 1).await;
        let dead = member(&pair.b);
        pair.b.close().await;
        for _ in 0..2 {
            dial_in_vain::<H>(&pair.a, &dead).await;
        }
    });
}

/// The identity decides, not the address: whoever answers at an address and is somebody else gets
/// no stream and does not even see the attempt.
pub fn the_identity_is_proved<H: TransportHarness>() {
    run::<H, _>("the_identity_is_proved", || async {
        let pair = Pair::<H>::new().await;
        let wanted = pair.another().await;
        let lured = Member::new(1, wanted.identity(), pair.b.address());
        match pair.a.connect(&lured, Lane::Append).await {
            Err(TransportError::WrongPeer { .. } | TransportError::Unreachable { .. }) => {}
            Err(error) => panic!("expected `WrongPeer` or `Unreachable`, got {error:?}"),
            Ok(_) => panic!("a stream to somebody else"),
        }
        let (mut ours, mut incoming) = open(&pair.a, &pair.b, Lane::Client).await;
        assert_eq!(incoming.lane, Lane::Client, "the attempt before arrived as a stream");
        ping(&mut ours, &mut incoming.stream, 1).await;
    });
}

/// Accepts until a stream begins with `hello`, and answers there. What other streams do is not of
/// interest.
async fn answer_hello(at: &impl Transport) {
    loop {
        let mut stream = at.accept().await.expect("one bad peer does not end accept").stream;
        match stream.rx.next().await {
            Some(Ok(hello)) if hello == "hello" => {
                stream.tx.send("welcome".into()).await.expect("sends");
                receive_all(&mut stream.rx, ["bye".into()]).await;
                return;
            }
            Some(Ok(frame)) => panic!("a frame that nobody sent: {frame:?}"),
            Some(Err(_)) | None => {}
        }
    }
}

async fn say_hello(from: &impl Transport, to: &Member) {
    let mut stream = from.connect(to, Lane::Control).await.expect("a stream opens");
    stream.tx.send("hello".into()).await.expect("sends");
    receive_all(&mut stream.rx, ["welcome".into()]).await;
    stream.tx.send("bye".into()).await.expect("sends");
    stream.tx.close().await.expect("closes");
}

/// Peers that dial and vanish do not end `accept`, for themselves or for others.
pub fn a_vanished_dialler_does_not_end_accept<H: TransportHarness>() {
    run::<H, _>("a_vanished_dialler_does_not_end_accept", || async {
        let pair = Pair::<H>::new().await;
        let other = pair.another().await;
        let to = member(&pair.b);
        let dialling = async {
            for round in 0..5 {
                let vanishing = pair.another().await;
                drop(vanishing.connect(&to, Lane::Append).await.expect("a stream opens"));
                if round % 2 == 0 {
                    vanishing.close().await;
                }
                drop(vanishing);
                drop(pair.a.connect(&to, Lane::Append).await.expect("a stream opens"));
            }
            say_hello(&other, &to).await;
            say_hello(&pair.a, &to).await;
        };
        let accepting = async {
            answer_hello(&pair.b).await;
            answer_hello(&pair.b).await;
        };
        join(dialling, accepting).await;
    });
}

/// A dial that is dropped half-way harms neither end: the next one works.
pub fn a_dropped_dial_does_no_harm<H: TransportHarness>() {
    run::<H, _>("a_dropped_dial_does_no_harm", || async {
        let pair = Pair::<H>::new().await;
        let to = member(&pair.b);
        for lane in Lane::ALL {
            // As far as it gets without waiting.
            drop(pair.a.connect(&to, lane).now_or_never());
        }
        join(say_hello(&pair.a, &to), answer_hello(&pair.b)).await;
    });
}

/// Many streams between two endpoints, on every lane, are streams of their own.
pub fn many_streams_to_one_peer<H: TransportHarness>() {
    run::<H, _>("many_streams_to_one_peer", || async {
        const STREAMS: u64 = 64;
        let pair = Pair::<H>::new().await;
        let to = member(&pair.b);
        let dialling = join_all((0..STREAMS).map(|number| {
            let (from, to) = (&pair.a, &to);
            async move {
                let lane = Lane::ALL[number as usize % Lane::ALL.len()];
                let mut stream = from.connect(to, lane).await.expect("a stream opens");
                send_all(&mut stream.tx, [frame(number, 8), frame(number, 3000)]).await;
                stream
            }
        }));
        let accepting = async {
            let mut streams: Vec<(u64, Duplex)> = Vec::new();
            while streams.len() < STREAMS as usize {
                let mut incoming = pair.b.accept().await.expect("accepts");
                let first = receive(&mut incoming.stream.rx).await;
                let number = u64::from_le_bytes(first[..].try_into().expect("a number in eight bytes"));
                assert_eq!(incoming.lane, Lane::ALL[number as usize % Lane::ALL.len()], "stream {number}");
                streams.push((number, incoming.stream));
            }
            streams.sort_by_key(|(number, _)| *number);
            streams
        };
        let (mut dialled, mut accepted) = join(dialling, accepting).await;
        assert!(accepted.iter().map(|(number, _)| *number).eq(0..STREAMS), "each stream arrives once");
        let answer = |number| [frame(STREAMS + number, 20), frame(number, 500)];
        join_all(dialled.iter_mut().zip(&mut accepted).map(|(ours, (number, theirs))| async move {
            let back = send_all(&mut theirs.tx, answer(*number));
            let there = receive_all(&mut theirs.rx, [frame(*number, 3000)]);
            futures::future::join3(back, there, receive_all(&mut ours.rx, answer(*number))).await;
        }))
        .await;
    });
}

/// Two endpoints that dial each other at the same moment both get their stream.
pub fn simultaneous_dials<H: TransportHarness>() {
    run::<H, _>("simultaneous_dials", || async {
        for _ in 0..5 {
            let Pair { a, b, .. } = &Pair::<H>::new().await;
            let (to_a, to_b) = (member(a), member(b));
            let (ab, ba, at_a, at_b) = join4(
                a.connect(&to_b, Lane::Control),
                b.connect(&to_a, Lane::Append),
                a.accept(),
                b.accept(),
            )
            .await;
            let (mut ab, mut ba) = (ab.expect("a stream opens"), ba.expect("a stream opens"));
            let (mut at_a, mut at_b) = (at_a.expect("accepts"), at_b.expect("accepts"));
            assert_eq!((at_a.lane, at_b.lane), (Lane::Append, Lane::Control));
            ping(&mut ab, &mut at_b.stream, 1).await;
            ping(&mut ba, &mut at_a.stream, 3).await;
        }
    });
}
