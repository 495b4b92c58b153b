//! Cases about the end of a stream, in good order and not.

use futures::SinkExt;
use futures::future::join;

use super::pair::{Pair, end_of, frame, open, ping, receive_all, send_all};
use super::{TransportHarness, run};
use crate::error::TransportError;
use crate::transport::{Lane, Transport};

/// Closing a sink ends the peer's stream with `None`, after every frame, and leaves the other
/// direction alone.
pub fn close_ends_one_direction<H: TransportHarness>() {
    run::<H, _>("close_ends_one_direction", || async {
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Snapshot).await;
        let frames = || (0..20).map(|number| frame(number, 5000));
        let sent = async {
            send_all(&mut ours.tx, frames()).await;
            ours.tx.close().await.expect("closes");
        };
        let received = async {
            receive_all(&mut theirs.rx, frames()).await;
            end_of(&mut theirs.rx).await.expect("ends in good order");
        };
        join(sent, received).await;
        join(send_all(&mut theirs.tx, frames()), receive_all(&mut ours.rx, frames())).await;
        theirs.tx.close().await.expect("closes");
        end_of(&mut ours.rx).await.expect("ends in good order");
    });
}

/// A stream that is dropped after a close loses nothing that was sent before.
pub fn close_then_drop_loses_nothing<H: TransportHarness>() {
    run::<H, _>("close_then_drop_loses_nothing", || async {
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Snapshot).await;
        let frames = || (0..50).map(|number| frame(number, 1000));
        send_all(&mut ours.tx, frames()).await;
        ours.tx.close().await.expect("closes");
        drop(ours);
        receive_all(&mut theirs.rx, frames()).await;
        end_of(&mut theirs.rx).await.expect("ends in good order");
    });
}

/// Dropping a stream without closing it resets it: the peer gets `Reset`, never a `None` that looks
/// like a good end. Frames sent before may arrive, from the first on.
pub fn drop_resets<H: TransportHarness>() {
    run::<H, _>("drop_resets", || async {
        let pair = Pair::<H>::new().await;
        for (by_acceptor, frames) in [(false, 0), (false, 3), (true, 0), (true, 3)] {
            let (ours, theirs) = pair.open(Lane::Append).await;
            let (mut dropped, mut kept) = if by_acceptor { (theirs, ours) } else { (ours, theirs) };
            join(send_all(&mut dropped.tx, [frame(0, 9)]), receive_all(&mut kept.rx, [frame(0, 9)])).await;
            send_all(&mut dropped.tx, (0..frames).map(|number| frame(number, 1000))).await;
            drop(dropped);
            match end_of(&mut kept.rx).await {
                Err(TransportError::Reset { .. }) => {}
                Err(error) => panic!("expected `Reset`, got {error:?}"),
                Ok(()) => panic!("a stream that was dropped ended in good order"),
            }
        }
    });
}

/// Closing a transport ends a waiting `accept` and every later one with `Closed`.
pub fn accept_ends_on_close<H: TransportHarness>() {
    run::<H, _>("accept_ends_on_close", || async {
        let pair = Pair::<H>::new().await;
        let (waiting, ()) = join(pair.b.accept(), pair.b.close()).await;
        assert!(matches!(waiting, Err(TransportError::Closed)), "a waiting accept: {waiting:?}");
        for _ in 0..2 {
            let later = pair.b.accept().await;
            assert!(matches!(later, Err(TransportError::Closed)), "a later accept: {later:?}");
        }
    });
}

/// Closing a transport ends its open streams, at both ends, and not in good order.
pub fn close_fails_open_streams<H: TransportHarness>() {
    run::<H, _>("close_fails_open_streams", || async {
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Append).await;
        ping(&mut ours, &mut theirs, 1).await;
        pair.b.close().await;
        assert!(end_of(&mut ours.rx).await.is_err(), "the peer's end looks like a good one");
        assert!(end_of(&mut theirs.rx).await.is_err(), "the own end looks like a good one");
    });
}

/// A reset drops every stream to and from that peer, at both ends, and no other; then new ones work.
pub fn reset_fails_open_streams_and_allows_new_ones<H: TransportHarness>() {
    run::<H, _>("reset_fails_open_streams_and_allows_new_ones", || async {
        let pair = Pair::<H>::new().await;
        let other = pair.another().await;
        let (mut dialled, mut accepted) = pair.open(Lane::Append).await;
        let (mut back, incoming) = open(&pair.b, &pair.a, Lane::Control).await;
        let mut taken = incoming.stream;
        let (mut third, incoming) = open(&pair.a, &other, Lane::Append).await;
        let mut thirds = incoming.stream;
        for (ours, theirs) in [(&mut dialled, &mut accepted), (&mut back, &mut taken)] {
            ping(ours, theirs, 1).await;
        }
        pair.a.reset(&pair.b.identity());
        for stream in [&mut dialled, &mut accepted, &mut back, &mut taken] {
            let end = end_of(&mut stream.rx).await;
            assert!(end.is_err(), "a stream outlived the reset, or ended in good order");
        }
        ping(&mut third, &mut thirds, 3).await;
        let (mut ours, mut theirs) = pair.open(Lane::Append).await;
        ping(&mut ours, &mut theirs, 5).await;
        let (mut ours, incoming) = open(&pair.b, &pair.a, Lane::Control).await;
        let mut theirs = incoming.stream;
        ping(&mut ours, &mut theirs, 7).await;
    });
}
