//! How long bytes may be on their way before their stream counts as dead.
//!
//! A transport takes frames whole, so that nothing shows how much of one has arrived. What is large
//! is given time by its size; a limit on silence alone would send a large entry again and again over
//! a link that needs longer for it.

use std::time::Duration;

/// The slowest link that a cluster works over, in bytes per second: 1 Mbit/s.
const SLOWEST_LINK: u64 = 128 << 10;

/// The longest that a word may be waited for which follows on `bytes`: `silence`, and what the bytes
/// take over the slowest link.
pub(crate) fn patience(silence: Duration, bytes: usize) -> Duration {
    silence + Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / SLOWEST_LINK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::MAX_FRAME_BYTES;

    #[test]
    fn small_frames_get_next_to_nothing_and_the_largest_a_minute() {
        let silence = Duration::from_millis(500);
        assert_eq!(patience(silence, 0), silence);
        assert!(patience(silence, 200) < silence + Duration::from_millis(2));
        assert_eq!(patience(silence, MAX_FRAME_BYTES), silence + Duration::from_secs(64));
    }
}
