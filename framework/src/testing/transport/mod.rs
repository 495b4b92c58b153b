//! The kit for transport plugins.
//!
//! ```
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! use quorate::error::TransportError;
//! use quorate::testing::transport::TransportHarness;
//! use quorate::transport::{MemoryNetwork, MemoryTransport};
//!
//! struct MyHarness;
//!
//! impl TransportHarness for MyHarness {
//!     type Transport = MemoryTransport;
//!     /// With a plugin for real networks: `()`.
//!     type Network = (MemoryNetwork, AtomicUsize);
//!
//!     fn network() -> Self::Network {
//!         (MemoryNetwork::new(), AtomicUsize::new(0))
//!     }
//!
//!     async fn bind((network, count): &Self::Network) -> Result<Self::Transport, TransportError> {
//!         Ok(network.endpoint(&count.fetch_add(1, Ordering::Relaxed).to_string()))
//!     }
//!
//!     /// A plugin that needs tokio makes a runtime here.
//!     fn block_on<F: Future>(future: F) -> F::Output {
//!         futures::executor::block_on(future)
//!     }
//! }
//!
//! quorate::transport_conformance!(MyHarness);
//! ```

mod closing;
mod dialling;
mod frames;
mod pair;
mod pressure;

use std::time::Duration;

pub use self::closing::*;
pub use self::dialling::*;
pub use self::frames::*;
pub use self::pressure::*;
use crate::error::TransportError;
use crate::transport::Transport;

/// How the kit gets at the transport under test.
pub trait TransportHarness: 'static {
    /// The transport under test.
    type Transport: Transport;
    /// What the endpoints of a case share; `()` when that is the real network.
    type Network: Send + 'static;

    /// How long one case may take before it counts as hanging, and four times as long as one step of
    /// it may.
    const LIMIT: Duration = Duration::from_mins(2);
    /// How long a dial to somebody who is not there may take.
    const DIAL_LIMIT: Duration = Duration::from_secs(10);

    /// A new network.
    fn network() -> Self::Network;

    /// A new endpoint with an identity of its own, reachable by the others of this network.
    fn bind(network: &Self::Network) -> impl Future<Output = Result<Self::Transport, TransportError>>;

    /// Runs a case. To be overridden by a plugin that needs a runtime.
    fn block_on<F: Future>(future: F) -> F::Output {
        futures::executor::block_on(future)
    }
}

fn run<H: TransportHarness, F: Future<Output = ()> + 'static>(case: &'static str, body: fn() -> F) {
    super::run::run(case, H::LIMIT, move || H::block_on(body()));
}

crate::__transport_cases!(__conformance_names);

/// The names of every case.
pub fn cases() -> impl Iterator<Item = &'static str> {
    CASES.iter().copied()
}

/// Every case with its name, for those who test the kit itself.
pub fn functions<H: TransportHarness>() -> Vec<(&'static str, fn())> {
    crate::__transport_cases!(__conformance_functions[H])
}

/// Makes a `#[test]` of every case that a transport plugin must pass; see
/// [`testing::transport`](crate::testing::transport).
#[macro_export]
macro_rules! transport_conformance {
    ($harness:ty) => {
        $crate::__transport_cases!(__transport_tests[$harness]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __transport_tests {
    ([$harness:ty] [CASES: $($case:ident)*]) => {
        $(#[test] fn $case() { $crate::testing::transport::$case::<$harness>(); })*
    };
}

/// Calls a macro with the names of every case.
#[doc(hidden)]
#[macro_export]
macro_rules! __transport_cases {
    ($then:ident $($args:tt)*) => {
        $crate::$then! {
            $($args)*
            [CASES:
                frames_arrive_in_order
                frames_keep_their_bounds
                frames_go_both_ways_at_once
                the_acceptor_may_speak_first
                the_longest_frame_passes
                a_longer_frame_is_refused
                close_ends_one_direction
                close_then_drop_loses_nothing
                drop_resets
                accept_names_peer_and_lane
                accept_ends_on_close
                close_fails_open_streams
                a_vanished_dialler_does_not_end_accept
                dialling_nobody_is_unreachable
                dialling_a_dead_peer_is_unreachable
                the_identity_is_proved
                a_dropped_dial_does_no_harm
                many_streams_to_one_peer
                simultaneous_dials
                reset_fails_open_streams_and_allows_new_ones
                backpressure_holds_the_sender_and_loses_nothing
                lanes_do_not_delay_each_other
            ]
        }
    };
}
