//! Random numbers that every replica draws alike.
//!
//! The algorithm is part of the wire contract and held by golden numbers: xoshiro256** (Blackman
//! and Vigna, 2018), its state the SHA-256 of `quorate rng 1`, cluster id, group, index, ordinal.

use sha2::{Digest, Sha256};

use crate::types::{ClusterId, GroupId, Position};

/// A deterministic generator. Not for secrets: everyone can predict it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRng([u64; 4]);

impl LogRng {
    /// The generator of a command.
    pub fn at(cluster: &ClusterId, group: GroupId, position: Position) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"quorate rng 1");
        hash.update(cluster.0);
        hash.update(group.0.to_le_bytes());
        hash.update(position.index.0.to_le_bytes());
        hash.update(position.ordinal.to_le_bytes());
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(hash.finalize().chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        }
        Self(state)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// An even draw from `0..bound`, by rejection (Lemire 2019). A bound of zero gives zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogIndex;

    fn rng(index: u64, ordinal: u32) -> LogRng {
        LogRng::at(&ClusterId([7; 32]), GroupId(1), Position { index: LogIndex(index), ordinal })
    }

    #[test]
    fn neighbours_draw_different_numbers() {
        assert_ne!(rng(5, 0).next_u64(), rng(5, 1).next_u64());
        assert_eq!(rng(5, 1).next_u64(), rng(5, 1).next_u64());
    }

    #[test]
    fn draws_stay_below_the_bound() {
        let mut rng = rng(1, 0);
        assert!((0..1000).all(|_| rng.below(3) < 3));
        assert_eq!(rng.below(0), 0);
    }
}
