//! The nodes' configuration, drawn from the seed: timeouts, batches, when to compact.

use std::time::Duration;

use quorate::node::config::{Config, ConfigBuilder};

use crate::rng::Rng;

/// The configuration that the nodes of a run of `seed` have.
pub fn draw(seed: u64) -> Config {
    let mut rng = Rng::stream(seed, "config");
    let heartbeat = rng.within(20..80);
    let least = heartbeat * rng.within(4..8);
    let most = least + least * rng.within(50..150) / 100;
    let chunk = *rng.pick(&[4 << 10, 16 << 10, 64 << 10]);
    // The least that is allowed, so that a short run compacts its log several times.
    let log_bytes = *rng.pick(&[64 << 10, 64 << 10, 128 << 10, 1 << 20]);
    // With few of them a node that was away for a moment needs a snapshot.
    let keep = *rng.pick(&[1, 20, 200]);
    let batches_in_flight = *rng.pick(&[1, 2, 4]);
    let drawn = ConfigBuilder::from(Config::testing())
        .heartbeat(Duration::from_millis(heartbeat))
        .election_timeout_min(Duration::from_millis(least))
        .election_timeout_max(Duration::from_millis(most))
        .batches_in_flight(batches_in_flight)
        .snapshot_log_bytes(log_bytes)
        .snapshot_keep_entries(rng.below(keep))
        .snapshot_chunk_bytes(chunk)
        .build();
    drawn.expect("every draw is within its bounds")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_has_a_configuration_that_is_valid() {
        for seed in 0..1000 {
            super::draw(seed).validate().expect("valid");
        }
    }
}
