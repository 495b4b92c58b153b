//! Who is let in, and what those who are not see.

use std::sync::Arc;

use quorate::error::TransportError;
use quorate::transport::{Lane, Transport};
use quorate_iroh::code;

use crate::support::{failure, member, node, ping, stream, until};

fn assert_refused(error: &TransportError) {
    assert!(
        matches!(error, TransportError::Refused { code } if *code == u64::from(code::REFUSED)),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_and_a_member_is_not() {
    let (guarded, friend, stranger) = (node().await, node().await, node().await);
    let admitted = friend.identity();
    guarded.set_admission(Arc::new(move |peer, _| *peer == admitted));

    for lane in [Lane::Control, Lane::Snapshot] {
        // Either the dial or the first use says so.
        match until("an answer", stranger.connect(&member(&guarded), lane)).await {
            Ok(mut stream) => assert_refused(&failure(&mut stream).await),
            Err(error) => assert_refused(&error),
        }
        let (mut out, mut incoming) = stream(&friend, &guarded, lane).await;
        assert_eq!(incoming.peer, friend.identity(), "the stranger's stream never comes out");
        ping(&mut out, &mut incoming.stream).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_lane_is_admitted_by_itself() {
    let (guarded, peer) = (node().await, node().await);
    guarded.set_admission(Arc::new(|_, lane| lane == Lane::Client));

    for lane in [Lane::Control, Lane::Append] {
        let mut refused = until("a stream", peer.connect(&member(&guarded), lane)).await.expect("connects");
        assert_refused(&failure(&mut refused).await);
    }
    let (mut out, mut incoming) = stream(&peer, &guarded, Lane::Client).await;
    assert_eq!(incoming.lane, Lane::Client);
    ping(&mut out, &mut incoming.stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_we_dial_needs_no_admission_of_ours() {
    let (guarded, peer) = (node().await, node().await);
    guarded.set_admission(Arc::new(|_, _| false));
    let (mut out, mut incoming) = stream(&guarded, &peer, Lane::Control).await;
    ping(&mut out, &mut incoming.stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_admission_counts_for_the_next_stream() {
    let (guarded, peer) = (node().await, node().await);
    let (mut out, mut incoming) = stream(&peer, &guarded, Lane::Control).await;
    guarded.set_admission(Arc::new(|_, _| false));
    let mut refused =
        until("a stream", peer.connect(&member(&guarded), Lane::Control)).await.expect("connects");
    assert_refused(&failure(&mut refused).await);
    ping(&mut out, &mut incoming.stream).await;
    // What is open stays open until the framework says otherwise.
    guarded.reset(&peer.identity());
    failure(&mut out).await;
}
