//! Cases about frames on a stream.

use bytes::Bytes;
use futures::future::{join, join4};
use futures::{SinkExt, StreamExt};

use super::pair::{Pair, frame, receive_all, send_all};
use super::{TransportHarness, run};
use crate::error::TransportError;
use crate::testing::Seeded;
use crate::transport::{Lane, MAX_FRAME_BYTES};

/// A thousand frames arrive once each, in order.
pub fn frames_arrive_in_order<H: TransportHarness>() {
    run::<H, _>("frames_arrive_in_order", || async {
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Append).await;
        let frames = || (0..1000).map(|number| frame(number, 8 + number as usize % 50));
        join(send_all(&mut ours.tx, frames()), receive_all(&mut theirs.rx, frames())).await;
    });
}

/// Frames of random lengths arrive as they were sent: none is split, none joined to its neighbour.
pub fn frames_keep_their_bounds<H: TransportHarness>() {
    run::<H, _>("frames_keep_their_bounds", || async {
        let mut rng = Seeded::announced();
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Append).await;
        let lens = [1_u64, 10, 2000, 20_000, 300_000];
        let frames: Vec<Bytes> = (0..200).map(|place| rng.bytes(1..1 + lens[place % lens.len()])).collect();
        let sent = async {
            // Flushed one by one and in heaps.
            for heap in frames.chunks(7) {
                send_all(&mut ours.tx, heap[..1].iter().cloned()).await;
                send_all(&mut ours.tx, heap[1..].iter().cloned()).await;
            }
        };
        join(sent, receive_all(&mut theirs.rx, frames.iter().cloned())).await;
    });
}

/// Both ends send and receive at the same time.
pub fn frames_go_both_ways_at_once<H: TransportHarness>() {
    run::<H, _>("frames_go_both_ways_at_once", || async {
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Append).await;
        let there = || (0..500).map(|number| frame(number, 20_000));
        let back = || (0..500).map(|number| frame(1_000_000 + number, 15_000));
        join4(
            send_all(&mut ours.tx, there()),
            send_all(&mut theirs.tx, back()),
            receive_all(&mut ours.rx, back()),
            receive_all(&mut theirs.rx, there()),
        )
        .await;
    });
}

/// The end that accepted may send before it has received anything.
pub fn the_acceptor_may_speak_first<H: TransportHarness>() {
    run::<H, _>("the_acceptor_may_speak_first", || async {
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Snapshot).await;
        let frames = || (0..3).map(|number| frame(number, 100));
        join(send_all(&mut theirs.tx, frames()), receive_all(&mut ours.rx, frames())).await;
        join(send_all(&mut ours.tx, frames()), receive_all(&mut theirs.rx, frames())).await;
    });
}

/// Frames of one byte and of the most bytes pass, in both directions.
pub fn the_longest_frame_passes<H: TransportHarness>() {
    run::<H, _>("the_longest_frame_passes", || async {
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Append).await;
        let frames = || [frame(7, MAX_FRAME_BYTES), frame(8, 1), frame(9, MAX_FRAME_BYTES), frame(10, 100)];
        join(send_all(&mut ours.tx, frames()), receive_all(&mut theirs.rx, frames())).await;
        join(send_all(&mut theirs.tx, frames()), receive_all(&mut ours.rx, frames())).await;
    });
}

/// A frame longer than allowed is refused by the sink, by name, and nothing of it arrives.
pub fn a_longer_frame_is_refused<H: TransportHarness>() {
    run::<H, _>("a_longer_frame_is_refused", || async {
        let pair = Pair::<H>::new().await;
        let (mut ours, mut theirs) = pair.open(Lane::Append).await;
        join(send_all(&mut ours.tx, [frame(1, 10)]), receive_all(&mut theirs.rx, [frame(1, 10)])).await;
        let long = MAX_FRAME_BYTES + 1;
        match ours.tx.send(frame(2, long)).await {
            Err(TransportError::FrameTooLong { len, max }) => {
                assert_eq!((len, max), (long, MAX_FRAME_BYTES));
            }
            Err(error) => panic!("expected `FrameTooLong`, got {error:?}"),
            Ok(()) => panic!("a frame of {long} bytes was sent"),
        }
        drop(ours);
        match theirs.rx.next().await {
            Some(Ok(frame)) => panic!("a frame of {} bytes arrived", frame.len()),
            Some(Err(_)) => {}
            None => panic!("a dropped stream ended in good order"),
        }
    });
}
