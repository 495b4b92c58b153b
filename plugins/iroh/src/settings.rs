//! What may be set, its defaults and its limits.

use std::time::Duration;

use iroh::endpoint::{IdleTimeout, QuicTransportConfig, VarInt};

use crate::wire::{INITIAL_RTT, Plane};

/// How long to wait for what. The defaults suit nodes on one network or in nearby regions; QUIC's
/// own are made for the open internet and would leave a cluster waiting 30 s for a dead peer.
///
/// A connection lives by the smaller idle time of its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For a handshake with a peer that is dialled. 1 s.
    pub dial: Duration,
    /// For a handshake with a peer to which older connections are open: not answered within this
    /// time, it shows that they are stale. They are closed, and the peer is dialled anew. Longer
    /// than a round trip, at most `dial`. 250 ms.
    pub suspect: Duration,
    /// After which silence a connection is lost, at most 15 s. 2.5 s.
    pub idle: Duration,
    /// How often a silent connection is kept alive, at most half of `idle` and 5 s. 0.6 s.
    pub keep_alive: Duration,
    /// For a handshake with a peer that dials us, and for the head of each of its streams. 3 s.
    pub handshake: Duration,
    /// For [`close`](quorate::transport::Transport::close) to say goodbye to all peers. 3 s.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(1),
            suspect: Duration::from_millis(250),
            idle: Duration::from_millis(2500),
            keep_alive: Duration::from_millis(600),
            handshake: Duration::from_secs(3),
            close: Duration::from_secs(3),
        }
    }
}

/// A setting that cannot be used: the source of a [`TransportError::Setup`].
///
/// [`TransportError::Setup`]: quorate::error::TransportError::Setup
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// A time is shorter than a millisecond or too long.
    #[error("`{name}` is {found:?}: expected 1ms to {max:?}")]
    Timeout {
        /// The field of [`Timeouts`].
        name: &'static str,
        /// Its value.
        found: Duration,
        /// The longest allowed.
        max: Duration,
    },
    /// Not the address of a server.
    #[error("`{found}` is no URL for `{name}`: expected one as `https://relay.example.org`")]
    Url {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: String,
    },
    /// Peers cannot dial an unspecified address.
    #[error("the address listened on is no place that peers can dial: set `advertise`")]
    NothingToAdvertise,
}

impl Timeouts {
    /// iroh clamps a longer idle time of a path.
    const MAX_IDLE: Duration = Duration::from_secs(15);
    /// iroh ignores a longer keep-alive of a path.
    const MAX_KEEP_ALIVE: Duration = Duration::from_secs(5);
    const MAX: Duration = Duration::from_mins(1);
    /// QUIC counts idle time in milliseconds, and takes none for no limit at all.
    const MIN: Duration = Duration::from_millis(1);

    pub(crate) fn check(&self) -> Result<(), SettingError> {
        let limits = [
            ("dial", self.dial, Self::MAX),
            ("suspect", self.suspect, self.dial),
            ("idle", self.idle, Self::MAX_IDLE),
            // Two may be lost before the connection is.
            ("keep_alive", self.keep_alive, Self::MAX_KEEP_ALIVE.min(self.idle / 2)),
            ("handshake", self.handshake, Self::MAX),
            ("close", self.close, Self::MAX),
        ];
        for (name, found, max) in limits {
            if found < Self::MIN || found > max {
                return Err(SettingError::Timeout { name, found, max });
            }
        }
        Ok(())
    }

    /// The configuration of a connection on which the peer may open `streams` streams.
    pub(crate) fn quic(&self, streams: u32) -> QuicTransportConfig {
        let idle = IdleTimeout::try_from(self.idle).expect("checked to be short");
        QuicTransportConfig::builder()
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(self.keep_alive)
            .default_path_max_idle_timeout(self.idle)
            .default_path_keep_alive_interval(self.keep_alive)
            .initial_rtt(INITIAL_RTT)
            .max_concurrent_bidi_streams(VarInt::from_u32(streams))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            // Room for every stream that may be open to have all its credit under way: with less,
            // a few that fill a slow link would leave no room for a vote.
            .send_window(u64::from(Plane::Raft.max_streams()) * STREAM_WINDOW)
            .build()
    }
}

/// QUIC's default credit of one stream, 1.25 MB. Larger ones were slower on loopback.
const STREAM_WINDOW: u64 = 1_250_000;

/// Limits on what peers may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Handshakes going on at once; beyond it peers are turned away.
    pub(crate) handshakes: usize,
    /// Connections from peers, with those in a handshake.
    pub(crate) connections: usize,
    /// Streams accepted and not yet taken by `accept`.
    pub(crate) waiting: usize,
    /// Streams of one connection whose head has not arrived.
    pub(crate) heads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handshakes: 64, connections: 1024, waiting: 256, heads: 32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_the_limits() {
        assert_eq!(Timeouts::default().check(), Ok(()));
    }

    #[test]
    fn each_time_out_of_its_limits_is_named() {
        let good = Timeouts::default();
        let long = Duration::from_secs(61);
        let wrong = [
            ("dial", Timeouts { dial: Duration::ZERO, ..good }),
            ("suspect", Timeouts { suspect: good.dial * 2, ..good }),
            ("idle", Timeouts { idle: Duration::from_secs(16), ..good }),
            ("keep_alive", Timeouts { keep_alive: good.idle, ..good }),
            ("keep_alive", Timeouts { keep_alive: Duration::from_secs(6), idle: Timeouts::MAX_IDLE, ..good }),
            ("handshake", Timeouts { handshake: long, ..good }),
            ("close", Timeouts { close: long, ..good }),
            // What is no limit at all in milliseconds.
            (
                "idle",
                Timeouts { idle: Duration::from_micros(999), keep_alive: Duration::from_micros(9), ..good },
            ),
        ];
        for (expected, timeouts) in wrong {
            match timeouts.check() {
                Err(SettingError::Timeout { name, .. }) => assert_eq!(name, expected),
                other => panic!("a wrong `{expected}` gave {other:?}"),
            }
        }
    }
}
