//! Every connection to every peer, and when those to one peer must go.
//!
//! iroh keeps one selected path per key, shared by all connections to it, until the last of them
//! closes. While an old connection to a peer that was killed is open, a new one to the same key at
//! another address is dialled at the OLD one and fails. So connections are counted here per key,
//! in and out, on both planes, and given up together.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use iroh::EndpointId;
use iroh::endpoint::{Connection, PathEventStream};
use tokio::sync::watch;

use crate::error::{DialFailure, is_loss};
use crate::hint::Hint;
use crate::wire::{Plane, code, quic_code};

/// How many peers are remembered although nothing goes on with them. Strangers come and go.
const REMEMBERED: usize = 1024;

/// The connections of this transport.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<HashMap<EndpointId, Peer>>);

/// What is known of one peer.
#[derive(Debug, Default)]
struct Peer {
    /// The connections that we made, one per plane. The peer opens no streams on them.
    dialled: [Option<Dialled>; Plane::COUNT],
    /// The connections that the peer made, one per plane. We open no streams on them.
    accepted: [Option<Accepted>; Plane::COUNT],
    dials: [Arc<Dials>; Plane::COUNT],
    /// Counts how often the connections were given up.
    resets: watch::Sender<u64>,
    /// End when iroh has noticed that the connections given up are closed.
    settling: Vec<PathEventStream>,
    /// When an unanswered dial last led us to give up connections that may have been sound.
    suspected: Option<Instant>,
}

#[derive(Debug)]
struct Dialled {
    connection: Connection,
    hint: Hint,
}

#[derive(Debug)]
struct Accepted {
    connection: Connection,
    /// In the order in which the peer began them.
    number: u64,
}

/// The dials of one peer and plane: one at a time, and those who waited for one that failed share
/// its failure.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    pub(crate) failed: AtomicU64,
    pub(crate) last_failure: tokio::sync::Mutex<Option<(Hint, DialFailure)>>,
}

impl Dials {
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Acquire)
    }
}

/// What a dial finds before it begins.
pub(crate) struct Ground {
    /// To be awaited first: until they end, iroh may send to where the peer was before.
    pub(crate) settling: Vec<PathEventStream>,
    /// Whether connections are open that are the ones to give up if the dial is not answered.
    pub(crate) may_suspect: bool,
    /// Changes when the connections are given up: then the dial must begin anew.
    pub(crate) resets: watch::Receiver<u64>,
}

fn is_open(connection: &Connection) -> bool {
    connection.close_reason().is_none()
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, Peer>> {
        // Nothing panics under the lock, and the map is sound at every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open connection that was dialled for `plane` at `hint`.
    pub(crate) fn dialled(&self, peer: EndpointId, plane: Plane, hint: &Hint) -> Option<Connection> {
        let peers = self.lock();
        let dialled = peers.get(&peer)?.dialled[plane.index()].as_ref()?;
        (dialled.hint == *hint && is_open(&dialled.connection)).then(|| dialled.connection.clone())
    }

    pub(crate) fn dials(&self, peer: EndpointId, plane: Plane) -> Arc<Dials> {
        Arc::clone(&self.lock().entry(peer).or_default().dials[plane.index()])
    }

    /// Makes ready for a dial at `hint`: gives up what is known to be stale. An unanswered dial
    /// may be held against open connections once in `suspect_every`: two nodes that are merely slow
    /// could else go on closing each other's.
    pub(crate) fn prepare(&self, peer: EndpointId, hint: &Hint, suspect_every: Duration) -> Ground {
        let mut peers = self.lock();
        let peer = peers.entry(peer).or_default();
        if peer.has_moved(hint) {
            peer.give_up();
        }
        peer.drop_closed();
        let resting = peer.suspected.is_some_and(|at| at.elapsed() < suspect_every);
        Ground {
            settling: std::mem::take(&mut peer.settling),
            may_suspect: !resting && peer.has_open(),
            resets: peer.resets.subscribe(),
        }
    }

    /// Keeps a connection just dialled, unless the connections of the peer were given up since its
    /// `ground` was made: then it may lead to where the peer was before.
    pub(crate) fn keep(
        &self,
        peer: EndpointId,
        plane: Plane,
        hint: Hint,
        connection: &Connection,
        ground: &Ground,
    ) -> bool {
        let mut peers = self.lock();
        let peer = peers.entry(peer).or_default();
        // An error says that the peer was forgotten, with all that was known of it.
        if ground.resets.has_changed().unwrap_or(true) {
            return false;
        }
        let connection = connection.clone();
        peer.dialled[plane.index()] = Some(Dialled { connection, hint });
        true
    }

    /// Gives up the connections of `peer` after a dial that was not answered.
    pub(crate) fn suspect(&self, peer: EndpointId) {
        let mut peers = self.lock();
        let peer = peers.entry(peer).or_default();
        peer.suspected = Some(Instant::now());
        peer.give_up();
    }

    /// Gives up every connection to and from `peer`.
    pub(crate) fn reset(&self, peer: EndpointId) {
        if let Some(peer) = self.lock().get_mut(&peer) {
            peer.give_up();
        }
    }

    /// Records a connection that `peer` made. A peer has one per plane and makes another only when
    /// it has lost the former or was restarted, so the older of two is closed: what waits on it
    /// fails now and not when it times out. `false` when it is this one.
    pub(crate) fn accepted(
        &self,
        peer: EndpointId,
        plane: Plane,
        number: u64,
        connection: &Connection,
    ) -> bool {
        let mut peers = self.lock();
        if peers.len() >= REMEMBERED {
            peers.retain(|_, peer| !peer.is_unused());
        }
        let slot = &mut peers.entry(peer).or_default().accepted[plane.index()];
        if slot.as_ref().is_some_and(|other| other.number > number) {
            connection.close(quic_code(code::GIVEN_UP), b"superseded");
            return false;
        }
        let connection = connection.clone();
        if let Some(older) = slot.replace(Accepted { connection, number }) {
            older.connection.close(quic_code(code::GIVEN_UP), b"superseded");
        }
        true
    }

    /// Forgets a connection that `peer` made, as it has ended.
    pub(crate) fn ended(&self, peer: EndpointId, plane: Plane, number: u64) {
        let mut peers = self.lock();
        let Slot::Occupied(mut entry) = peers.entry(peer) else { return };
        let slot = &mut entry.get_mut().accepted[plane.index()];
        if slot.as_ref().is_some_and(|accepted| accepted.number == number) {
            *slot = None;
        }
        if entry.get().is_unused() && entry.get().settling.is_empty() {
            entry.remove();
        }
    }

    /// Closes every connection, as the transport is closed.
    pub(crate) fn close(&self) {
        for peer in self.lock().drain().map(|(_, peer)| peer) {
            peer.connections().for_each(|connection| connection.close(quic_code(code::CLOSED), b"closed"));
        }
    }
}

impl Peer {
    fn connections(&self) -> impl Iterator<Item = &Connection> {
        let dialled = self.dialled.iter().flatten().map(|dialled| &dialled.connection);
        dialled.chain(self.accepted.iter().flatten().map(|accepted| &accepted.connection))
    }

    fn has_open(&self) -> bool {
        self.connections().any(is_open)
    }

    /// Whether the peer is known to have moved to `hint`. One that closed its connections itself
    /// left none behind, and one that was lost at the same place is dialled there all the same.
    fn has_moved(&self, hint: &Hint) -> bool {
        self.dialled.iter().flatten().any(|dialled| {
            let may_linger = dialled.connection.close_reason().is_none_or(|reason| is_loss(&reason));
            dialled.hint != *hint && may_linger
        })
    }

    fn give_up(&mut self) {
        let dialled = self.dialled.iter_mut().filter_map(Option::take).map(|dialled| dialled.connection);
        let accepted = self.accepted.iter_mut().filter_map(Option::take).map(|accepted| accepted.connection);
        for connection in dialled.chain(accepted) {
            self.settling.push(connection.path_events());
            connection.close(quic_code(code::GIVEN_UP), b"given up");
        }
        self.resets.send_modify(|count| *count += 1);
    }

    /// Lets go of the connections that have ended by themselves.
    fn drop_closed(&mut self) {
        for slot in &mut self.dialled {
            if let Some(dialled) = slot.take_if(|dialled| !is_open(&dialled.connection)) {
                self.settling.push(dialled.connection.path_events());
            }
        }
    }

    /// Whether nothing goes on with the peer.
    fn is_unused(&self) -> bool {
        self.connections().next().is_none() && self.dials.iter().all(|dials| Arc::strong_count(dials) == 1)
    }
}
