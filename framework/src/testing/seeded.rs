//! Random draws that can be repeated.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

use bytes::Bytes;

/// A generator that draws the same for the same seed (SplitMix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The variable that fixes the seed.
    pub const SEED_VARIABLE: &'static str = "QUORATE_SEED";

    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator with the seed in the variable [`Self::SEED_VARIABLE`], or a new one. Prints the
    /// seed, which a test shows when it fails.
    ///
    /// # Panics
    /// When the variable is set and is no number.
    pub fn announced() -> Self {
        Self(Self::announced_seed())
    }

    /// The seed of [`Self::announced`].
    pub(super) fn announced_seed() -> u64 {
        let seed = match env::var(Self::SEED_VARIABLE) {
            Ok(text) => text.parse().expect("the seed in QUORATE_SEED is a decimal number"),
            // The keys of a hasher are the randomness that the standard library has.
            Err(_) => RandomState::new().build_hasher().finish(),
        };
        println!("seed {seed}: replay with {}={seed}", Self::SEED_VARIABLE);
        seed
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A draw from `range`, as even as a test needs it.
    ///
    /// # Panics
    /// When the range is empty.
    pub fn draw(&mut self, range: Range<u64>) -> u64 {
        assert!(!range.is_empty(), "nothing to draw from in {range:?}");
        range.start + self.next_u64() % (range.end - range.start)
    }

    /// Whether an event happens that does so once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.draw(0..n) == 0
    }

    /// Random bytes, as many as drawn from `len`.
    pub fn bytes(&mut self, len: Range<u64>) -> Bytes {
        let len = self.draw(len);
        let words = (0..len.div_ceil(8)).flat_map(|_| self.next_u64().to_le_bytes());
        words.take(usize::try_from(len).expect("a length in memory")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again() {
        let draws = |seed| {
            let mut seeded = Seeded::new(seed);
            (seeded.next_u64(), seeded.draw(5..9), seeded.bytes(3..20))
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        assert_eq!(Seeded::new(1).bytes(13..14).len(), 13);
        let mut seeded = Seeded::new(3);
        assert!((0..100).all(|_| (5..9).contains(&seeded.draw(5..9))));
    }
}
