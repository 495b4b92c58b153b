//! What goes in comes out: order, sizes, ends.

use std::error::Error;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use quorate::error::TransportError;
use quorate::transport::{Lane, MAX_FRAME_BYTES, Transport};
use quorate_iroh::StreamError;

use crate::support::{failure, member, next, node, ping, receive, send, stream, until};

/// Frames of all sizes around the limits of batches and packets, each with its own bytes.
fn frame(number: usize) -> Bytes {
    let lengths = [1, 2, 3, 4, 5, 100, 1_199, 1_452, 4_095, 4_096, 4_097, 65_535, 65_536, 70_000];
    let len = lengths[number % lengths.len()];
    Bytes::from((0..len).map(|at| (at * 31 + number * 7) as u8).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_and_lane_are_named_before_the_first_frame() {
    let (a, b) = (node().await, node().await);
    for lane in Lane::ALL {
        let (mut out, mut incoming) = stream(&a, &b, lane).await;
        assert_eq!(incoming.peer, a.identity());
        assert_eq!(incoming.lane, lane);
        ping(&mut out, &mut incoming.stream).await;
    }
    let (mut back, mut incoming) = stream(&b, &a, Lane::Control).await;
    assert_eq!(incoming.peer, b.identity());
    ping(&mut back, &mut incoming.stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_arrive_whole_and_in_order_in_both_directions_at_once() {
    const COUNT: usize = 600;
    let (a, b) = (node().await, node().await);
    let (out, incoming) = stream(&a, &b, Lane::Append).await;

    let sending = |mut tx: quorate::transport::FrameSink| async move {
        for number in 0..COUNT {
            tx.feed(frame(number)).await.expect("the stream is sound");
        }
        tx.close().await.expect("the stream is sound");
    };
    let receiving = |mut rx: quorate::transport::FrameStream| async move {
        for number in 0..COUNT {
            let found = rx.next().await.expect("not the end").expect("not an error");
            assert_eq!(found, frame(number), "frame {number}");
        }
        assert!(rx.next().await.is_none(), "closed after the last frame");
    };
    until("all frames", async {
        tokio::join!(
            sending(out.tx),
            receiving(incoming.stream.rx),
            sending(incoming.stream.tx),
            receiving(out.rx),
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_frame_passes_both_ways() {
    let (a, b) = (node().await, node().await);
    let (mut out, mut incoming) = stream(&a, &b, Lane::Append).await;
    let largest = Bytes::from((0..MAX_FRAME_BYTES).map(|at| (at % 251) as u8).collect::<Vec<_>>());

    let (sent, received) = until("the frame passes", async {
        tokio::join!(out.tx.send(largest.clone()), incoming.stream.rx.next())
    })
    .await;
    sent.expect("the stream is sound");
    assert_eq!(received.expect("not the end").expect("not an error"), largest);

    let (sent, received) = until("the frame passes", async {
        tokio::join!(incoming.stream.tx.send(largest.clone()), out.rx.next())
    })
    .await;
    sent.expect("the stream is sound");
    assert_eq!(received.expect("not the end").expect("not an error"), largest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_long_is_refused_before_it_is_sent() {
    let (a, b) = (node().await, node().await);
    let (mut out, mut incoming) = stream(&a, &b, Lane::Append).await;
    let error = out.tx.feed(Bytes::from(vec![0; MAX_FRAME_BYTES + 1])).await.expect_err("too long");
    assert!(
        matches!(error, TransportError::FrameTooLong { len, max }
            if len == MAX_FRAME_BYTES + 1 && max == MAX_FRAME_BYTES),
        "{error:?}"
    );
    // Nothing may follow what was dropped.
    out.tx.send("later".into()).await.expect_err("the stream has failed");
    let error = failure(&mut incoming.stream).await;
    assert_eq!(reset_code(&error), Some(quorate_iroh::code::FRAME_TOO_LONG.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_frame_is_refused() {
    let (a, b) = (node().await, node().await);
    let (mut out, mut incoming) = stream(&a, &b, Lane::Append).await;
    let error = out.tx.feed(Bytes::new()).await.expect_err("no frame is empty");
    assert!(matches!(error, TransportError::Reset { source: Some(_) }), "{error:?}");
    let error = failure(&mut incoming.stream).await;
    assert_eq!(reset_code(&error), Some(quorate_iroh::code::EMPTY_FRAME.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_sink_ends_its_direction_only() {
    let (a, b) = (node().await, node().await);
    let (mut out, mut incoming) = stream(&a, &b, Lane::Client).await;
    send(&mut out, "last").await;
    out.tx.close().await.expect("closes");
    assert_eq!(receive(&mut incoming.stream).await, "last");
    assert!(next(&mut incoming.stream).await.is_none(), "the end, in good order");
    send(&mut incoming.stream, "answer").await;
    assert_eq!(receive(&mut out).await, "answer");
    out.tx.close().await.expect("closing again does nothing");
    out.tx.send("more".into()).await.expect_err("it is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_sends_what_is_queued() {
    let (a, b) = (node().await, node().await);
    let (mut out, mut incoming) = stream(&a, &b, Lane::Client).await;
    out.tx.feed("queued".into()).await.expect("queues");
    out.tx.close().await.expect("closes");
    assert_eq!(receive(&mut incoming.stream).await, "queued");
    assert!(next(&mut incoming.stream).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_dropped_without_closing_resets_the_stream() {
    let (a, b) = (node().await, node().await);
    let (mut out, mut incoming) = stream(&a, &b, Lane::Client).await;
    ping(&mut out, &mut incoming.stream).await;
    drop(out.tx);
    let error = failure(&mut incoming.stream).await;
    assert_eq!(reset_code(&error), Some(quorate_iroh::code::ABANDONED.into()));
    assert!(next(&mut incoming.stream).await.is_none(), "nothing follows the error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_dropped_stops_the_peer() {
    let (a, b) = (node().await, node().await);
    let (mut out, incoming) = stream(&a, &b, Lane::Client).await;
    drop(incoming.stream.rx);
    let error = until("the sender notices", async {
        loop {
            if let Err(error) = out.tx.send(Bytes::from_static(&[1; 1024])).await {
                break error;
            }
        }
    })
    .await;
    assert_eq!(reset_code(&error), Some(quorate_iroh::code::ABANDONED.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_waits_for_a_reader_that_is_slow() {
    // More than fits into any buffer on the way.
    const COUNT: usize = 64;
    let (a, b) = (node().await, node().await);
    let (mut out, mut incoming) = stream(&a, &b, Lane::Append).await;
    let frame = Bytes::from(vec![5; 256 << 10]);
    let mut sent = 0;
    let blocked = async {
        while sent < COUNT {
            out.tx.send(frame.clone()).await.expect("the stream is sound");
            sent += 1;
        }
    };
    tokio::time::timeout(std::time::Duration::from_millis(500), blocked)
        .await
        .expect_err("nobody reads, so the sink must not take everything");
    assert!(sent < COUNT);

    // The frame under way was cut short by the timeout and is still queued: it goes out too.
    let rest = async {
        out.tx.flush().await.expect("the stream is sound");
        for _ in sent + 1..COUNT {
            out.tx.send(frame.clone()).await.expect("the stream is sound");
        }
        out.tx.close().await.expect("the stream is sound");
    };
    let read = async {
        let mut count = 0;
        while let Some(found) = incoming.stream.rx.next().await {
            assert_eq!(found.expect("not an error"), frame);
            count += 1;
        }
        count
    };
    let ((), count) = until("all frames", async { tokio::join!(rest, read) }).await;
    assert_eq!(count, COUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_connection_are_independent() {
    let (a, b) = (node().await, node().await);
    let (mut first, mut first_in) = stream(&a, &b, Lane::Control).await;
    let (second, mut second_in) = stream(&a, &b, Lane::Control).await;
    drop(second);
    failure(&mut second_in.stream).await;
    ping(&mut first, &mut first_in.stream).await;
    // Many more than may be open at once.
    for _ in 0..300 {
        let opened = a.connect(&member(&b), Lane::Control).await.expect("connects");
        drop(b.accept().await.expect("accepts"));
        drop(opened);
    }
    ping(&mut first, &mut first_in.stream).await;
}

/// The code with which the peer reset the stream.
pub(crate) fn reset_code(error: &TransportError) -> Option<u64> {
    match error.source()?.downcast_ref()? {
        StreamError::ByPeer { code } => Some(*code),
        _ => None,
    }
}
