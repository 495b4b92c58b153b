//! Lanes do not delay each other.

use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use quorate::transport::{Duplex, Lane};
use tokio::sync::watch;

use crate::support::{node, ping, stream, until};

/// The round trips measured beside a bulk transfer.
const ROUNDS: usize = 100;
/// The frames of the bulk transfer.
const BULK_BYTES: usize = 1 << 20;

/// The round trips of small frames.
async fn round_trips(from: &mut Duplex, to: &mut Duplex) -> Vec<Duration> {
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        ping(from, to).await;
        took.push(begin.elapsed());
    }
    took
}

/// Sends large frames as fast as they are taken, until told to stop. Each says when it set out.
async fn pump(bulk: Duplex, base: Instant, stop: watch::Receiver<bool>) {
    let mut tx = bulk.tx;
    while !*stop.borrow() {
        let mut frame = BytesMut::zeroed(BULK_BYTES);
        (&mut frame[..]).put_u64(base.elapsed().as_micros() as u64);
        tx.send(frame.freeze()).await.expect("the stream is sound");
    }
    tx.close().await.expect("the stream is sound");
}

/// Receives large frames and says how many; gives how old each was when it arrived.
async fn drain(bulk: Duplex, base: Instant, count: watch::Sender<usize>) -> Vec<Duration> {
    let mut rx = bulk.rx;
    let mut ages = Vec::new();
    while let Some(frame) = rx.next().await {
        let sent = Duration::from_micros(frame.expect("the stream is sound").get_u64());
        ages.push(base.elapsed().saturating_sub(sent));
        count.send_replace(ages.len());
    }
    ages
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A round trip of control beside a bulk transfer must be faster than the transfer's own frames,
/// in the same direction on the same machine: so it did not queue behind them.
async fn pings_overtake_bulk_on(lane: Lane) {
    let (a, b) = (node().await, node().await);
    let (mut control, mut control_in) = stream(&a, &b, Lane::Control).await;
    let (bulk, bulk_in) = stream(&a, &b, lane).await;
    let base = Instant::now();
    let (stop, stopped) = watch::channel(false);
    let (count, mut counted) = watch::channel(0);
    let pumping = tokio::spawn(pump(bulk, base, stopped));
    let draining = tokio::spawn(drain(bulk_in.stream, base, count));

    until("the transfer under way", counted.wait_for(|count| *count >= 4)).await.expect("it goes on");
    let before = *counted.borrow();
    let trips = until("the round trips", round_trips(&mut control, &mut control_in.stream)).await;
    let during = *counted.borrow() - before;
    stop.send_replace(true);
    let (pumped, ages) = until("the end of the transfer", async { tokio::join!(pumping, draining) }).await;
    pumped.expect("no panic");

    let (trip, age) = (median(trips), median(ages.expect("no panic")));
    println!("{lane}: round trip {trip:?}, age of a bulk frame {age:?}, {during} MiB meanwhile");
    assert!(during > 0, "the transfer went on meanwhile");
    assert!(trip < age, "round trip {trip:?}, age of a bulk frame {age:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_overtakes_a_snapshot() {
    pings_overtake_bulk_on(Lane::Snapshot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_overtakes_large_appends() {
    pings_overtake_bulk_on(Lane::Append).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_that_nobody_reads_do_not_hold_up_the_others() {
    let (a, b) = (node().await, node().await);
    let (mut control, mut control_in) = stream(&a, &b, Lane::Control).await;
    let mut stalled = Vec::new();
    // More, together, than QUIC has under way on a connection by default.
    for _ in 0..16 {
        let (mut append, append_in) = stream(&a, &b, Lane::Append).await;
        let full = async {
            loop {
                append.tx.send(Bytes::from(vec![1; 1 << 20])).await.expect("the stream is sound");
            }
        };
        let limit = Duration::from_millis(100);
        tokio::time::timeout(limit, full).await.expect_err("nobody reads, so it fills up");
        stalled.push((append, append_in));
    }
    until("the round trips", round_trips(&mut control, &mut control_in.stream)).await;
    let (mut client, mut client_in) = stream(&a, &b, Lane::Client).await;
    ping(&mut client, &mut client_in.stream).await;
    let (mut snapshot, mut snapshot_in) = stream(&a, &b, Lane::Snapshot).await;
    ping(&mut snapshot, &mut snapshot_in.stream).await;
}
