//! The transport kit fails transports that are broken on purpose, each in the case that is named for
//! it.

mod broken;

use std::panic::catch_unwind;

use bytes::Bytes;
use quorate::error::TransportError;
use quorate::testing::transport as kit;
use quorate::transport::{Incoming, Lane};
use quorate::types::PeerId;

use self::broken::{Break, Broken};

/// How a case ended.
#[derive(Debug, PartialEq)]
enum Verdict {
    Passed,
    Failed,
    Hung,
}

fn verdict(case: fn()) -> Verdict {
    let Err(panic) = catch_unwind(case) else { return Verdict::Passed };
    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    if text.contains("did not end within") { Verdict::Hung } else { Verdict::Failed }
}

/// Fails unless `case` finds something wrong.
fn assert_bites(case: fn()) {
    assert_eq!(verdict(case), Verdict::Failed);
}

macro_rules! broken {
    ($name:ident: $($what:tt)*) => {
        struct $name;

        impl Break for $name {
            $($what)*
        }
    };
}

broken!(Whole:);

#[test]
fn a_transport_that_is_not_broken_passes() {
    let cases: &[fn()] = &[
        kit::frames_arrive_in_order::<Broken<Whole>>,
        kit::frames_keep_their_bounds::<Broken<Whole>>,
        kit::the_identity_is_proved::<Broken<Whole>>,
        kit::drop_resets::<Broken<Whole>>,
        kit::lanes_do_not_delay_each_other::<Broken<Whole>>,
        kit::backpressure_holds_the_sender_and_loses_nothing::<Broken<Whole>>,
    ];
    for case in cases {
        assert_eq!(verdict(*case), Verdict::Passed);
    }
}

broken!(LosesAFrame: fn send(frame: Bytes, kept: &mut Vec<Bytes>) -> Vec<Bytes> {
    kept.push(Bytes::new());
    if kept.len() == 400 { Vec::new() } else { vec![frame] }
});
broken!(RepeatsAFrame: fn send(frame: Bytes, kept: &mut Vec<Bytes>) -> Vec<Bytes> {
    kept.push(Bytes::new());
    if kept.len() == 400 { vec![frame.clone(), frame] } else { vec![frame] }
});
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
broken!(SplitsFrames: fn send(mut frame: Bytes, _: &mut Vec<Bytes>) -> Vec<Bytes> {
    if frame.len() < 65_536 {
        return vec![frame];
    }
    let head = frame.split_to(65_535);
    vec![head, frame]
});

#[test]
fn lost_repeated_swapped_and_split_frames_are_found() {
    assert_bites(kit::frames_arrive_in_order::<Broken<LosesAFrame>>);
    assert_bites(kit::frames_arrive_in_order::<Broken<RepeatsAFrame>>);
    assert_bites(kit::frames_arrive_in_order::<Broken<SwapsFrames>>);
    assert_bites(kit::frames_keep_their_bounds::<Broken<SplitsFrames>>);
    assert_bites(kit::the_longest_frame_passes::<Broken<SplitsFrames>>);
}

broken!(Unchecked: const UNCHECKED: bool = true;);

#[test]
fn a_frame_that_is_too_long_and_passes_is_found() {
    assert_bites(kit::a_longer_frame_is_refused::<Broken<Unchecked>>);
}

broken!(DropCloses: const DROP_CLOSES: bool = true;);
broken!(ForgetsClose: const FORGETS_CLOSE: bool = true;);

#[test]
fn a_drop_that_looks_like_a_close_and_the_reverse_are_found() {
    assert_bites(kit::drop_resets::<Broken<DropCloses>>);
    assert_bites(kit::a_longer_frame_is_refused::<Broken<DropCloses>>);
    assert_bites(kit::close_then_drop_loses_nothing::<Broken<ForgetsClose>>);
}

broken!(TrustsAddresses: const TRUSTS_ADDRESSES: bool = true;);
broken!(NamesAnotherPeer: fn accepted(incoming: Incoming) -> Incoming {
    Incoming { peer: PeerId::new(*b"n0").expect("short"), ..incoming }
});
broken!(NamesAnotherLane: fn accepted(incoming: Incoming) -> Incoming {
    Incoming { lane: Lane::Control, ..incoming }
});

#[test]
fn a_wrong_identity_or_lane_is_found() {
    assert_bites(kit::the_identity_is_proved::<Broken<TrustsAddresses>>);
    assert_bites(kit::accept_names_peer_and_lane::<Broken<NamesAnotherPeer>>);
    assert_bites(kit::accept_names_peer_and_lane::<Broken<NamesAnotherLane>>);
    assert_bites(kit::many_streams_to_one_peer::<Broken<NamesAnotherLane>>);
}

broken!(AnyError: fn error(_: TransportError) -> TransportError {
    TransportError::Reset { source: None }
});

#[test]
fn an_error_that_names_something_else_is_found() {
    assert_bites(kit::dialling_nobody_is_unreachable::<Broken<AnyError>>);
    assert_bites(kit::dialling_a_dead_peer_is_unreachable::<Broken<AnyError>>);
    assert_bites(kit::accept_ends_on_close::<Broken<AnyError>>);
}

broken!(QueuesWithoutBound: const QUEUE_BYTES: usize = usize::MAX;);
broken!(OneQueue: const ONE_QUEUE: bool = true;);
broken!(IgnoresReset: const IGNORES_RESET: bool = true;);

#[test]
fn a_queue_without_a_bound_is_found() {
    assert_bites(kit::backpressure_holds_the_sender_and_loses_nothing::<Broken<QueuesWithoutBound>>);
}

#[test]
fn lanes_in_one_queue_and_a_reset_that_does_nothing_are_found() {
    // What never comes can only be found by waiting.
    assert_eq!(verdict(kit::lanes_do_not_delay_each_other::<Broken<OneQueue>>), Verdict::Hung);
    assert_eq!(
        verdict(kit::reset_fails_open_streams_and_allows_new_ones::<Broken<IgnoresReset>>),
        Verdict::Hung
    );
}
