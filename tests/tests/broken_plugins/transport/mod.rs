//! Transports that are broken, each in one way.

mod broken;

use bytes::Bytes;
use quorate::error::TransportError;
use quorate::testing::transport::functions;
use quorate::transport::{Incoming, Lane};
use quorate::types::PeerId;

use self::broken::{Break, Broken};
use crate::verdict::{assert_fails, assert_hangs};

/// Nothing is broken: what every other test compares with.
mod sound {
    use super::{Break, Broken};

    broken!(Sound:);
    quorate::transport_conformance!(Broken<Sound>);
}

// Frames.

broken!(LosesAFrame: fn send(frame: Bytes, kept: &mut Vec<Bytes>) -> Vec<Bytes> {
    kept.push(Bytes::new());
    if kept.len() == 400 { Vec::new() } else { vec![frame] }
});

#[test]
fn loses_a_frame() {
    assert_fails(
        functions::<Broken<LosesAFrame>>(),
        &[("frames_arrive_in_order", "frame 399 is another one")],
    );
}

broken!(RepeatsAFrame: fn send(frame: Bytes, kept: &mut Vec<Bytes>) -> Vec<Bytes> {
    kept.push(Bytes::new());
    if kept.len() == 400 { vec![frame.clone(), frame] } else { vec![frame] }
});

#[test]
fn repeats_a_frame() {
    assert_fails(
        functions::<Broken<RepeatsAFrame>>(),
        &[("frames_arrive_in_order", "frame 400 is another one")],
    );
}

broken!(SwapsFrames: fn send(frame: Bytes, kept: &mut Vec<Bytes>) -> Vec<Bytes> {
    match kept.pop() {
        Some(before) => vec![frame, before],
        None if frame[0] == 100 => {
            kept.push(frame);
            Vec::new()
        }
        None => vec![frame],
    }
});

#[test]
fn loses_the_order_of_frames() {
    assert_fails(
        functions::<Broken<SwapsFrames>>(),
        &[("frames_arrive_in_order", "frame 100 is another one")],
    );
}

broken!(SplitsFrames: fn send(mut frame: Bytes, _: &mut Vec<Bytes>) -> Vec<Bytes> {
    if frame.len() < 65_536 {
        return vec![frame];
    }
    let head = frame.split_to(65_535);
    vec![head, frame]
});

#[test]
fn splits_long_frames() {
    assert_fails(
        functions::<Broken<SplitsFrames>>(),
        &[
            ("frames_keep_their_bounds", "is another one: 65535 bytes"),
            ("the_longest_frame_passes", "frame 0 is another one: 65535 bytes"),
        ],
    );
}

broken!(CutsFrames: fn send(frame: Bytes, _: &mut Vec<Bytes>) -> Vec<Bytes> {
    vec![frame.slice(..frame.len().min(65_535))]
});

#[test]
fn cuts_long_frames_short() {
    assert_fails(
        functions::<Broken<CutsFrames>>(),
        &[
            ("frames_keep_their_bounds", "is another one: 65535 bytes"),
            ("the_longest_frame_passes", "frame 0 is another one: 65535 bytes"),
        ],
    );
}

broken!(Unchecked: const UNCHECKED: bool = true;);

#[test]
fn sends_a_frame_that_is_too_long() {
    let cases = functions::<Broken<Unchecked>>();
    assert_fails(cases, &[("a_longer_frame_is_refused", "a frame of 8388609 bytes was sent")]);
}

// Ends.

broken!(DropCloses: const DROP_CLOSES: bool = true;);

#[test]
fn ends_a_reset_stream_in_good_order() {
    assert_fails(
        functions::<Broken<DropCloses>>(),
        &[
            ("drop_resets", "a stream that was dropped ended in good order"),
            ("a_longer_frame_is_refused", "a dropped stream ended in good order"),
        ],
    );
}

broken!(ForgetsClose: const FORGETS_CLOSE: bool = true;);

#[test]
fn resets_a_closed_stream() {
    assert_fails(functions::<Broken<ForgetsClose>>(), &[("close_then_drop_loses_nothing", "Reset")]);
}

broken!(IgnoresReset: const IGNORES_RESET: bool = true;);

#[test]
fn ignores_a_reset() {
    // What never comes can only be found by waiting.
    assert_hangs(functions::<Broken<IgnoresReset>>(), "reset_fails_open_streams_and_allows_new_ones", "wait");
}

// Identity.

broken!(TrustsAddresses: const TRUSTS_ADDRESSES: bool = true;);

#[test]
fn takes_whoever_answers_for_the_right_one() {
    let cases = functions::<Broken<TrustsAddresses>>();
    assert_fails(cases, &[("the_identity_is_proved", "a stream to somebody else")]);
}

broken!(NamesAnotherPeer: fn accepted(incoming: Incoming) -> Incoming {
    Incoming { peer: PeerId::new(*b"n0").expect("short"), ..incoming }
});

#[test]
fn names_another_peer() {
    let cases = functions::<Broken<NamesAnotherPeer>>();
    assert_fails(cases, &[("accept_names_peer_and_lane", "left: ")]);
}

broken!(NamesAnotherLane: fn accepted(incoming: Incoming) -> Incoming {
    Incoming { lane: Lane::Control, ..incoming }
});

#[test]
fn names_another_lane() {
    assert_fails(
        functions::<Broken<NamesAnotherLane>>(),
        &[("accept_names_peer_and_lane", "left: "), ("many_streams_to_one_peer", "stream ")],
    );
}

broken!(AnyError: fn error(_: TransportError) -> TransportError {
    TransportError::Reset { source: None }
});

#[test]
fn names_another_error() {
    assert_fails(
        functions::<Broken<AnyError>>(),
        &[
            ("dialling_nobody_is_unreachable", "expected `Unreachable`, got Reset"),
            ("dialling_a_dead_peer_is_unreachable", "expected `Unreachable`, got Reset"),
            ("accept_ends_on_close", "a waiting accept: Err(Reset"),
        ],
    );
}

// Pressure.

broken!(QueuesWithoutBound: const QUEUE_BYTES: usize = usize::MAX;);

#[test]
fn queues_without_a_bound() {
    assert_fails(
        functions::<Broken<QueuesWithoutBound>>(),
        &[("backpressure_holds_the_sender_and_loses_nothing", "64 MiB were taken although nobody reads")],
    );
}

broken!(OneQueue: const ONE_QUEUE: bool = true;);

#[test]
fn has_one_queue_for_all_lanes() {
    assert_hangs(functions::<Broken<OneQueue>>(), "lanes_do_not_delay_each_other", "on the control lane");
}
