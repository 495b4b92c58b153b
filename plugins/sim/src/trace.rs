//! What happened in a run, as a hash of all of it and a list of what a person wants to read.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::moment::Moment;

/// A digest of everything that is hashed into it, in 128 bits: two runs of one digest did the same.
///
/// It takes a word at a time, so that [`Hash`] of a value costs next to nothing: nothing is formatted
/// and nothing allocated. It is the same in every process of one build, and is no shield against who
/// wants two runs to look alike. Of its two words the first mixes best, and the second is changed by
/// any other word whatever came before, as each of its steps can be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    mixed: u64,
    changed: u64,
}

/// Odd, and half of their bits are set.
const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xd1b5_4a32_d192_ed03;

impl Default for Digest {
    fn default() -> Self {
        Self { mixed: 0xcbf2_9ce4_8422_2325, changed: 0x2545_f491_4f6c_dd1d }
    }
}

impl Digest {
    /// The digest of these bytes alone, in one word.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut digest = Self::default();
        digest.write(bytes);
        digest.finish()
    }

    #[inline]
    fn add(&mut self, word: u64) {
        let product = u128::from(self.mixed ^ word) * u128::from(FIRST);
        self.mixed = (product as u64) ^ ((product >> 64) as u64);
        self.changed = (self.changed ^ word).wrapping_mul(SECOND).rotate_left(29);
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // Beside the last bytes, of which there are seven at most, how many there were: what is added in
        // two parts is not what is added in one.
        last[7] = bytes.len() as u8;
        self.add(u64::from_le_bytes(last));
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.add(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    /// Both words, in one.
    fn finish(&self) -> u64 {
        let both = (self.mixed ^ self.changed.rotate_left(32)).wrapping_mul(FIRST);
        both ^ (both >> 32)
    }
}

/// Something worth reading, when it happened in simulated time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What.
    pub what: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.6}s {}", self.at.as_secs_f64(), self.what)
    }
}

/// Something happened that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in simulated time.
    pub at: Duration,
    /// Which oracle says so.
    pub oracle: &'static str,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.6}s: {}", self.oracle, self.at.as_secs_f64(), self.what)
    }
}

#[derive(Default)]
struct Inner {
    digest: Digest,
    count: u64,
    events: Vec<Event>,
    violations: Vec<Violation>,
}

impl Inner {
    fn mark(&mut self, at: Duration, kind: &'static str, node: u64, what: &(impl Hash + ?Sized)) {
        self.count += 1;
        (at, kind, node).hash(&mut self.digest);
        what.hash(&mut self.digest);
    }

    fn tell(&mut self, at: Duration, what: String) {
        self.mark(at, "event", 0, &what);
        self.events.push(Event { at, what });
    }
}

/// Everything that happened, in order. Clones are the same trace.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Inner>>, Option<Moments>);

type Moments = Arc<Mutex<Vec<(Duration, Moment)>>>;

impl Trace {
    /// A trace that also keeps what is needed to draw a run. It has the same hash.
    pub fn recording() -> Self {
        Self(Arc::default(), Some(Moments::default()))
    }

    /// Keeps a moment, when it is asked for.
    pub fn record(&self, at: Duration, moment: impl FnOnce() -> Moment) {
        if let Some(moments) = &self.1 {
            moments.lock().unwrap_or_else(PoisonError::into_inner).push((at, moment()));
        }
    }

    /// The moments that were kept, in order.
    pub fn moments(&self) -> Vec<(Duration, Moment)> {
        let moments = self.1.as_ref();
        moments.map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds something to the hash alone, with every field that it hashes: a frame, a write, an applied
    /// command.
    pub fn mark(&self, at: Duration, kind: &'static str, node: u64, what: &(impl Hash + ?Sized)) {
        self.lock().mark(at, kind, node, what);
    }

    /// Adds something to the hash and to the list.
    pub fn tell(&self, at: Duration, what: String) {
        self.lock().tell(at, what);
    }

    /// Tells what an oracle says, the first time that it says anything: what else it sees follows from
    /// that. What it would say while a panic takes everything down is the panic's doing, and is not told.
    pub fn accuse(&self, violation: Violation) {
        if std::thread::panicking() {
            return;
        }
        let mut inner = self.lock();
        if inner.violations.iter().any(|known| known.oracle == violation.oracle) {
            return;
        }
        inner.tell(violation.at, format!("VIOLATION of {}: {}", violation.oracle, violation.what));
        inner.violations.push(violation);
    }

    /// What oracles have said, in order: of each the first.
    pub fn violations(&self) -> Vec<Violation> {
        self.lock().violations.clone()
    }

    /// The hash of all of it, and how much it was.
    pub fn hash(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.digest.finish(), inner.count)
    }

    /// What was told, in order.
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({:?})", self.hash())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts_and_where_it_stands() {
        let bytes: Vec<u8> = (0..200).map(|at: u8| at.wrapping_mul(37)).collect();
        let mut seen = std::collections::BTreeSet::new();
        for len in 0..bytes.len() {
            assert!(seen.insert(Digest::of(&bytes[..len])), "the first {len} bytes");
            for bit in 0..len * 8 {
                let mut other = bytes[..len].to_vec();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(seen.insert(Digest::of(&other)), "bit {bit} of {len} bytes");
            }
        }
        assert_ne!(Digest::of(&[0; 8]), Digest::of(&[0; 9]), "zeros are bytes, too");
    }

    #[test]
    fn order_and_borders_count() {
        let digest = |parts: &[&[u8]]| {
            let mut digest = Digest::default();
            for part in parts {
                digest.write(part);
            }
            digest
        };
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"c", b"ab"]));
        assert_ne!(digest(&[b"1234567\x07"]), digest(&[b"1234567"]));
        assert_ne!(digest(&[b"12345678", b""]), digest(&[b"12345678"]));
    }

    #[test]
    fn of_each_oracle_the_first_violation_is_kept() {
        let trace = Trace::default();
        for (oracle, what) in [("votes", "a"), ("log matching", "b"), ("votes", "c")] {
            trace.accuse(Violation { at: Duration::ZERO, oracle, what: what.to_owned() });
        }
        let kept: Vec<String> = trace.violations().into_iter().map(|violation| violation.what).collect();
        assert_eq!((kept, trace.events().len()), (vec!["a".to_owned(), "b".to_owned()], 2));
    }

    #[test]
    fn what_falls_over_in_a_panic_is_not_accused() {
        struct Falls(Trace);
        impl Drop for Falls {
            fn drop(&mut self) {
                self.0.accuse(Violation { at: Duration::ZERO, oracle: "votes", what: String::new() });
            }
        }
        let falls = |panics: bool| {
            let trace = Trace::default();
            let of_thread = trace.clone();
            let ended = std::thread::spawn(move || {
                let _falls = Falls(of_thread);
                if panics {
                    std::panic::resume_unwind(Box::new("it panics"));
                }
            });
            assert_eq!(ended.join().is_err(), panics);
            trace.violations().len()
        };
        assert_eq!((falls(false), falls(true)), (1, 0));
    }

    #[test]
    fn each_part_of_a_mark_is_in_the_hash() {
        let hash = |at: u64, kind, node, what: &str| {
            let trace = Trace::default();
            trace.mark(Duration::from_nanos(at), kind, node, what);
            trace.hash()
        };
        let one = hash(1, "frame", 1, "x");
        assert_eq!(one, hash(1, "frame", 1, "x"));
        for other in [hash(2, "frame", 1, "x"), hash(1, "queued", 1, "x"), hash(1, "frame", 2, "x")] {
            assert_ne!(one, other);
        }
        assert_ne!(one, hash(1, "frame", 1, "y"));
    }
}
