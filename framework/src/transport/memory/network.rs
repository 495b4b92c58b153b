//! The hub: who is there, and the links between them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::endpoint::{Endpoint, MemoryTransport};
use super::links::{Link, Links};
use super::pipe::Side;
use crate::types::PeerId;

/// How the death of a process looks to its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// They hear nothing, ever: the machine is gone. Their streams are left half-open.
    Silent,
    /// Their streams are reset: the process is gone, and its operating system says so.
    Reset,
}

#[derive(Default)]
struct State {
    /// By name. Those that are closed stay, so that their peers can still name them.
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    /// By the names of sender and receiver, made when first asked for.
    links: BTreeMap<(String, String), Arc<Link>>,
}

pub(super) struct Hub {
    /// How many bytes a direction of a stream may queue.
    pub(super) queue_bytes: usize,
    state: Mutex<State>,
}

impl State {
    fn link(&mut self, from: &str, to: &str) -> Arc<Link> {
        self.links.entry((from.to_owned(), to.to_owned())).or_default().clone()
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn link(&self, from: &str, to: &str) -> Arc<Link> {
        self.lock().link(from, to)
    }

    /// The endpoint of that name, unless it is closed.
    pub(super) fn endpoint(&self, name: &str) -> Option<Arc<Endpoint>> {
        self.lock().endpoints.get(name).filter(|endpoint| !endpoint.is_closed()).cloned()
    }

    /// The links from `name` to every endpoint wanted, and from there.
    pub(super) fn links_with(
        &self,
        name: &str,
        wanted: impl Fn(&Endpoint) -> bool,
    ) -> Vec<(Arc<Link>, Arc<Link>)> {
        let mut state = self.lock();
        let remotes: Vec<Arc<Endpoint>> =
            state.endpoints.values().filter(|endpoint| wanted(endpoint)).cloned().collect();
        let both = |remote: Arc<Endpoint>| (state.link(name, &remote.name), state.link(&remote.name, name));
        remotes.into_iter().map(both).collect()
    }

    /// Closes `endpoint`: its own ends fail, and its peers see resets.
    pub(super) fn close(&self, endpoint: &Endpoint) {
        self.end(endpoint, Death::Reset);
    }

    fn end(&self, endpoint: &Endpoint, death: Death) {
        let Some(backlog) = endpoint.shut() else { return };
        let links = self.links_with(&endpoint.name, |_| true);
        for (there, back) in &links {
            forget(there, back, death);
        }
        // Dropped last: a stream that nobody accepted must not be reset before it is silent.
        drop(backlog);
    }
}

/// Fails the local ends of every stream over these links, which lead there and back.
pub(super) fn forget(there: &Link, back: &Link, death: Death) {
    let out = there.pipes().into_iter().map(|pipe| (pipe, Side::Sender));
    let into = back.pipes().into_iter().map(|pipe| (pipe, Side::Receiver));
    for (pipe, side) in out.chain(into) {
        if death == Death::Silent {
            pipe.silence();
        }
        pipe.fail(side);
    }
}

/// A network in memory. Clones are the same network.
///
/// An open stream never loses, repeats or reorders a frame, whatever is done to its links: it
/// stalls, or it is reset. The network has no clock, so a silence lasts until the test ends it, and
/// a limit on it is up to whoever waits.
///
/// ```
/// use futures::{SinkExt, StreamExt};
/// use quorate::transport::{Lane, MemoryNetwork, Transport};
/// use quorate::types::Member;
///
/// # futures::executor::block_on(async {
/// let network = MemoryNetwork::new();
/// let (a, b) = (network.endpoint("a"), network.endpoint("b"));
/// let member = Member::new(2, b.identity(), b.address());
///
/// let mut stream = a.connect(&member, Lane::Append).await?;
/// let mut incoming = b.accept().await?;
/// network.between("a", "b").cut();
/// stream.tx.send("frame".into()).await?;
/// assert!(a.connect(&member, Lane::Append).await.is_err(), "unreachable");
///
/// network.between("a", "b").heal();
/// assert_eq!(incoming.stream.rx.next().await.unwrap()?, "frame");
/// # Ok::<(), quorate::error::TransportError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Hub>);

impl MemoryNetwork {
    /// How many bytes a direction of a stream queues by default: 1 MiB.
    pub const QUEUE_BYTES: usize = 1 << 20;

    /// A network without endpoints.
    pub fn new() -> Self {
        Self::with_queue_bytes(Self::QUEUE_BYTES)
    }

    /// A network whose streams take frames until `queue_bytes` are queued in a direction, at least
    /// one frame.
    pub fn with_queue_bytes(queue_bytes: usize) -> Self {
        Self(Arc::new(Hub { queue_bytes: queue_bytes.max(1), state: Mutex::new(State::default()) }))
    }

    /// Opens the endpoint `name`; its identity is the bytes of the name. An endpoint that was closed
    /// or killed can be opened again, as a process is started again.
    ///
    /// # Panics
    /// When an endpoint of that name is open, or `name` has no bytes, or more than 64.
    pub fn endpoint(&self, name: &str) -> MemoryTransport {
        let identity = PeerId::new(name).expect("a name has 1 to 64 bytes");
        self.endpoint_as(name, identity)
    }

    /// Opens the endpoint `name` with this identity, for a peer that is not who its address says, or
    /// that has moved.
    ///
    /// # Panics
    /// When an endpoint of that name is open.
    pub fn endpoint_as(&self, name: &str, identity: PeerId) -> MemoryTransport {
        let endpoint = Arc::new(Endpoint::new(name, identity));
        let mut state = self.0.lock();
        let free = state.endpoints.get(name).is_none_or(|before| before.is_closed());
        assert!(free, "endpoint `{name}` is open already");
        state.endpoints.insert(name.to_owned(), endpoint.clone());
        drop(state);
        MemoryTransport::new(self.0.clone(), endpoint)
    }

    /// The link from one endpoint to another: one direction. They need not be open.
    pub fn link(&self, from: &str, to: &str) -> Links {
        Links { links: vec![self.0.link(from, to)] }
    }

    /// The links between two endpoints, in both directions.
    pub fn between(&self, a: &str, b: &str) -> Links {
        Links { links: vec![self.0.link(a, b), self.0.link(b, a)] }
    }

    /// The links between `name` and every other endpoint that has been opened so far.
    pub fn around(&self, name: &str) -> Links {
        let links = self.0.links_with(name, |remote| remote.name != name);
        Links { links: links.into_iter().flat_map(|(there, back)| [there, back]).collect() }
    }

    /// The links between endpoints of different sides, in both directions: what a partition cuts.
    pub fn across(&self, sides: &[&[&str]]) -> Links {
        let mut links = Vec::new();
        for (place, side) in sides.iter().enumerate() {
            for other in &sides[place + 1..] {
                for a in *side {
                    links.extend(other.iter().flat_map(|b| self.between(a, b).links));
                }
            }
        }
        Links { links }
    }

    /// Every link used or named so far.
    pub fn everywhere(&self) -> Links {
        Links { links: self.0.lock().links.values().cloned().collect() }
    }

    /// Ends every open stream between two endpoints for `gone` alone: its ends are reset, and
    /// `left` is told nothing, ever. What `left` sends queues up and goes nowhere.
    pub fn half_open(&self, gone: &str, left: &str) {
        forget(&self.0.link(gone, left), &self.0.link(left, gone), Death::Silent);
    }

    /// Ends the process of an endpoint: its own ends fail, it accepts and dials no more, and its
    /// peers see what `death` says. Later dials fail as unreachable, until it is opened again.
    pub fn kill(&self, name: &str, death: Death) {
        if let Some(endpoint) = self.0.endpoint(name) {
            self.0.end(&endpoint, death);
        }
    }
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryNetwork").field(&self.0.lock().endpoints.keys()).finish()
    }
}
