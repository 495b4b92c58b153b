//! What happened in a run, as a hash of all of it and a list of what a person wants to read.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::moment::Moment;

/// FNV-1a, 64 bits: two runs that hash alike did alike.
#[derive(Clone, Debug)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The hash so far.
    pub fn value(&self) -> u64 {
        self.0
    }

    /// The hash of these bytes alone.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut hash = Self::default();
        hash.add(bytes);
        hash.value()
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

#[derive(Default)]
struct Inner {
    hash: Fnv,
    count: u64,
    events: Vec<Event>,
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

    /// Adds something to the hash alone: a frame, a write, an applied command.
    pub fn mark(&self, at: Duration, kind: &str, node: u64, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.count += 1;
        inner.hash.add(&at.as_nanos().to_le_bytes());
        inner.hash.add(kind.as_bytes());
        inner.hash.add(&node.to_le_bytes());
        inner.hash.add(bytes);
    }

    /// Adds something to the hash and to the list.
    pub fn tell(&self, at: Duration, what: String) {
        self.mark(at, "event", 0, what.as_bytes());
        self.lock().events.push(Event { at, what });
    }

    /// The hash of all of it, and how much it was.
    pub fn hash(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.hash.value(), inner.count)
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
