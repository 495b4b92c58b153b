//! The simulated network: streams as the transport contract has them, and what goes wrong with them.
//!
//! A stream is ordered and loses nothing; streams overtake each other, stall, go half-open, are
//! refused and reset, and a link can be cut one way. What a lossy network does shows as delay. The
//! network is data and timers of its receivers: no task carries a frame, so that the end of its
//! sender takes nothing back. This folder owns all of that and knows nothing of what a frame says.

mod hub;
mod pipe;
mod stream;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quorate::types::{Member, PeerId};
use serde::{Deserialize, Serialize};

use self::hub::Hub;
pub use self::hub::WireEvents;
pub use self::transport::SimTransport;
use crate::rng::Rng;
use crate::trace::Trace;

/// How long frames take on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkTime {
    /// The least and the most, in microseconds.
    pub usual_us: (u64, u64),
    /// How many frames in a thousand take longer, as one that is lost and sent again.
    pub late_per_mille: u64,
    /// The least and the most of those, in milliseconds.
    pub late_ms: (u64, u64),
}

impl Default for LinkTime {
    fn default() -> Self {
        Self { usual_us: (50, 900), late_per_mille: 0, late_ms: (5, 150) }
    }
}

/// How a process ends, as its peers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its streams are reset: the process is gone, and its operating system says so.
    Process,
    /// Nothing is heard of it any more.
    Power,
}

/// Says what a node takes a frame for, in the place of what was sent on that stream; `None` for just that.
pub(crate) type Forger = Box<dyn FnMut(u64, &Bytes) -> Option<Bytes> + Send>;

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<Hub>>);

impl Wire {
    /// A network without nodes that draws its delays from `rng` and puts its frames into `trace`.
    pub fn new(rng: Rng, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(Hub::new(rng, trace))))
    }

    fn lock(&self) -> MutexGuard<'_, Hub> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The member record of a node with the key that it begins with.
    pub fn member(node: u64) -> Member {
        Member::new(node, identity(node, 0), address(node))
    }

    /// The member record of a node with the key that it has now.
    pub fn member_now(&self, node: u64) -> Member {
        Member::new(node, self.lock().identity(node), address(node))
    }

    /// Gives a node that is down another key.
    pub fn change_key(&self, node: u64) {
        self.lock().change_key(node);
    }

    /// Connects a node that has just booted, and has no other connection.
    pub fn connect(&self, node: u64) -> SimTransport {
        let mut hub = self.lock();
        let (boot, woken) = hub.boot(node);
        let identity = hub.identity(node);
        drop(hub);
        woken.wake();
        SimTransport::new(self.clone(), node, identity, boot)
    }

    /// The process of a node ends. Frames on their way arrive all the same.
    pub fn kill(&self, node: u64, death: Death) {
        let woken = self.lock().kill(node, death);
        woken.wake();
    }

    /// Cuts the link from one node to another: that direction alone.
    pub fn cut(&self, from: u64, to: u64) {
        self.block(from, to, true);
    }

    /// Ends a cut. What was sent meanwhile arrives now, but for streams given up.
    pub fn heal(&self, from: u64, to: u64) {
        self.block(from, to, false);
    }

    fn block(&self, from: u64, to: u64, cut: bool) {
        let woken = self.lock().set_cut(from, to, cut);
        woken.wake();
    }

    /// Whether the link from one node to another is cut.
    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.lock().is_cut(from, to)
    }

    /// Whether any link is cut.
    pub fn is_any_cut(&self) -> bool {
        self.lock().is_any_cut()
    }

    /// How long frames take from one node to another from now on.
    pub fn set_time(&self, from: u64, to: u64, time: LinkTime) {
        self.lock().link(from, to).time = time;
    }

    /// Whether dials from one node to another are refused.
    pub fn refuse(&self, from: u64, to: u64, refuse: bool) {
        self.lock().link(from, to).refuses = refuse;
    }

    /// Whether a dial from one node to another was refused in the boot that `from` is in.
    pub fn has_refused(&self, from: u64, to: u64) -> bool {
        self.lock().link(from, to).has_refused
    }

    /// Resets every stream between two nodes, at both ends.
    pub fn reset(&self, a: u64, b: u64) {
        let woken = self.lock().end_streams(a, b, |_| Some([true, true]));
        woken.wake();
    }

    /// Leaves every stream between two nodes half-open: the ends of `gone` fail, and `left` is told
    /// nothing.
    pub fn half_open(&self, gone: u64, left: u64) {
        let woken = self.lock().half_open(gone, left);
        woken.wake();
    }

    /// The next transfer of a snapshot breaks off once its receiver has answered so often. `None` takes
    /// that back.
    pub fn break_snapshot(&self, answers: Option<u64>) {
        self.lock().break_snapshot = answers;
    }

    /// From now on frames go through this: a bug of who receives them, to show that a simulation notices.
    pub(crate) fn forge(&self, forger: Option<Forger>) {
        self.lock().forger = forger;
    }

    /// After how long without a sign of life a stream fails by itself.
    pub fn set_idle_limit(&self, limit: Duration) {
        self.lock().idle_limit = limit;
    }

    /// What has happened so far.
    pub fn events(&self) -> WireEvents {
        self.lock().events
    }
}

/// The key of a node that has had so many before.
fn identity(node: u64, before: u64) -> PeerId {
    let name = if before == 0 { format!("node {node}") } else { format!("node {node}, key {before}") };
    PeerId::new(name).expect("a short name")
}

fn address(node: u64) -> String {
    format!("sim:{node}")
}

/// The node at an address of this network.
fn node_at(address: &str) -> Option<u64> {
    address.strip_prefix("sim:")?.parse().ok()
}
