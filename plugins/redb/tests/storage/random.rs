//! Draws from a seed, which is printed: a test shows it when it fails.

/// The variable that sets the seed.
const SEED: &str = "QUORATE_SEED";

/// A source of numbers.
pub(crate) struct Random(u64);

impl Random {
    /// From `QUORATE_SEED`, or else from a seed that is always the same.
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var(SEED).ok().map_or(99, |seed| seed.parse().expect("a number"));
        println!("{SEED}={seed}");
        Self::new(seed)
    }

    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
